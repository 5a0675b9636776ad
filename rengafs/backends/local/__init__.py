"""A directory of this machine. `drawing` is one of its blobs in the making."""

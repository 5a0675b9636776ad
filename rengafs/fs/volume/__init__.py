"""The file system as logic: one mounted tree, and its open files. No FUSE in here."""

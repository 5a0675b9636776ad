"""What a name of the mount means: inodes, their attributes, listings, and history by name."""

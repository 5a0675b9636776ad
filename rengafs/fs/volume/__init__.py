"""The file system as logic: inodes and handles in, rengafs errors out. No FUSE in here.

============  ========================================================================
`volume`      one mounted tree: attributes, opening, reading, writing
`naming`      its names: look-ups, making, renaming, removing
`tree`        what both share
`openfiles`   the table of open files, and which content each open shares
`contents`    a version and, once written to, the draft of the next one
`texts`       files that are not in the catalog, opened: the guide in ``.versions``, markers
============  ========================================================================
"""

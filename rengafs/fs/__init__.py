"""The mount: buckets as directories, files as entries, versions under ``.versions/``.

From the kernel inwards; each uses only those below it.

=============  =======================================================================
`mounting`     a mount's life: attach, serve, drain, detach
`operations`   pyfuse3's requests, one line each, inside one error boundary
`following`    the feed of changes, and what the kernel must forget because of it
`kernel`       telling the kernel to forget, off the trio thread
`volume`       the file system as logic: names, attributes, open files
`writes`       bytes that are not a version yet, and how they become one
`reads`        bytes of versions: what to fetch, fetching it, keeping it on disk
`pins`         what is kept on this machine, also without the service
`names`        what a name means: inodes, attributes, listings, history
`absence`      what the mount says while the service is away
`remote`       the service as the mount sees it
=============  =======================================================================

Beside these: `recording` notes what a command reads, `locked` shows only what a lock file
names, `holding` tells the service which versions are in use, `metrics` counts, `trimming`
bounds the inodes.

What users and their tools may rely on is in ``SEMANTICS.md``.
"""

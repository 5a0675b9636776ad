"""The mount: buckets as directories, files as entries, versions under ``.versions/``.

From the kernel inwards; each module uses only those below it.

===============  =====================================================================
`mounting`       a mount's life: attach, serve, drain, detach
`operations`     pyfuse3's requests, one line each, inside one error boundary
`volume`         the file system as logic: attributes and opening; rengafs errors out
`naming`         its names; `tree`: what both share
`entering`       what a new entry may be called, whom it belongs to, what makes it
`following`      the feed of changes, and what the kernel must forget because of it
`kernel`         telling the kernel to forget, off the trio thread
`history`        what stands under ``.versions/``
`openfiles`      the table of open files, and which content each open shares
`contents`       a version and, once written to, the draft of the next one
`saving`         how a save reaches the service: at once, or by `writeback`, which keeps
                 it in a journal until then
`conflicts`      saves that met another's; `unsent`: what a mount says it has yet to send
`directories`    open directories
`attributes`     what stat says; `xattrs`: extended attributes
`requests`       what the kernel's requests come with
`inodes`         what the kernel has looked up, and which node each stands for
`remote`         the service as the mount sees it
===============  =====================================================================

The bytes that a mount keeps itself:

`reading`, `readahead`, `streams`           versions: what to fetch, and fetching it
`cache`, `blockfiles`                       their blocks, on disk
`drafts`, `flights`, `layers`               written, not yet a version; and on its way
`localbytes`, `draftfiles`, `writebuffer`   where drafts lie
`draftlimits`, `extents`                    how much they may hold; sets of byte ranges

What users and their tools may rely on is in ``SEMANTICS.md``.
"""

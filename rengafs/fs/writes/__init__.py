"""Bytes that are not a version yet, and how they become one.

=============  =======================================================================
`saving`       how a save reaches the service: at once, or by `writeback`, which keeps
               it in a journal until then
`conflicts`    saves that met another's; `unsent`: what a mount says it has yet to send
`drafts`       a file as it is being written, over its base; `draftstore`: all of a mount
`flights`      what of it is on its way; `layers`: a draft over a draft
`localbytes`   where its bytes lie: `writebuffer` in memory, `draftfiles` on disk, `unkept`
               how they get from there to here
`draftlimits`  how much they may hold; `extents`: sets of byte ranges
=============  =======================================================================
"""

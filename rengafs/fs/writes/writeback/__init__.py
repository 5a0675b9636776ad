"""``--write-back``: saves that are durable here first, and committed in the background.

==========  ========================================================================
`sending`   workers: what waits becomes requests, and what comes of them is taken in
`outbox`    what waits, file by file, in order; its bounds; who waits for it
`keeping`   what the service refuses for good, put aside
`journal`   the same on disk, so that it survives this process and this machine's power
`logfile`   frames of the journal's file; `records`: what they say
`replaying` journals of mounts that have ended, sent by the next one; `unsaved`: their drafts
`told`      conflicts that came of it, for people
==========  ========================================================================

A file's entries are sent in their order, one request at a time; entries of many files share
a request. An entry is forgotten only when the service has answered for it. A request whose
answer was lost is repeated under the same keys, so the service carries it out once.
"""

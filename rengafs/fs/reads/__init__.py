"""Bytes of versions: what to fetch, fetching it, and keeping it on disk.

=============  =======================================================================
`readers`      the versions that a mount reads
`reading`      one of them: from this disk, the cache, or the service
`neighbours`   which small files are likely to be opened next; `bulk` fetches them
`streams`      long downloads, and who waits for which part of one; `budget`: what they share
`readahead`    what a reader will want next: a plan, without I/O
`cache`        blocks of versions, with limits; `blockfiles`: the files they lie in
`blobfiles`    blobs of a service on this machine, read where they lie
=============  =======================================================================
"""

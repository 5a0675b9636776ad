"""The SDK: buckets, files and versions as objects, for blocking callers and for trio.

===================================  =================================================
`connect`                            from what a user gives to an `Endpoint`
`facts`                              what is known of a bucket, a file, a version
`flows`                              what the methods do, each written once
`reading`                            a position in what an access token may read
`writing`                            what a handle writes, and how it becomes a version
`spool`                              bytes on their way, in bounded memory
`sources` and `async_sources`        what can be written: bytes, files, iterables, URLs
`models`                             the half of each class that waits for nothing
`handles` and `async_handles`        open files
`client` and `async_client`          all other classes, and `Client` and `AsyncClient`
===================================  =================================================

The two surfaces hold no logic: each of their methods carries out one flow.
"""

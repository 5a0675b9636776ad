"""Where the service keeps blobs: one small interface, one suite that all backends pass.

===============  ==================================================================
`base`           `Backend`: the contract, in prose
`local`          a directory of this machine
`remote`         a backend over an object store: parts, hashes, tries, clearing up
`store`          what it needs of an object store, one request a method
`s3`             any S3, by aiobotocore
`swift`          OpenStack Swift, over its own API
`wrapping`       tries, limits and a log, around any backend
`pieces`         hashes of pieces, and marks where nobody knows the whole's hash
`merging`        what a composition consists of
`foreign`        objects that other programs stored, as adopted buckets show them
`configuration`  the file that names backends, of `definitions`; `opening` opens remote ones
===============  ==================================================================
"""

"""Buckets for Python's own tools: the fsspec filesystem ``renga://bucket/path[@MOMENT]``.

    pandas.read_parquet("renga://data/measured.parquet")
    fsspec.open("renga://data/report.csv@2026-11-01")

fsspec finds it by its entry point, so nothing needs to be imported.

===============  ==========================================================
`moments`        what a path says of the moment
`service`        the calls, with errors as `OSError`
`filesystem`     the filesystem: listing, making, copying, moving, removing
`files`          an open file: reads one version, or writes the next
===============  ==========================================================
"""

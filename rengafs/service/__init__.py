"""``rengafs serve``: an ASGI app over a catalog and its backends.

================  ====================================================================
`run`             `serve`: a service's life, from its options to its end
`place`           the data directory: whose it is, what lies where
`listening`       sockets: a port or a Unix socket
`workers`         several processes on one socket
`trickles`        connections, and bodies that come byte by byte
`leaving`         an embedded service leaves after its last user
`upkeep`          `sweep_data`, `check_data`: without a service, or beside it
`sweeping` `checking`   what they do
`sharing`         members and quotas of buckets, likewise
`tokens`          `create_token` and the like, without a service
`health`          `/healthz`, `/readyz`, `/metrics`
`app`             `create_app`: endpoints to handlers
`boundary`        request ids, the log, and errors as JSON: the one place that catches all
`calls`           a request as a handler sees it: parsed, and allowed
`authority`       user tokens and grants
`issuing`         tokens of an OpenID Connect issuer
`parts`           what handlers share: catalog, backends, threads
`original` `tree` `applying` `contents` `feeding`   the handlers
`storing` `fetching`   bytes into and out of backends
`parking` `settling`   small blobs wait in the catalog for their way into a store
`directing`       readers sent straight to Swift or S3
`ranges`          the Range header
`description`     OpenAPI, made of the endpoint table
`browsing`        the same as a page
================  ====================================================================
"""

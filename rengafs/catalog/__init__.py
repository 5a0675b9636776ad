"""What the service remembers: names, versions, attributes, as one history. Not the bytes.

================  ====================================================================
`schema`          the tables; every column's meaning beside it
`database`        connections and transactions; SQLite and PostgreSQL
`migrating`       brings a database to this schema (``migrations/``)
`values`          small records of its own; the wire's are in `rengafs.protocol`
`writer`          one write transaction: numbers, ids, events, states, edges
`nodes`           rows to `Node` records
`places`          what stands at a name, a path, in a directory; now or as of a change
`making` `saving` `renaming` `removing` `attributes`   the operations
`applying`        operations in order: savepoints
`receipts`        what a repeated operation came to
`original`        what the original API asks for
`explorer`        the original API's vertices
`history`         the past of a name, of a file, of a directory
`membership`      who may do what in which bucket
`stock`           the blobs that are known, for sweeper and check
`parking`         small blobs that wait here for their way into a backend
`feed`            changes in order; moments; usage
`access`          users, tokens, lineage of reads
`droppings`       names that editors leave behind
`catalog`         `Catalog`: one method, one transaction
================  ====================================================================
"""

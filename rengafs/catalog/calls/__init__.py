"""What the service asks of the catalog, by purpose: see `rengafs.catalog.catalog`."""

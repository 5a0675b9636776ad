"""Pins: paths whose bytes and attributes stay on this machine, whatever becomes of the service.

=============  =======================================================================
`records`      pins on disk: what was asked for, how far it is, the attributes kept
`gathering`    what a pin covers, asked of the service: names, attributes, versions
`fetching`     bytes of versions into the cache, where eviction spares them
`keeping`      the task of a mount that carries pins out and keeps them current
`recent`       files that were read lately: shown without the service if they are cached
`known`        what is known of names and attributes, for a mount without its service
=============  =======================================================================
"""

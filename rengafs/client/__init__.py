"""Speaking to a service: each call described once, as a flow, for both kinds of caller.

================  ====================================================================
`flow`            what a conversation may ask for: send, sleep, gather
`retry`           which failures deserve another try, and when
`calls`           the calls, as flows; no I/O
`connection`      where a service listens, and what may go wrong on the way there
`blocking`        `BlockingDriver` carries flows out on threads, over httpx
`trio_driver`     `TrioDriver` carries flows out on trio, over httpx
`direct`          bytes that the service says lie elsewhere
`drivers`         both
`unix_transport`  a repair to httpx's transport, for blocking callers
`sdk`             buckets, files and versions as objects
================  ====================================================================
"""

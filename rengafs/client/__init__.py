"""Speaking to a service: each call described once, as a flow, for both kinds of caller.

===============  =====================================================================
`flow`           what a conversation may ask for: send, sleep, gather
`retry`          which failures deserve another try, and when
`calls`          the calls, as flows; no I/O
`drivers`        what carries a flow out: `BlockingDriver` and `TrioDriver`, over httpx
===============  =====================================================================
"""

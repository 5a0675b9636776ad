"""The wire: words, records, endpoints and errors that client and service share.

Nothing here opens a socket, a file or a clock, so all of it is tested by calling it.
Both sides import it; it imports neither (a contract in ``pyproject.toml`` holds that).

======================  ==========================================================
`errors`                the whole error tree: code, HTTP status and errno of each
`names`                 what a name may be, and how a path shows one it cannot carry
`moments`               points in time as people and ``.versions/`` spell them
`records`               what the service remembers, as frozen structs
`operations`            every change that a client may ask for, as one union
`frames`                JSON lines with bytes behind them: many small things per trip
`vertices`              the original API's graph notation, to and fro
`messages`              `Request` and `Reply`: HTTP without a socket
`endpoints`             every URL, once: what goes in, what comes out
======================  ==========================================================
"""

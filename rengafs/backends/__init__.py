"""Where the service keeps blobs: one small interface, one suite that all backends pass.

==========  =====================================================================
`base`      `Backend`: the contract, in prose
`local`     a directory of this machine
==========  =====================================================================
"""

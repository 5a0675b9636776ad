"""Which services a user knows, and by which tokens: for commands, and for Python programs.

=============  =================================================================
`settings`     the configuration file: services by name, options of commands
`credentials`  tokens of logins, in the desktop's keyring or in a closed file
`devicelogin`  logging in at an OpenID Connect issuer, by the device flow
`tokens`       the token for a service, from wherever it was put
=============  =================================================================
"""

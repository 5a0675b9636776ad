"""The command line: what a person types becomes options for the filesystem and the service.

It is the only part that reads the environment, starts processes and ends them. It knows
neither what a file is nor how bytes are kept.

==============  ======================================================================
`main`          finds the command, sets up logging; the error boundary
`exits`         every exit code, and which error ends in which
`commands`      one file per command: arguments, call, output
`options`       options and kinds of values that commands share
`paths`         where data, caches, logs and sockets lie
`logs`          log lines, and log files that stay small
`output`        tables for people, JSON for programs
`address`       which service, with which token
`session`       what one run shares between `main` and the command
`defaults`      options that the configuration gives
`asking`        a service to ask on behalf of a command, and the paths in it
`locating`      what a PATH means: of a mount, or of a service
`servicedata`   the data of a service, worked on with no service in between
`restoring`     bringing a path back
`lockfiles`     lock files of ``rengafs record``
`staying`       which files that were read are at hand
`pinning`       pins, and how far mounts are with them
`completing`    what the shell offers behind a half-typed word
`shells`        the scripts by which bash, zsh and fish ask for that
`diagnosing`    what `rengafs doctor` looks at
`manpages`      manual pages, made from the commands
`transfers`     how far something long is
`mounthelper`   ``mount.rengafs`` and ``umount.fuse.rengafs``
`awaystart`     a mount begun while its service is away
`embedded`      the service that a mount starts by itself, and ends again
`detached`      starting a process in the background, and learning how that went
`notify`        telling the starter, or systemd, that a process is ready
`processes`     other processes: ending them, waiting for their end
`locks`         file locks with a bound on the wait
`mounttable`    the kernel's list of mounts
`mountasking`   questions to mounts, each with a bound
`unsent`        what mounts have yet to send, and what ended ones left
`records`       which mounts of ours run here
`checks`        whether a directory can be mounted on
`unmounting`    detaching a mount, and waiting for its process
`occupants`     which processes keep a mount busy
==============  ======================================================================
"""

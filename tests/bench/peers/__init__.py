"""rengafs beside rclone mount and s3fs: the same work on mounts over one real Swift, in one run.

==============  ==================================================================
`tools`         the peers' programs, installed for this and for nothing else
`store`         the Swift, and when a container of it is still
`contenders`    how each is mounted, emptied of what it has cached, and looked at
`works`         the work, written once for a directory, whosever it is
`limits`        what bounds it: ext4, pyfuse3 itself, a plain HTTP stream
`rows`          what each figure means, and what was to be reached
`trials`        who does what when, and what became of it
`report`        table, plots and JSON
`profiling`     where the time goes, by py-spy
==============  ==================================================================
"""

"""What a name of the mount means.

=============  =======================================================================
`directories`  open directories, live and past
`listings`     what is known of live directories; `touched`: what a change made old
`absent`       names that the kernel believes are not there
`history`      what stands under ``.versions/``; `guidetext`: what explains it there
`markers`      names that hold indexers back
`entering`     what a new entry may be called, whom it belongs to, what makes it
`attributes`   what stat says; `xattrs`: extended attributes
`requests`     what the kernel's requests come with
`inodes`       what the kernel has looked up, and which node each stands for
=============  =======================================================================
"""

"""Names that editors leave behind and take away again: swap files, backups, locks.

What was saved only under such a name goes with it. This module knows the names; what
"goes with it" means is in `removing`.
"""

import fnmatch
import re
from collections.abc import Iterable

DEFAULT = (
    "*~",  # emacs, vim, gedit: the backup
    "*.swp",  # vim: the swap file, and the next two when that is taken
    "*.swo",
    "*.swx",
    "4913",  # vim: tries whether it may write here
    ".~lock.*#",  # LibreOffice
    ".goutputstream-*",  # GLib: the temporary before the rename
    "lu[0-9]*.tmp",  # LibreOffice: the temporary, where it copies it and does not rename
    "#*#",  # emacs: auto-save
    ".#*",  # emacs: the lock
    "*.kate-swp",
    ".fuse_hidden*",
    ".nfs*",
)


class Droppings:
    """Tells a dropping's name from a real one."""

    def __init__(self, patterns: Iterable[str]) -> None:
        # latin-1 maps bytes to characters one to one, so patterns work on raw names.
        joined = "|".join(fnmatch.translate(pattern) for pattern in patterns)
        self._matches = re.compile(joined) if joined else None

    def match(self, raw: bytes) -> bool:
        """Whether *raw* is the name of a dropping."""
        return bool(self._matches and self._matches.match(raw.decode("latin-1")))

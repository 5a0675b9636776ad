"""Names of which the kernel believes for long that nothing stands there.

Nobody lists those: so that they can be taken back when the feed is lost, they are noted here,
as long as the kernel may believe them. What can't be noted is to be believed for a moment only.
"""

from collections.abc import Iterator

import trio
from cachetools import TTLCache

REMEMBERED = 20_000
"""Names, of all directories together: a few megabytes."""

Name = tuple[int, bytes]
"""The inode number of a directory, and a name in it."""


class Absent:
    """See the module.

    :param seconds: how long the kernel believes it.
    """

    def __init__(self, seconds: float, remembered: int = REMEMBERED) -> None:
        self._names: TTLCache[Name, None] = TTLCache(remembered, seconds, trio.current_time)

    def note(self, directory: int, name: bytes) -> bool:
        """Note a name; return whether there was room for it."""
        if (directory, name) not in self._names:
            self._names.expire()
            if len(self._names) >= self._names.maxsize:
                return False
        self._names[directory, name] = None
        return True

    def take(self) -> Iterator[Name]:
        """Yield all names, and forget them."""
        while self._names:
            yield self._names.popitem()[0]

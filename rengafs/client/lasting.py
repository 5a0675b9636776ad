"""The token of a driver that outlives it: replaced before it ends, and when it is refused.

Where tokens come from is not known here: a function is asked, in a thread, as it may read
files and a keyring, and wait for an issuer.
"""

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

from rengafs.protocol.errors import RengafsError

if TYPE_CHECKING:
    from rengafs.client.access.tokens import FoundToken

log = logging.getLogger(__name__)

MARGIN_SECONDS = 59.0
"""Before its end a token is asked for anew; within the minute in which logins are renewed."""
SHORTEST_SECONDS = 1.0
LONGEST_SECONDS = 60.0
"""Of one sleep: the clock that tokens go by goes on while a machine is suspended."""
REST_SECONDS = 3.0
"""After a failure; until then what is refused is refused."""

Renew = Callable[[str], "FoundToken | None"]
"""Given a token that was refused, or an empty one, returns the token to use; blocks."""


class LastingToken:
    """A token, and where the next comes from."""

    def __init__(self, token: str, renew: Renew) -> None:
        self.token = token
        self._renew = renew
        self._lock = trio.Lock()
        self._resting_until = -1.0

    @property
    def header(self) -> dict[str, str]:
        """What a request bears."""
        return {"authorization": f"Bearer {self.token}"} if self.token else {}

    async def replace(self, refused: str) -> bool:
        """Look for another token than *refused*; return whether there is one to try."""
        async with self._lock:
            if self.token == refused and trio.current_time() >= self._resting_until:
                await self._ask(refused)
                if self.token == refused:
                    self._resting_until = trio.current_time() + REST_SECONDS
            return self.token != refused

    async def keep(self) -> None:
        """Have a token that is good at any time, also where nothing is asked; until cancelled."""
        while True:
            async with self._lock:
                ends = await self._ask("")
            if ends is None:
                await trio.sleep_forever()
            await _until(_next_look(ends, time.time()))

    async def _ask(self, refused: str) -> float | None:
        """Take the token that there is now; return when it ends, in seconds since 1970."""
        try:
            found = await trio.to_thread.run_sync(self._renew, refused, abandon_on_cancel=True)
        except RengafsError as error:
            log.warning("the token can't be renewed: %s", error)
            return time.time() + MARGIN_SECONDS + REST_SECONDS
        if found is None:
            return None
        if found.token != self.token:
            log.info("another token is used, of %s", found.origin)
            self.token = found.token
        return None if found.expires_ms is None else found.expires_ms / 1000


def _next_look(ends: float, now: float) -> float:
    left = ends - now
    return now + max(left - MARGIN_SECONDS if left > MARGIN_SECONDS else left / 2, SHORTEST_SECONDS)


async def _until(moment: float) -> None:
    # Asked now and then, because the wall clock may leap.
    while (left := moment - time.time()) > 0:  # noqa: ASYNC110
        await trio.sleep(min(left, LONGEST_SECONDS))

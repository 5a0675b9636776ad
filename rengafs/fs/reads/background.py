"""Tasks that bring bytes before anybody has asked for them: what goes wrong there is no news."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import trio

from rengafs.protocol.errors import RengafsError

log = logging.getLogger(__name__)


async def attempt(what: str, task: Callable[..., Awaitable[None]], *arguments: Any) -> None:
    """Run *task*; its errors go to the log, with *what* was tried. The mount goes on without.

    Who needs those bytes asks for them, and is told what is wrong with them.
    """
    try:
        await task(*arguments)
    except (RengafsError, trio.ClosedResourceError) as error:
        log.info("%s: given up: %s", what, error)
    except Exception:
        log.exception("%s: given up; this is a defect of rengafs", what)


class Task:
    """A task in the background, which can be ended."""

    def __init__(self) -> None:
        self.scope = trio.CancelScope()
        self.done = trio.Event()

    async def end(self) -> None:
        """End it, and wait until it has; whoever runs it sets `done`."""
        self.scope.cancel()
        await self.done.wait()

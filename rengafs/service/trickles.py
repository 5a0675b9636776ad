"""Bodies that trickle: a client may send single bytes, each a chunk and a packet of its own.

To parse each as it comes costs a turn of the event loop for one byte. So a connection that
trickles is left alone for a moment now and then, and what has gathered is parsed at once.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

TINY_BYTES = 64
"""Less than any request's head: only pieces of a body are so small."""
PATIENCE = 16
"""Tiny pieces before a rest; a small body has fewer, and never waits."""
REST_SECONDS = 0.015


class TrickleProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which rests while a body trickles."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._tiny = 0
        self._rest: asyncio.TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        """Parse what came; rest if it trickles."""
        super().data_received(data)
        self._tiny = self._tiny + 1 if len(data) < TINY_BYTES else 0
        if self._tiny < PATIENCE or self._rest is not None or not self._within_a_body():
            return
        self._tiny = 0
        self.transport.pause_reading()
        self._rest = self.loop.call_later(REST_SECONDS, self._go_on)

    def connection_lost(self, exc: Exception | None) -> None:
        """End; see uvicorn."""
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None
        super().connection_lost(exc)

    def _within_a_body(self) -> bool:
        return self.cycle is not None and self.cycle.more_body and not self.transport.is_closing()

    def _go_on(self) -> None:
        self._rest = None
        # uvicorn may have paused it meanwhile, for a body that nobody takes.
        if not self.flow.read_paused and not self.transport.is_closing():
            self.transport.resume_reading()

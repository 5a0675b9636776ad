"""A TCP proxy that is a line: it delays bytes, lets so many through in a second, and counts."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

PIECE_BYTES = 256 << 10
WAITING_PIECES = 1024
"""Bytes on the line at a time are bounded by this many pieces; then the sender waits."""


class Link:
    """Listens on a free port; forwards to a service, each piece *delay* seconds later.

    :param bytes_per_second: what all connections together get, both ways.
    """

    def __init__(
        self, host: str, port: int, delay: float, bytes_per_second: float = float("inf")
    ) -> None:
        self._target = (host, port)
        self._delay = delay
        self._rate = bytes_per_second
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._stop: asyncio.Event
        self._line: asyncio.Lock
        self._down = False
        self._writers: set[asyncio.StreamWriter] = set()
        self.address = ""
        self.moved = 0
        """Bytes that arrived, either way: what waits on the line nobody has asked for yet."""
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Link":
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def cut(self) -> None:
        """Break all connections, and refuse new ones until `mend`."""
        self._down = True
        asyncio.run_coroutine_threadsafe(self._break(), self._loop).result()

    def mend(self) -> None:
        """Let connections through again."""
        self._down = False

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        self._line = asyncio.Lock()
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._ready.set()
        await self._stop.wait()
        server.close()
        await self._break()
        waiting = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    async def _break(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._down:
            writer.transport.abort()
            return
        try:
            there_reader, there_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        ours = {writer, there_writer}
        self._writers |= ours
        try:
            await asyncio.gather(
                self._forward(reader, there_writer), self._forward(there_reader, writer)
            )
        except asyncio.CancelledError:
            pass  # the link ends; a cancelled connection would be told with a traceback
        finally:
            self._writers -= ours
            for end in ours:
                end.transport.abort()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(WAITING_PIECES)
        arriving = asyncio.create_task(self._arrive(line, writer))
        with suppress(OSError):
            # Who has gone takes up no more of the line.
            while (data := await reader.read(PIECE_BYTES)) and not writer.is_closing():
                if self._rate != float("inf"):
                    async with self._line:  # whose turns are in the order of asking
                        await asyncio.sleep(len(data) / self._rate)
                await line.put((self._loop.time() + self._delay, data))
        await line.put((self._loop.time() + self._delay, b""))
        await arriving

    async def _arrive(
        self, line: "asyncio.Queue[tuple[float, bytes]]", writer: asyncio.StreamWriter
    ) -> None:
        with suppress(OSError):
            while True:
                at, data = await line.get()
                if (wait := at - self._loop.time()) > 0:
                    await asyncio.sleep(wait)
                if not data:
                    writer.write_eof()
                    return
                writer.write(data)
                await writer.drain()
                self.moved += len(data)
        while (await line.get())[1]:
            pass  # nobody takes it any more; let the other side come to its end


@contextmanager
def delayed(
    address: str, round_trip_seconds: float, bytes_per_second: float = float("inf")
) -> Iterator[Link]:
    """Give a link to the service at *address* (``http://HOST:PORT``)."""
    host, _, port = address.removeprefix("http://").rpartition(":")
    with Link(host, int(port), round_trip_seconds / 2, bytes_per_second) as link:
        yield link

"""What a mount counts for Prometheus: requests and their times, the cache, unsent bytes, the feed.

No name of a bucket, file or user is told. Not counted at all unless somebody listens.
"""

import errno
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from queue import Empty, SimpleQueue

import trio
from prometheus_client import CollectorRegistry, Counter, Histogram, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from rengafs.fs.reads.cache import CacheStatistics
from rengafs.fs.writes.unsent import Report
from rengafs.protocol.errors import SetupError

BUCKETS = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
"""Seconds: from what a cache answers to a service that is not reachable."""

READ_SECONDS = 5.0
"""Prometheus gives up after 10 s, unless told otherwise."""


@dataclass(frozen=True, slots=True)
class FeedState:
    """How the mount follows what others do."""

    live: bool
    last: int
    """The number of the last change that was taken in."""
    heard: float
    """When the feed last said something, in seconds since 1970; 0: never."""
    lag: float
    """How long the last change of others took to come here, by both clocks, in seconds."""


States = tuple[CacheStatistics, Report, FeedState]


class Metrics:
    """The numbers of one mount."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._seconds = Histogram(
            "rengafs_mount_request_seconds",
            "Requests of the kernel, by how long they took.",
            ["request"],
            buckets=BUCKETS,
            registry=self.registry,
        )
        self._errors = Counter(
            "rengafs_mount_errors",
            "Requests that were answered with an error.",
            ["request", "errno"],
            registry=self.registry,
        )

    def count(self, request: str, seconds: float, error: int) -> None:
        """Count a request; *error* 0: it was answered well."""
        self._seconds.labels(request).observe(seconds)
        if error:
            self._errors.labels(request, errno.errorcode.get(error, str(error))).inc()

    def look_at(
        self,
        cache: Callable[[], CacheStatistics],
        unsent: Callable[[], Report],
        feed: Callable[[], FeedState],
    ) -> None:
        """Tell what these say, whenever somebody asks. To be called in trio, where they are."""

        def states() -> States:
            return cache(), unsent(), feed()

        self.registry.register(_States(trio.lowlevel.current_trio_token(), states))


class _States(Collector):
    """Numbers that are kept elsewhere, and read when they are asked for.

    Prometheus asks in a thread, and they change in trio's: it reads them for that thread.
    """

    def __init__(self, token: trio.lowlevel.TrioToken, states: Callable[[], States]) -> None:
        self._token, self._states = token, states

    def _read(self) -> States | None:
        """Return the numbers; None where the mount ends, or is too busy to tell."""
        read: SimpleQueue[States | Exception] = SimpleQueue()

        def take() -> None:
            try:
                read.put(self._states())
            except Exception as error:  # noqa: BLE001 - whoever asked gets it; the mount goes on
                read.put(error)

        try:
            self._token.run_sync_soon(take)
            found = read.get(timeout=READ_SECONDS)
        except (trio.RunFinishedError, Empty):
            return None
        if isinstance(found, Exception):
            raise found
        return found

    def collect(self) -> Iterable[Metric]:
        """Yield the numbers as they are now."""
        states = self._read()
        if states is None:
            return
        cache, unsent, feed = states
        counted = (
            ("cache_hits", "Blocks that the cache had.", cache.hits),
            ("cache_misses", "Blocks that it had not.", cache.misses),
            ("cache_damaged", "Blocks that were not what had been stored.", cache.damaged),
            ("cache_evicted", "Blocks that made room for others.", cache.evicted),
        )
        for name, text, value in counted:
            yield CounterMetricFamily(f"rengafs_mount_{name}", text, value)
        gauges = (
            ("cache_bytes", "Bytes in the cache on disk.", cache.bytes),
            ("unsent_bytes", "Bytes written here that the service has not yet.", unsent.bytes),
            ("unsent_files", "Files that they are of.", unsent.files),
            ("refused_files", "Files that the service did not take.", len(unsent.failed)),
            ("feed_live", "1 while changes of others are heard of at once.", int(feed.live)),
            ("feed_last_change", "The last change that was taken in.", feed.last),
            ("feed_heard_seconds", "When the feed last said something, since 1970.", feed.heard),
            ("feed_lag_seconds", "What the last change of others took to come here.", feed.lag),
            ("time_seconds", "Now, by the clock here.", time.time()),
        )
        for name, text, number in gauges:
            yield GaugeMetricFamily(f"rengafs_mount_{name}", text, number)


@contextmanager
def served(metrics: Metrics, address: tuple[str, int]) -> Iterator[None]:
    """Answer Prometheus at ``http://HOST:PORT/metrics``, in a thread, while the block runs.

    Raises `SetupError` where one can't listen there.
    """
    host, port = address
    try:
        server, thread = start_http_server(port, host, metrics.registry)
    except OSError as error:
        raise SetupError(
            f"can't listen for metrics on {host}:{port} ({error.strerror}); choose another"
        ) from error
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

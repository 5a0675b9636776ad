"""``/healthz``, ``/readyz`` and ``/metrics``: for whoever watches a service. No token.

``/healthz`` says that the process answers; ``/readyz`` also that its catalog and backends
do. Metrics hold counts and times only: no names, no ids, no users.
"""

import asyncio
import contextlib
import os

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.process_collector import ProcessCollector
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from rengafs.catalog.catalog import Catalog
from rengafs.protocol.errors import Corrupt, RengafsError, Unavailable
from rengafs.service.parts import Parts

SHARED_METRICS = "PROMETHEUS_MULTIPROC_DIR"
"""Environment variable: where several workers keep their numbers. The library reads it, too."""
READY_SECONDS = 5.0
SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60)
"""Upper bounds of the classes of durations."""


class Metrics:
    """What one process counts; with several workers, what all of them count together."""

    def __init__(self) -> None:
        self._registry = self._told = CollectorRegistry()
        if SHARED_METRICS in os.environ:
            # Prometheus' library keeps the numbers in files that all workers read.
            self._told = CollectorRegistry()
            MultiProcessCollector(self._told)  # type: ignore[no-untyped-call]
        else:
            ProcessCollector(registry=self._registry)
        self._requests = Counter(
            "rengafs_requests",
            "Requests answered, by endpoint and status.",
            ["endpoint", "status"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "rengafs_request_seconds",
            "Time from a request to the end of its answer; feeds last.",
            ["endpoint"],
            buckets=SECONDS,
            registry=self._registry,
        )
        self.under_way = Gauge(
            "rengafs_requests_under_way",
            "Requests not yet answered.",
            registry=self._registry,
            multiprocess_mode="livesum",
        )
        self.last_change = Gauge(
            "rengafs_last_change",
            "Number of the catalog's last change.",
            registry=self._registry,
            multiprocess_mode="livemax",
        )

    def answered(self, endpoint: str, status: int, seconds: float) -> None:
        """Count a request. *status* 0: it was cut before its answer."""
        self._requests.labels(endpoint, str(status)).inc()
        self._seconds.labels(endpoint).observe(seconds)

    def text(self) -> bytes:
        """Return all in Prometheus' text format."""
        return generate_latest(self._told)


def forget_process(number: int, directory: str) -> None:
    """Leave a worker that is gone out of the sums of those that live."""
    mark_process_dead(number, directory)  # type: ignore[no-untyped-call]


def health_routes(parts: Parts, metrics: Metrics) -> list[Route]:
    """Return the three addresses."""

    async def healthy(_request: Request) -> Response:
        return PlainTextResponse("rengafs\n")

    async def ready(_request: Request) -> Response:
        try:
            async with asyncio.timeout(READY_SECONDS):
                await parts.read(Catalog.last_change)
                for backend in parts.backends.values():
                    await backend.space()
        except TimeoutError:
            raise Unavailable("catalog or backend do not answer in time") from None
        except Corrupt as error:
            raise Unavailable(error.message) from error
        return PlainTextResponse("ready\n")

    async def measured(_request: Request) -> Response:
        # Without its catalog the rest is worth telling most of all.
        with contextlib.suppress(RengafsError):
            metrics.last_change.set(await parts.read(Catalog.last_change))
        return Response(metrics.text(), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    return [
        Route("/healthz", healthy),
        Route("/readyz", ready),
        Route("/metrics", measured),
    ]

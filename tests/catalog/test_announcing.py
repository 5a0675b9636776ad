"""Changes announced from process to process, and what happens when nobody tells."""

import asyncio
import threading
from pathlib import Path

import psycopg
from support.catalogs import open_desk
from support.postgresql import PostgreSQL
from support.services import RunningService, running_service
from support.talking import following, talking

from rengafs.client import calls
from rengafs.protocol.operations import MakeFile
from rengafs.protocol.records import Change


def test_a_change_is_announced_when_it_is_committed(postgresql: PostgreSQL, tmp_path: Path) -> None:
    async def run() -> None:
        with (
            postgresql.catalog() as url,
            open_desk(tmp_path, url) as desk,
            open_desk(tmp_path, url) as other,
        ):
            heard = other.catalog.announcements()
            assert heard is not None
            async with asyncio.timeout(240):
                assert await anext(heard) == 0
                bucket = desk.bucket()
                assert await anext(heard) == desk.catalog.last_change()
                desk.directory(bucket, "d")
                assert await anext(heard) == desk.catalog.last_change()
            await heard.aclose()  # type: ignore[attr-defined]

    asyncio.run(run())


def test_catalogs_of_one_database_do_not_hear_each_other(
    postgresql: PostgreSQL, tmp_path: Path
) -> None:
    async def run() -> None:
        with (
            postgresql.catalog() as url,
            postgresql.catalog() as far,
            open_desk(tmp_path, url) as desk,
            open_desk(tmp_path, far) as other,
        ):
            heard = desk.catalog.announcements()
            assert heard is not None
            async with asyncio.timeout(240):
                assert await anext(heard) == 0
                for name in ("a", "b", "c"):
                    other.bucket(name)
                desk.bucket()
                assert await anext(heard) == 1
            await heard.aclose()  # type: ignore[attr-defined]

    asyncio.run(run())


def test_on_sqlite_nothing_is_announced(tmp_path: Path) -> None:
    with open_desk(tmp_path) as desk:
        assert desk.catalog.announcements() is None


def test_a_feed_survives_the_loss_of_the_connection_that_announces(
    postgresql: PostgreSQL, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    with (
        postgresql.catalog() as url,
        running_service(data, catalog=url) as one,
        running_service(data, catalog=url, token=one.token) as other,
        talking(one) as talk,
    ):
        bucket = talk.bucket()
        since = talk.run(calls.service()).change
        heard: list[int] = []
        ready = threading.Semaphore(0)

        def follow() -> None:
            with talking(other) as far, following(far, since) as records:
                for record in records:
                    if isinstance(record, Change):
                        heard.append(record.number)
                    ready.release()
                    if len(heard) == 6:
                        return

        thread = threading.Thread(target=follow)
        thread.start()
        assert ready.acquire(timeout=240)
        for turn in range(6):
            talk.do(MakeFile(parent=bucket.id, name=f"f{turn}"))
            assert ready.acquire(timeout=240)
            if turn % 2:
                cut(postgresql)
        thread.join(30)
        assert heard == [*range(since + 1, since + 7)]
        assert _no_defects(one)
        assert _no_defects(other)


def cut(postgresql: PostgreSQL) -> None:
    """End every connection that listens."""
    with psycopg.connect(
        host=str(postgresql.directory), user="postgres", dbname="postgres", autocommit=True
    ) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN %'"
        )


def _no_defects(service: RunningService) -> bool:
    text = service.log.read_text()
    return "Traceback" not in text and " status=5" not in text

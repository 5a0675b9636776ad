"""A catalog that an early version filled is brought to the present, and nothing is lost.

The rows are written here as that version wrote them (schema 0002): a bucket with files that
were saved, renamed and deleted, and directories that were made, moved and removed.
"""

from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text
from support.catalogs import Clock, Desk

import rengafs.catalog
from rengafs.catalog.catalog import open_catalog
from rengafs.catalog.database import open_database
from rengafs.protocol.records import ROOT

DATA, KEPT, GONE, MOVED, FILE, LOST, OTHER = range(300, 307)
MANY = 400
"""The first of a crowd of directories below ``kept``."""
CROWD = 1200
OLD_MS = 1_600_000_000_000
LENGTHS = {500: 3, 501: 5, 502: 7}
"""Versions: two of ``f``, one of ``lost``."""


def insert(connection: Connection, table: str, rows: list[dict[str, object]]) -> None:
    columns = ", ".join(f'"{name}"' for name in rows[0])
    values = ", ".join(f":{name}" for name in rows[0])
    connection.execute(text(f"INSERT INTO {table} ({columns}) VALUES ({values})"), rows)


def node(number: int, kind: str, links: int) -> dict[str, object]:
    bucket = 0 if number == ROOT else DATA
    return {
        "id": number,
        "kind": kind,
        "bucket": bucket,
        "created_ms": OLD_MS,
        "owner": "ada",
        "device": 0,
        "target": None,
        "backend": "local",
        "links": links,
    }


def state(number: int, since: int, until: int | None, version: int | None) -> dict[str, object]:
    size = LENGTHS.get(version or 0, 0)
    times = dict.fromkeys(("mtime_ns", "ctime_ns", "atime_ns"), OLD_MS * 1_000_000 + since)
    return {
        "node": number,
        "since": since,
        "until": until,
        "mode": 0o755,
        "uid": None,
        "gid": None,
        "size": size,
        "version": version,
        "xattrs": None,
        **times,
    }


def version(number: int, file: int, change: int, base: int | None) -> dict[str, object]:
    return {
        "id": number,
        "file": file,
        "change": change,
        "size": LENGTHS[number],
        "sha256": f"{number:064}",
        "blob": number + 100,
        "author": "ada",
        "base": base,
        "conflict": False,
        "created_ms": OLD_MS + change,
        "mtime_ns": OLD_MS * 1_000_000,
        "mode": 0o644,
        "handle": "",
        "hidden": "",
        "origin": "",
        "execution": None,
        "project": None,
    }


def fill(connection: Connection) -> None:
    """Write what the early version would have, after eleven changes and a crowd."""
    crowd = range(MANY + 1000, MANY + 1000 + CROWD)
    insert(connection, "about", [{"key": "catalog", "value": "c"}, {"key": "secret", "value": "s"}])
    sums = {"live_bytes": 5, "all_bytes": sum(LENGTHS.values()), "files": 1}
    last = {"id": 1, "change": 12, "at_ms": OLD_MS + 12, "next_id": 9000}
    insert(connection, "head", [last | sums])
    # Each living directory had one link, whatever was in it.
    directories = [(ROOT, 1), (KEPT, 1), (GONE, 0), (MOVED, 1), *((one, 1) for one in crowd)]
    insert(connection, "nodes", [node(number, "directory", links) for number, links in directories])
    insert(connection, "nodes", [node(DATA, "bucket", 1)])
    insert(
        connection, "nodes", [node(number, "file", int(number == FILE)) for number in (FILE, LOST)]
    )
    edges = [
        (ROOT, b"data", DATA, 1, None),
        (DATA, b"kept", KEPT, 2, None),
        (DATA, b"gone", GONE, 3, 4),
        (DATA, b"moved", MOVED, 5, 6),
        (KEPT, b"moved", MOVED, 6, None),
        (DATA, b"draft", FILE, 7, 9),
        (DATA, b"f", FILE, 9, None),
        (DATA, b"lost", LOST, 10, 11),
        *((KEPT, b"d%d" % one, one, 12, None) for one in crowd),
    ]
    keys = ("parent", "name", "node", "since", "until")
    rows = [
        {"id": 6000 + index, **dict(zip(keys, row, strict=True))} for index, row in enumerate(edges)
    ]
    insert(connection, "edges", rows)
    numbers = [ROOT, DATA, KEPT, MOVED, *crowd]
    states = [state(number, 1, None, None) for number in numbers]
    states += [state(GONE, 3, 4, None), state(FILE, 7, 8, 500), state(FILE, 8, None, 501)]
    insert(connection, "states", [*states, state(LOST, 10, 11, 502)])
    blobs = [
        {"id": number + 100, "backend": "local", "key": f"k{number}", "size": size}
        | {"sha256": f"{number:064}", "created_ms": OLD_MS}
        for number, size in LENGTHS.items()
    ]
    insert(connection, "blobs", blobs)
    insert(
        connection,
        "versions",
        [version(500, FILE, 7, None), version(501, FILE, 8, 500), version(502, LOST, 10, None)],
    )
    changes = [
        {"number": number, "at_ms": OLD_MS + number, "action": "commit", "author": "ada"}
        | {"host": "h", "client": "c"}
        for number in range(1, 13)
    ]
    insert(connection, "changes", changes)
    label = {"bucket": DATA, "name": b"v1", "at_ms": OLD_MS + 7, "change": 7, "author": "ada"}
    insert(connection, "moments", [label | {"created_ms": OLD_MS}])
    insert(connection, "users", [{"id": 280, "name": "ada", "created_ms": OLD_MS}])


@pytest.fixture
def old(catalog_url: str) -> str:
    """A filled catalog of schema 0002."""
    database = open_database(catalog_url)
    config = Config()
    place = Path(rengafs.catalog.__file__).parent / "migrations"
    config.set_main_option("script_location", str(place))
    try:
        with database.write() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "0002")
            fill(connection)
    finally:
        database.close()
    return catalog_url


def test_a_filled_catalog_is_brought_to_the_present(old: str) -> None:
    catalog = open_catalog(old, clock_ns=Clock())
    try:
        desk = Desk(catalog, Clock())
        links = {number: catalog.node(number).links for number in (ROOT, DATA, KEPT, MOVED, FILE)}
        assert links == {ROOT: 3, DATA: 3, KEPT: 3 + CROWD, MOVED: 2, FILE: 1}
        assert catalog.node(MANY + 1000).links == 2

        assert desk.names(DATA) == ["f", "kept"]
        assert desk.names(DATA, at=3) == ["gone", "kept"]
        assert desk.names(DATA, at=7) == ["draft", "kept"]
        assert sorted(desk.past(catalog.node(DATA))) == [
            "draft",
            "f",
            "gone",
            "kept",
            "lost",
            "moved",
        ]
        history = catalog.history(DATA, "f").versions
        assert [(one.id, one.size) for one in history] == [(500, 3), (501, 5)]
        assert [one.id for one in catalog.history(DATA, "lost").versions] == [502]
        assert catalog.sums_agree()
    finally:
        catalog.close()


def test_work_goes_on_in_it(old: str) -> None:
    catalog = open_catalog(old, clock_ns=Clock())
    try:
        desk = Desk(catalog, Clock())
        data = catalog.node(DATA)
        desk.commit(FILE, "third")
        desk.rename(data, "f", "g", into=catalog.node(KEPT))
        desk.rmdir(KEPT, "moved")

        history = catalog.history(KEPT, "g").versions
        assert [one.size for one in history] == [3, 5, 5]
        assert catalog.node(KEPT).links == 2 + CROWD
        assert catalog.sums_agree()
    finally:
        catalog.close()

    again = open_catalog(old)
    try:
        assert [entry.name for entry in again.entries(DATA).entries] == ["kept"]
    finally:
        again.close()

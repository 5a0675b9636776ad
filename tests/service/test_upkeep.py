"""Sweep and check: what is needed stays, what is not goes, what is wrong is told."""

import os
import sqlite3
import time
from pathlib import Path

import pytest
from support.services import running_service
from support.talking import Talk, talking

from rengafs.client import calls
from rengafs.protocol.errors import Corrupt
from rengafs.service.run import ServeOptions
from rengafs.service.upkeep import check_data, sweep_data


def blobs(data: Path) -> dict[str, Path]:
    return {path.name: path for path in (data / "blobs").glob("??/*")}


def options(talk: Talk) -> ServeOptions:
    return ServeOptions("", talk.service.data)


def leave_orphan(data: Path, content: bytes, age_seconds: float) -> Path:
    path = data / "blobs" / "ab" / "ab00"
    path.write_bytes(content)
    at = time.time() - age_seconds
    os.utime(path, (at, at))
    return path


def test_a_sweep_takes_old_orphans_only() -> None:
    with running_service() as service, talking(service) as talk:
        data = service.data
        file = talk.file(talk.bucket(), "f", b"one", b"two")
        kept = blobs(data)
        orphan = leave_orphan(data, b"four", 3600)

        assert sweep_data(options(talk)).blobs == 0
        looked: list[int] = []
        told = sweep_data(options(talk), grace_seconds=60, dry_run=True, looked=looked.append)
        assert sum(looked) == len(kept) + 1
        assert orphan.exists()
        swept = sweep_data(options(talk), grace_seconds=60)

        assert (told.blobs, swept.blobs, swept.size) == (1, 1, 4)
        assert blobs(data) == kept
        assert talk.content(talk.save(file, b"one").id) == b"one"
        assert check_data(options(talk), contents=True).clean


def test_a_clean_catalog_is_found_clean_beside_the_service() -> None:
    with running_service() as service, talking(service) as talk:
        bucket = talk.bucket()
        for number in range(5):
            talk.file(bucket, f"f{number}", b"same", b"own %d" % number, b"")

        seen: list[tuple[int, int, int, int]] = []
        report = check_data(
            options(talk),
            contents=True,
            told=lambda so_far, total: seen.append(
                (so_far.size, total, so_far.blobs, so_far.stored)
            ),
        )

        assert seen == sorted(seen)
        assert len({size for size, *_ in seen}) >= 6
        total = len(b"same") + 5 * len(b"own 0")
        assert seen[-1] == (total, total, 6, 6)
        assert report.clean
        assert (report.blobs, report.orphans) == (6, 0)


@pytest.mark.parametrize("damage", ["missing", "short", "other"])
def test_damage_is_told_marked_and_healed_by_the_same_bytes(damage: str) -> None:
    with running_service() as service, talking(service) as talk:
        file = talk.file(talk.bucket(), "f")
        version = talk.save(file, b"precious")
        (path,) = blobs(service.data).values()
        path.chmod(0o600)
        if damage == "missing":
            path.unlink()
        else:
            path.write_bytes(b"precious"[:-1] if damage == "short" else b"PRECIOUS")

        found = check_data(options(talk), contents=True)
        assert [one.versions for one in found.damaged] == [[version.id]]
        check_data(options(talk), contents=True, repair=True)
        with pytest.raises(Corrupt):
            talk.content(version.id)
        # What is damaged is kept aside, for a person, until it is healed.
        assert sweep_data(options(talk), grace_seconds=-60).blobs == 0

        healed = talk.save(talk.file(talk.bucket(), "again"), b"precious")
        assert talk.content(healed.id) == talk.content(version.id) == b"precious"
        assert check_data(options(talk), contents=True).clean


def test_a_disk_that_was_away_does_no_lasting_harm(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with running_service(data) as service, talking(service) as talk:
        version = talk.save(talk.file(talk.bucket(), "f"), b"precious")
        (path,) = blobs(data).values()
        path.rename(tmp_path / "away")
        check_data(options(talk), repair=True)
        (tmp_path / "away").rename(path)

        check_data(options(talk), repair=True)

        assert check_data(options(talk), contents=True).clean
    with running_service(data, token=service.token) as service, talking(service) as talk:
        assert talk.content(version.id) == b"precious"


def test_wrong_sums_are_told_and_repaired(tmp_path: Path) -> None:
    with running_service(tmp_path / "data") as service, talking(service) as talk:
        talk.file(talk.bucket(), "f", b"12345")
        before = talk.run(calls.usage())
        connection = sqlite3.connect(service.data / "catalog.sqlite")
        connection.execute("UPDATE head SET live_bytes = 7, files = 9")
        connection.commit()
        connection.close()

        assert not check_data(options(talk), repair=True).sums_agree

        assert check_data(options(talk)).clean
        after = talk.run(calls.usage())
        assert (after.live_bytes, after.files) == (before.live_bytes, before.files)

"""The stream of changes, as a mount follows it."""

import threading

import msgspec
import pytest
from support.services import RunningService, running_service
from support.talking import Talk, following, talking

from rengafs.client import calls
from rengafs.client.trio_driver import TrioDriver
from rengafs.protocol.operations import MakeFile
from rengafs.protocol.records import Change, Heartbeat
from rengafs.service.tokens import ServeOptions, create_token


def test_what_was_missed_comes_first_then_what_happens(talk: Talk) -> None:
    bucket = talk.bucket()
    since = talk.run(calls.service()).change
    first = talk.do(MakeFile(parent=bucket.id, name="a"))

    with following(talk, since) as records:
        assert next(records) == Heartbeat(heartbeat=since)
        missed = next(records)
        second = talk.do(MakeFile(parent=bucket.id, name="b"))
        live = next(records)

    assert isinstance(missed, Change)
    assert isinstance(live, Change)
    assert (missed.number, live.number) == (first.change, second.change)
    assert [event.name for event in live.events if event.what == "entered"] == ["b"]
    assert live.author == "tester"


def test_a_long_absence_is_replayed_whole(talk: Talk) -> None:
    bucket = talk.bucket()
    since = talk.run(calls.service()).change
    talk.run(calls.apply([MakeFile(parent=bucket.id, name=f"f{n}") for n in range(1300)]))

    with following(talk, since) as records:
        numbers = [next(records) for _ in range(1301)][1:]

    assert [change.number for change in numbers] == [*range(since + 1, since + 1301)]


def test_a_quiet_feed_beats(talk: Talk) -> None:
    since = talk.run(calls.service()).change

    with following(talk, since) as records:
        assert [next(records), next(records)] == [Heartbeat(heartbeat=since)] * 2


def test_who_asked_is_told(service: RunningService, talk: Talk) -> None:
    bucket = talk.bucket()
    since = talk.run(calls.service()).change

    talk.run(calls.apply([MakeFile(parent=bucket.id, name="x")], client="mount-7"))

    with following(talk, since) as records:
        next(records)
        assert next(records).client == "mount-7"


def test_changes_of_another_process_are_found(service: RunningService, talk: Talk) -> None:
    """Two services on one catalog; and many streams on one of them."""
    with running_service(service.data, token=service.token) as other, talking(other) as far:
        bucket = talk.bucket()
        since = talk.run(calls.service()).change
        seen: list[int] = []

        def follow() -> None:
            with talking(other) as mine, following(mine, since) as records:
                seen.extend(r.number for r in [next(records), next(records)][1:])

        threads = [threading.Thread(target=follow) for _ in range(5)]
        for thread in threads:
            thread.start()
        talk.do(MakeFile(parent=bucket.id, name="x"))
        for thread in threads:
            thread.join(30)
        assert seen == [since + 1] * 5
        assert far.run(calls.path(f"{_name(talk, bucket.id)}/x")).node.size == 0


async def test_the_trio_driver_follows_too(service: RunningService) -> None:
    driver = TrioDriver(service.endpoint)
    info = await driver.run(calls.service())
    async with driver.stream(calls.feed(info.change)) as pieces:
        first = await anext(aiter(pieces))
    await driver.aclose()

    assert msgspec.json.decode(first) == {"heartbeat": info.change}


@pytest.mark.parametrize("count", [1, 20])
def test_a_stop_ends_the_feeds_at_once(count: int) -> None:
    with running_service() as service, talking(service) as talk:
        ended: list[int] = []
        begun = threading.Barrier(count + 1)

        def follow() -> None:
            with following(talk, 0) as records:
                next(records)
                begun.wait(120)
                ended.append(len(list(records)))

        threads = [threading.Thread(target=follow) for _ in range(count)]
        for thread in threads:
            thread.start()
        begun.wait(120)
        assert service.stop() == 0
        for thread in threads:
            thread.join(30)

        # A feed that waited for its end would have had a heartbeat or a cut connection.
        assert ended == [0] * count


def test_a_new_token_is_good_at_once_and_a_revoked_one_soon_not(talk: Talk) -> None:
    token = create_token(ServeOptions("", talk.service.data), "new")
    with talking(talk.service, token) as new:
        assert new.run(calls.service()).user == "new"


def _name(talk: Talk, number: int) -> str:
    entries = talk.run(calls.entries(1, limit=10_000)).entries
    return next(entry.name for entry in entries if entry.node.id == number)

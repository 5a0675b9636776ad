"""Many clients in one directory, on PostgreSQL with two services: no change is lost."""

import os
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from support.postgresql import PostgreSQL
from support.scale import scaled
from support.services import RunningService, running_service
from support.talking import Talk, following, talking

from rengafs.client import calls
from rengafs.protocol.errors import RengafsError
from rengafs.protocol.operations import Commit, MakeFile, Operation, Rename, Unlink
from rengafs.protocol.records import Change, Node

SECONDS = scaled(8, 60)
CLIENTS = 16
NAMES = [f"n{number}" for number in range(12)]

Tree = dict[str, int]


@dataclass
class Client:
    """One client's work, and the directory as its feed tells it."""

    number: int
    talk: Talk
    directory: Node
    acknowledged: set[int] = field(default_factory=set)
    saved: dict[int, bytes] = field(default_factory=dict)
    refused: int = 0
    heard: set[int] = field(default_factory=set)
    heard_versions: set[int] = field(default_factory=set)
    tree: Tree = field(default_factory=dict)

    def work(self, until: float) -> None:
        chance = random.Random(self.number)
        while time.monotonic() < until:
            operation, payload = self._choose(chance)
            try:
                outcome = self.talk.do(operation, payload)
            except RengafsError as error:
                if error.status >= 500:
                    raise
                self.refused += 1
                continue
            if outcome.change:
                self.acknowledged.add(outcome.change)
            if isinstance(operation, Commit) and outcome.version is not None:
                self.saved[outcome.version.id] = payload

    def _choose(self, chance: random.Random) -> tuple[Operation, bytes]:
        name, other = chance.choice(NAMES), chance.choice(NAMES)
        here = self.directory.id
        match chance.randrange(8):
            case 0 | 1:
                return MakeFile(parent=here, name=name), b""
            case 2 | 3 | 4:
                how = chance.choice(["replace", "replace", "noreplace", "exchange"])
                return Rename(
                    parent=here,
                    name=name,
                    new_parent=here,
                    new_name=other,
                    how=how,  # type: ignore[arg-type]
                ), b""
            case 5:
                return Unlink(parent=here, name=name), b""
        payload = os.urandom(chance.randrange(1, 200))
        files = list(self.tree.values()) or [here]
        return Commit(
            node=chance.choice(files),
            length=len(payload),
            extents=[(0, len(payload))],
            payload=len(payload),
        ), payload

    def follow(self, since: int, last: Callable[[], int | None]) -> None:
        """Replay the feed until *last* tells its end and it has been reached."""
        with following(self.talk, since) as records:
            for record in records:
                reached = record.number if isinstance(record, Change) else record.heartbeat
                if isinstance(record, Change):
                    self.replay(record)
                end = last()
                if end is not None and reached >= end:
                    return

    def replay(self, change: Change) -> None:
        assert change.number not in self.heard
        self.heard.add(change.number)
        for event in change.events:
            if event.what == "saved":
                self.heard_versions.add(event.version)
            if event.parent != self.directory.id:
                continue
            if event.what == "entered":
                self.tree[event.name] = event.node
            elif event.what == "left":
                assert self.tree.pop(event.name) == event.node


def test_no_change_is_lost_and_every_feed_replays_to_the_listing(
    postgresql: PostgreSQL, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    with (
        postgresql.catalog() as url,
        running_service(data, catalog=url) as one,
        running_service(data, catalog=url, token=one.token) as other,
        talking(one) as talk,
    ):
        directory = talk.bucket()
        since = talk.run(calls.service()).change
        clients = work([one, other], directory, since)
        listing = {
            entry.name: entry.node.id for entry in talk.run(calls.entries(directory.id)).entries
        }
        final = talk.run(calls.service()).change

        for client in clients:
            assert client.tree == listing
            assert client.heard == set(range(since + 1, final + 1))
            for version, content in list(client.saved.items())[:20]:
                assert talk.content(version) == content
        acknowledged = [client.acknowledged for client in clients]
        assert sum(map(len, acknowledged)) == len(set().union(*acknowledged)) == final - since
        assert set().union(*(client.saved for client in clients)) <= clients[0].heard_versions
        for service in (one, other):
            text = service.log.read_text()
            assert " status=5" not in text
            assert "Traceback" not in text
    print(f"{final - since} changes, {sum(client.refused for client in clients)} refusals")


def work(services: list[RunningService], directory: Node, since: int) -> list[Client]:
    """Let clients work, half of them at each service; return them when all have heard all."""
    end: list[int] = []
    failures: list[BaseException] = []

    def guarded(call: Callable[[], None]) -> threading.Thread:
        def run() -> None:
            try:
                call()
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    def client_of(number: int) -> None:
        service = services[number % len(services)]
        with talking(service) as talk:
            client = Client(number, talk, directory)
            clients.append(client)
            with talking(service) as ear:
                listener = Client(number, ear, directory)
                listener.tree = client.tree
                follower = guarded(lambda: listener.follow(since, lambda: end[0] if end else None))
                client.work(until)
                finished.wait(120)
                if number == 0:
                    end.append(talk.run(calls.service()).change)
                follower.join(60)
                assert not follower.is_alive()
                client.heard, client.heard_versions = listener.heard, listener.heard_versions

    clients: list[Client] = []
    finished = threading.Barrier(CLIENTS)
    until = time.monotonic() + SECONDS
    workers = [guarded(lambda number=number: client_of(number)) for number in range(CLIENTS)]  # type: ignore[misc]
    for worker in workers:
        worker.join(SECONDS + 150)
    assert not failures, failures
    return clients

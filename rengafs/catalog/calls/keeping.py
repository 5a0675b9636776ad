"""How much of the past is kept: rules, prunes, leases, and what there is."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
from sqlalchemy import Connection

from rengafs.catalog import pruning, retaining, using
from rengafs.catalog.calls.transactions import Transactions
from rengafs.catalog.lasting import full_path
from rengafs.catalog.pruning import Doomed, Judge, Judged
from rengafs.catalog.values import Actor, Blob
from rengafs.protocol.keeping import (
    Pruned,
    PrunedVersion,
    Retention,
    SparedVersion,
    Usages,
    why_held,
)

PIECE = 2000
"""Versions that one transaction takes, about: others wait for it."""


@dataclass(slots=True)
class Prune:
    """A prune under way: what it has taken, and how far it is."""

    bucket: int
    rule: str
    limit: int
    """Versions that are told one by one."""
    after: int = 0
    finished: bool = False
    versions: int = 0
    size: int = 0
    freed_bytes: int = 0
    held: int = 0
    listed: list[PrunedVersion] = field(default_factory=list)
    spared: list[SparedVersion] = field(default_factory=list)
    freed: list[Blob] = field(default_factory=list)

    def take_freed(self) -> list[Blob]:
        """Return the blobs that nothing needs any more, once."""
        freed, self.freed = self.freed, []
        return freed

    def add(self, connection: Connection, judged: Judged) -> None:
        """Count what goes."""
        self.versions += len(judged.doomed)
        self.size += sum(one.size for one in judged.doomed)
        for one in judged.doomed[: self.limit - len(self.listed)]:
            self.listed.append(_told(connection, one))

    def tell_spared(self, connection: Connection, judged: Judged, now_ms: int) -> None:
        """Note who needs the versions that only leases keep."""
        some = judged.spared[: self.limit - len(self.spared)]
        holders = retaining.holders_of(connection, [one.version for one in some], now_ms)
        for one in some:
            why = why_held(*holders[one.version]) if one.version in holders else "in use"
            told = msgspec.structs.asdict(_told(connection, one))
            self.spared.append(SparedVersion(**told, why=why))

    def report(self, *, dry_run: bool = False) -> Pruned:
        """Return what is answered."""
        return Pruned(
            bucket=self.bucket,
            rule=self.rule,
            versions=self.versions,
            size=self.size,
            freed_bytes=self.freed_bytes,
            held=self.held,
            dry_run=dry_run,
            listed=self.listed,
            spared=self.spared,
            after=None if self.finished or dry_run else self.after,
        )


class Keeping(Transactions):
    """What stays of history, and what goes."""

    def retention(self, bucket: int) -> Retention:
        """Return a bucket's rule. Raises `NotFound`."""
        with self._database.read() as connection:
            return retaining.get_retention(connection, bucket)

    def plan_prune(self, bucket: int, limit: int) -> Pruned:
        """Return what a prune would take from a bucket. Raises `NotFound`."""
        prune = self.begin_prune(bucket, limit)
        needed: dict[int, int] = {}
        with self._database.read() as connection:
            judge = Judge(connection, bucket, self._now_ms())
            while not prune.finished and (
                files := pruning.files_after(connection, bucket, prune.after)
            ):
                judged = judge.judge(files)
                prune.add(connection, judged)
                prune.tell_spared(connection, judged, self._now_ms())
                prune.held += len(judged.spared)
                for one in judged.doomed:
                    if one.blob is not None:
                        needed[one.blob] = needed.get(one.blob, 0) + 1
                prune.after = files[-1]
            prune.freed_bytes = pruning.freed_bytes(connection, needed)
        return prune.report(dry_run=True)

    def begin_prune(self, bucket: int, limit: int, after: int = 0) -> Prune:
        """Return a prune that has taken nothing yet, of files behind *after*. Raises `NotFound`."""
        with self._database.read() as connection:
            rule = retaining.get_retention(connection, bucket).rule
            nothing = retaining.rule_of(connection, bucket).keeps_everything
        return Prune(bucket, rule, limit, after, finished=nothing)

    def prune_piece(self, actor: Actor, prune: Prune) -> None:
        """Take a piece of what goes. Judged again when others can't change it any more."""
        files = self._next_doomed(prune)
        if not files:
            return
        with self._write(actor) as w:
            judged, freed = pruning.prune_files(w, prune.bucket, files)
            prune.add(w.connection, judged)
        prune.freed += freed
        prune.freed_bytes += sum(blob.size for blob in freed)

    def hold(self, actor: Actor, holder: str, numbers: Sequence[int], seconds: int) -> int:
        """Let a holder hold these versions and no others; return how many."""
        with self._write(actor) as w:
            return retaining.hold(w, holder, numbers, seconds)

    def usages(self, user: int | None, bucket: int | None = None) -> Usages:
        """Return what each bucket of a user (None: of all) holds, or one bucket."""
        with self._database.read() as connection:
            return using.usages(connection, user, bucket)

    def _next_doomed(self, prune: Prune) -> list[int]:
        """Return the next files that lose something; note how far that is."""
        found: list[int] = []
        count = 0
        with self._database.read() as connection:
            judge = Judge(connection, prune.bucket, self._now_ms())
            while count < PIECE:
                files = pruning.files_after(connection, prune.bucket, prune.after)
                if not files:
                    prune.finished = True
                    break
                prune.after = files[-1]
                judged = judge.judge(files)
                count += len(judged.doomed)
                losing = {one.file for one in judged.doomed}
                found += [number for number in files if number in losing]
                prune.held += len(judged.spared)
        return found

    def _now_ms(self) -> int:
        return self._clock_ns() // 1_000_000


def _told(connection: Connection, one: Doomed) -> PrunedVersion:
    return PrunedVersion(
        path=full_path(connection, one.file),
        version=one.version,
        created_ms=one.created_ms,
        size=one.size,
    )

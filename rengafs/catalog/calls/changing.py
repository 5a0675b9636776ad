"""Changes to the tree: operations in order, and what a commit is composed from."""

import time
from collections.abc import Sequence

from rengafs.catalog import applying, membership, receipts, saving
from rengafs.catalog.applying import Applied, Staged
from rengafs.catalog.calls.transactions import Transactions
from rengafs.catalog.values import Actor, Base
from rengafs.catalog.writer import Writer
from rengafs.protocol.errors import RengafsError
from rengafs.protocol.operations import Commit, Outcome

RECEIPT_SWEEP_SECONDS = 3600
SMALL_BYTES = 64 << 10
"""A payload up to which it is cheaper to store it twice than to look first if it was."""


class Changes(Transactions):
    """The tree, as it is changed."""

    _swept = float("-inf")

    def prepare_commit(self, actor: Actor, operation: Commit) -> Base | Outcome:
        """Return what a commit is composed from; or what it came to when it was tried first.

        Of a small one the catalog may not notice that here, but only when it is applied.
        Raises `NotFound`, `IsADirectory`, `BadRequest`, `QuotaExceeded`.
        """
        with self._database.read() as connection:
            large = operation.payload > SMALL_BYTES
            if large and (before := receipts.find(connection, actor.user, operation.key)):
                return before
            try:
                membership.permit_operation(connection, actor, operation)
                return saving.find_base(connection, operation)
            except RengafsError:
                # What was done once stays done, even if it is no longer allowed.
                before = receipts.find(connection, actor.user, operation.key)
                if before is None:
                    raise
                return before

    def prepare_first_commit(self, actor: Actor, operation: Commit, parent: int) -> Base | Outcome:
        """Return the same for a file that is about to be made in the directory *parent*.

        Raises `NotFound`.
        """
        with self._database.read() as connection:
            before = receipts.find(connection, actor.user, operation.key)
            if before is not None:
                return before
            return saving.find_first_base(connection, parent)

    def reserve(self, actor: Actor, count: int) -> int:
        """Take *count* ids for files that are made later; return the first."""
        with self._write(actor) as w:
            return w.reserve(count)

    def apply(self, actor: Actor, staged: Sequence[Staged], *, atomic: bool = False) -> Applied:
        """Carry out operations in order; see `applying`."""
        # A single operation needs no savepoint of its own.
        run = applying.apply_all if atomic or len(staged) == 1 else applying.apply_each
        try:
            with self._write(actor) as w:
                outcomes = run(w, staged)
                self._sweep_receipts(w)
        except applying.Undone as undone:
            return Applied(undone.outcomes, frozenset())
        return Applied(outcomes, w.adopted)

    def _sweep_receipts(self, w: Writer) -> None:
        if time.monotonic() - self._swept > RECEIPT_SWEEP_SECONDS:
            self._swept = time.monotonic()
            receipts.drop_old(w.connection, w.now_ms)

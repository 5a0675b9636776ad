"""Operations in order: which function carries each out, what a failure undoes, receipts.

One call is one database transaction, so many small operations share one fsync. Without
``atomic`` each is a change of its own, undone alone if it fails, and the first failure
ends the list. A receipt makes a repeated operation answer what it answered first.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from rengafs.catalog import (
    attributes,
    copying,
    making,
    marking,
    membership,
    receipts,
    removing,
    renaming,
    restoring,
    retaining,
    saving,
)
from rengafs.catalog.values import Blob
from rengafs.catalog.writer import Writer
from rengafs.protocol.errors import BadRequest, Problem, RengafsError, to_problem
from rengafs.protocol.operations import (
    Clone,
    Commit,
    DropLabel,
    Link,
    MakeBucket,
    MakeDirectory,
    MakeFile,
    MakeSpecial,
    MakeSymlink,
    Operation,
    Outcome,
    PutLabel,
    RemoveDirectory,
    RemoveXattr,
    Rename,
    Restore,
    SetAttributes,
    SetRetention,
    SetXattr,
    Unlink,
)

MAX_KEY = 200


@dataclass(frozen=True, slots=True)
class Staged:
    """An operation, with what a backend made of its payload."""

    operation: Operation
    stored: Blob | None = None
    """Of a commit: where its content lies; None for no bytes."""
    failure: RengafsError | None = None
    """Why its payload could not be stored."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What came of a list of operations."""

    outcomes: list[Outcome]
    adopted: frozenset[tuple[str, str]]
    """(backend, key) of blobs in use; others that were stored for this call are not."""

    @property
    def failed(self) -> bool:
        """Whether one of the operations failed."""
        return any(outcome.problem is not None for outcome in self.outcomes)


def tag_of(operation: Operation) -> str:
    """Return the name of an operation, as in its JSON."""
    return str(operation.__struct_config__.tag)


def skipped(why: str) -> Outcome:
    """Return the outcome of an operation that was not tried."""
    return Outcome(problem=Problem(why, "skipped", 424))


def apply_each(w: Writer, staged: Sequence[Staged]) -> list[Outcome]:
    """Carry out each operation as a change of its own, up to the first that fails."""
    known = _receipts(w, staged)
    outcomes: list[Outcome] = []
    for item in staged:
        try:
            with w.undoable():
                outcome = known.get(item.operation.key) or _one(w, item)
                number = w.complete(tag_of(item.operation))
                outcome = outcome if item.operation.key in known else _numbered(outcome, number)
                _receive(w, item.operation, outcome, known)
        except RengafsError as error:
            outcomes.append(Outcome(problem=to_problem(error)))
            rest = len(staged) - len(outcomes)
            return outcomes + [skipped("an operation before this one failed")] * rest
        outcomes.append(outcome)
    return outcomes


class Undone(Exception):
    """A list of operations failed as a whole: its transaction is to be undone."""

    def __init__(self, outcomes: list[Outcome]) -> None:
        super().__init__()
        self.outcomes = outcomes


def apply_all(w: Writer, staged: Sequence[Staged]) -> list[Outcome]:
    """Carry out all operations as one change. Raises `Undone`."""
    known = _receipts(w, staged)
    if known:
        # All of them left receipts, or none: they were one transaction.
        outcomes = [known.get(item.operation.key) for item in staged]
        return [outcome or skipped("was not part of the first try") for outcome in outcomes]
    done: list[Outcome] = []
    try:
        for item in staged:
            done.append(_one(w, item))  # noqa: PERF401 - `done` says where it failed
    except RengafsError as error:
        failed = [skipped("another operation of the list failed") for _ in staged]
        failed[len(done)] = Outcome(problem=to_problem(error))
        raise Undone(failed) from error
    tags = {tag_of(item.operation) for item in staged}
    number = w.complete(tags.pop() if len(tags) == 1 else "apply")
    numbered = [_numbered(outcome, number) for outcome in done]
    for item, outcome in zip(staged, numbered, strict=True):
        _receive(w, item.operation, outcome, known)
    return numbered


def _one(w: Writer, item: Staged) -> Outcome:  # noqa: C901 - a table, one line an operation
    if item.failure is not None:
        raise item.failure
    membership.permit_operation(w.connection, w.actor, item.operation)
    match item.operation:
        case MakeBucket() as operation:
            return making.make_bucket(w, operation)
        case MakeDirectory() as operation:
            return making.make_directory(w, operation)
        case MakeFile() as operation:
            return making.make_file(w, operation)
        case MakeSymlink() as operation:
            return making.make_symlink(w, operation)
        case MakeSpecial() as operation:
            return making.make_special(w, operation)
        case Link() as operation:
            return making.link(w, operation)
        case Unlink() as operation:
            return removing.unlink(w, operation)
        case RemoveDirectory() as operation:
            return removing.remove_directory(w, operation)
        case Rename() as operation:
            return renaming.rename(w, operation)
        case SetAttributes() as operation:
            return attributes.set_attributes(w, operation)
        case SetXattr() as operation:
            return attributes.set_xattr(w, operation)
        case RemoveXattr() as operation:
            return attributes.remove_xattr(w, operation)
        case Commit() as operation:
            return saving.commit(w, operation, item.stored)
        case Clone() as operation:
            return copying.clone(w, operation)
        case Restore() as operation:
            return restoring.restore(w, operation)
        case PutLabel() as operation:
            return marking.put_label(w, operation)
        case DropLabel() as operation:
            return marking.drop_label(w, operation)
        case SetRetention() as operation:
            return retaining.set_retention(w, operation)


def _numbered(outcome: Outcome, number: int) -> Outcome:
    return msgspec.structs.replace(outcome, change=number)


def _receipts(w: Writer, staged: Sequence[Staged]) -> dict[str, Outcome]:
    keys = [item.operation.key for item in staged if item.operation.key]
    for key in keys:
        if len(key) > MAX_KEY:
            raise BadRequest(f"the key of an operation has at most {MAX_KEY} characters")
    return receipts.find_all(w.connection, w.actor.user, keys)


def _receive(w: Writer, operation: Operation, outcome: Outcome, known: dict[str, Outcome]) -> None:
    if not operation.key or operation.key in known:
        return
    known[operation.key] = outcome
    receipts.leave(w, operation.key, outcome)

"""A small save that comes alone: looked up, stored and committed in one turn of a thread.

Most saves are such. A turn of a thread costs as much as several statements of the catalog,
and the way of all others, by `storing` and then by the catalog, takes three of them.
"""

from dataclasses import dataclass

from rengafs.catalog.applying import Applied, Staged
from rengafs.catalog.catalog import Catalog
from rengafs.catalog.values import Actor, Base, Blob
from rengafs.protocol.errors import NoSpace, RengafsError, Unavailable, to_problem
from rengafs.protocol.operations import Commit, Outcome
from rengafs.service import storing
from rengafs.service.parts import Parts

MOST_BYTES = 64 << 10
"""Of the payload, and of the new content: no longer in a thread than a few pages take."""


@dataclass(frozen=True, slots=True)
class _Saved:
    """What came of a save. *unused*: a blob that nothing needs after all."""

    outcome: Outcome | None = None
    """None: the backend is one that must be awaited."""
    unused: Blob | None = None
    failure: RengafsError | None = None
    """What the whole request is to be answered with."""


def is_small(operation: Commit, payload: int) -> bool:
    """Whether a commit may go this way, by what it announces."""
    fits = operation.payload == payload <= MOST_BYTES and 0 < operation.length <= MOST_BYTES
    return fits and not operation.ahead


async def save(parts: Parts, actor: Actor, operation: Commit, payload: bytes) -> Outcome | None:
    """Carry out a small commit; None: it has to go the way of all others.

    Raises `NoSpace` and `Unavailable` as the catalog does.
    """
    saved = await parts.save(_save, parts, actor, operation, payload)
    if saved.unused is not None:
        await storing.discard(parts, saved.unused)
    if saved.failure is not None:
        raise saved.failure
    return saved.outcome


def _save(
    catalog: Catalog, parts: Parts, actor: Actor, operation: Commit, payload: bytes
) -> _Saved:
    try:
        storing.check_extents(operation)
        base = catalog.prepare_commit(actor, operation)
        if not isinstance(base, Base):
            return _Saved(_of(catalog.apply(actor, [Staged(operation)])))
        blob = storing.compose_now(parts, base, operation, payload)
    except RengafsError as error:
        return _Saved(Outcome(problem=to_problem(error)))
    if blob is None:
        return _Saved()
    try:
        applied = catalog.apply(actor, [Staged(operation, blob)])
    except (NoSpace, Unavailable) as error:
        # Nothing was carried out, or, where that is not sure, the sweeper will see.
        undone = isinstance(error, NoSpace) or error.details.get("carried_out") is False
        return _Saved(unused=blob if undone else None, failure=error)
    return _Saved(_of(applied), None if (blob.backend, blob.key) in applied.adopted else blob)


def _of(applied: Applied) -> Outcome:
    return applied.outcomes[0]

"""The calls of the API, as flows: one short function an endpoint. No I/O.

Names and ids are the protocol's; what each may raise stands with its endpoint's records
and in `rengafs.protocol.errors`. Every call may raise `Unavailable`, `NotAuthenticated`
and `UnexpectedAnswer`.
"""

import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import msgspec

from rengafs.client.flow import Flow
from rengafs.client.retry import ask, ask_once
from rengafs.protocol import endpoints, frames
from rengafs.protocol.digests import SUMMED_HEADER
from rengafs.protocol.endpoints import (
    DIRECT_HEADER,
    Authorize,
    CopyFile,
    CreateBucket,
    CreatedBucket,
    CreatedFile,
    CreateFile,
    Endpoint,
    Metadata,
)
from rengafs.protocol.errors import BadRequest, BodyMismatch, UnexpectedAnswer, from_problem
from rengafs.protocol.keeping import Hold, Pruned, PruneHistory, Retention, Usages
from rengafs.protocol.messages import Body, Fresh, Request
from rengafs.protocol.operations import Apply, Commit, Operation, Outcome
from rengafs.protocol.queries import (
    At,
    Compare,
    FindEntry,
    FindPath,
    LastPath,
    ListEntries,
    ListPage,
    LogOf,
    Named,
    NameHistory,
    Since,
    UsageOf,
    UsagesOf,
    When,
)
from rengafs.protocol.records import (
    Difference,
    Entry,
    Import,
    Label,
    Log,
    Moment,
    Node,
    Page,
    PastName,
    PastNames,
    Read,
    ReadResult,
    Reserve,
    Reserved,
    ServiceInfo,
    Usage,
    Version,
    Versions,
    Whereabouts,
)
from rengafs.protocol.vertices import Vertex

GoingOn = Callable[[str], None]
"""Is told where the next page of a listing begins; nothing: there is none."""

# --- the original API -----------------------------------------------------------------


def _get(
    endpoint: Endpoint[endpoints.A],
    query: msgspec.Struct | None = None,
    **ids: int,
) -> Flow[endpoints.A]:
    reply = yield from ask(endpoint.request(ids=ids, query=query), harmless=True)
    return endpoint.decode(reply)


def _put(endpoint: Endpoint[endpoints.A], body: msgspec.Struct, **ids: int) -> Flow[endpoints.A]:
    harmless = endpoint.method == "PUT"
    reply = yield from ask(endpoint.request(ids=ids, body=body), harmless=harmless)
    return endpoint.decode(reply)


def backends() -> Flow[list[str]]:
    """Return the names of the backends that work."""
    return (yield from _get(endpoints.BACKENDS))


def create_bucket(
    name: str | None, backend: str, labels: Sequence[str] = ()
) -> Flow[CreatedBucket]:
    """Make a bucket; the original API lets two bear the same name."""
    body = CreateBucket(name=name, backend=backend, labels=list(labels))
    return (yield from _put(endpoints.CREATE_BUCKET, body))


def create_file(bucket: int, name: str | None) -> Flow[CreatedFile]:
    """Make an empty file; the original API lets two of a bucket bear the same name."""
    return (yield from _put(endpoints.CREATE_FILE, CreateFile(bucket_id=bucket, file_name=name)))


def authorize_read(resource: int) -> Flow[str]:
    """Return an access token that may read a file's newest version, or one version."""
    body = Authorize(resource_id=resource, request_type="read_file")
    # Harmless twice: a token that nobody received is good for nothing.
    reply = yield from ask(endpoints.AUTHORIZE_READ.request(body=body), harmless=True)
    return endpoints.AUTHORIZE_READ.decode(reply).access_token


def authorize_write(resource: int) -> Flow[str]:
    """Return an access token that may write new versions of a file."""
    body = Authorize(resource_id=resource, request_type="write_file")
    reply = yield from ask(endpoints.AUTHORIZE_WRITE.request(body=body), harmless=True)
    return endpoints.AUTHORIZE_WRITE.decode(reply).access_token


def copy_file(resource: int, name: str | None, bucket: int | None = None) -> Flow[int]:
    """Clone a file or one version on the service; return the clone's id."""
    body = CopyFile(resource_id=resource, file_name=name, bucket_id=bucket)
    return (yield from _put(endpoints.COPY_FILE, body)).id


def put_file(file: int, metadata: Metadata) -> Flow[None]:
    """Rename or label a file."""
    yield from _put(endpoints.PUT_FILE, metadata, file=file)


def put_bucket(bucket: int, metadata: Metadata) -> Flow[None]:
    """Rename or label a bucket."""
    yield from _put(endpoints.PUT_BUCKET, metadata, bucket=bucket)


def io_write(body: Body, *, token: str = "") -> Flow[Version]:
    """Make *body* the next version of the file that an access token names.

    :param token: of `authorize_write`; else the driver's own must be one.
    """
    reply = yield from ask(endpoints.IO_WRITE.request(raw=body, headers=_bearer(token)))
    return endpoints.IO_WRITE.decode(reply)


def io_read(*, token: str = "", start: int = 0, stop: int | None = None) -> Request:
    """Return the request for bytes *start* to *stop* (excluded) of what an access token names.

    :param token: of `authorize_read`; else the driver's own must be one.
    """
    return endpoints.IO_READ.request(headers={**_bearer(token), **_range(start, stop), **_DIRECT})


def explore_buckets() -> Flow[list[Vertex]]:
    """Return all buckets."""
    return (yield from _get(endpoints.EXPLORE_BUCKETS))


def explore_bucket(bucket: int) -> Flow[Vertex]:
    """Return one bucket."""
    return (yield from _get(endpoints.EXPLORE_BUCKET, bucket=bucket))


def explore_files(bucket: int) -> Flow[list[Vertex]]:
    """Return all files of a bucket."""
    return (yield from _get(endpoints.EXPLORE_FILES, bucket=bucket))


def explore_file(file: int) -> Flow[Vertex]:
    """Return one file or one version."""
    return (yield from _get(endpoints.EXPLORE_FILE, file=file)).data


def explore_versions(file: int) -> Flow[list[Vertex]]:
    """Return all versions of a file."""
    return (yield from _get(endpoints.EXPLORE_VERSIONS, file=file))


# --- what a filesystem needs ----------------------------------------------------------


def service() -> Flow[ServiceInfo]:
    """Return who answers, and for whom."""
    return (yield from _get(endpoints.SERVICE))


def node(number: int, *, at: int | None = None) -> Flow[Node]:
    """Return the attributes of a node. Raises `NotFound`."""
    return (yield from _get(endpoints.NODE, At(at=at), node=number))


def entries(
    directory: int,
    *,
    after: str = "",
    limit: int = 1000,
    at: int | None = None,
    going_on: GoingOn | None = None,
) -> Flow[Page]:
    """Return a page of a directory. Raises `NotFound`, `NotADirectory`.

    :param going_on: called with `Page.next` before the rest is decoded.
    """
    query = ListEntries(at=at, after=after, limit=limit)
    request = endpoints.ENTRIES.request(ids={"node": directory}, query=query)
    reply = yield from ask(request, harmless=True)
    if going_on is not None:
        going_on(endpoints.next_page(reply))
    return endpoints.ENTRIES.decode(reply)


def entry(directory: int, name: str, *, at: int | None = None) -> Flow[Entry]:
    """Return what stands at a shown name of a directory. Raises `NotFound`."""
    return (yield from _get(endpoints.ENTRY, FindEntry(name=name, at=at), node=directory))


def path(text: str, *, at: int | None = None) -> Flow[Entry]:
    """Return what stands at ``bucket/dir/file``. Raises `NotFound`, `NotADirectory`."""
    return (yield from _get(endpoints.PATH, FindPath(path=text, at=at)))


def history(
    directory: int,
    name: str,
    *,
    after: str = "",
    limit: int = 1000,
    from_ms: int | None = None,
    until_ms: int | None = None,
) -> Flow[Versions]:
    """Return the saves that were ever current under a name, oldest first."""
    query = NameHistory(name=name, after=after, limit=limit, from_ms=from_ms, until_ms=until_ms)
    return (yield from _get(endpoints.HISTORY, query, node=directory))


def past_name(directory: int, name: str) -> Flow[PastName]:
    """Return one name that a directory has or had. Raises `NotFound`."""
    return (yield from _get(endpoints.PAST_NAME, Named(name=name), node=directory))


def differences(path: str, before: int | None, after: int | None) -> Flow[list[Difference]]:
    """Return in what a path differs between two changes; None is now. Raises `NotFound`."""
    query = Compare(path=path, before=before, after=after)
    return (yield from _get(endpoints.DIFFERENCES, query))


def log(path: str, *, before: int = 0, limit: int = 1000) -> Flow[Log]:
    """Return what happened to a path, and to all below it, newest first."""
    return (yield from _get(endpoints.LOG, LogOf(path=path, before=before, limit=limit)))


def last(path: str) -> Flow[Moment]:
    """Return the last change as of which a deleted path was whole. Raises `BadRequest`."""
    return (yield from _get(endpoints.LAST, LastPath(path=path)))


def import_url(file: int, url: str, max_bytes: int) -> Request:
    """Return the request that has the service fetch a URL into a file; stream its progress."""
    return endpoints.IMPORT.request(ids={"node": file}, body=Import(url=url, max_bytes=max_bytes))


def labels(node: int) -> Flow[list[Label]]:
    """Return the labels of the bucket where a node stands. Raises `NotFound`."""
    return (yield from _get(endpoints.LABELS, node=node))


def label(node: int, name: str) -> Flow[Label]:
    """Return one label of the bucket where a node stands. Raises `NotFound`."""
    return (yield from _get(endpoints.LABEL, Named(name=name), node=node))


def past_names(directory: int, *, after: str = "", limit: int = 1000) -> Flow[PastNames]:
    """Return the names that a directory has or had."""
    query = ListPage(after=after, limit=limit)
    return (yield from _get(endpoints.PAST_NAMES, query, node=directory))


def version(number: int) -> Flow[Version]:
    """Return one version. Raises `NotFound`."""
    return (yield from _get(endpoints.VERSION, version=number))


def usages(bucket: int | None = None) -> Flow[Usages]:
    """Return how much each bucket holds, or one. Raises `NotFound`."""
    return (yield from _get(endpoints.USAGES, UsagesOf(bucket=bucket)))


def retention(bucket: int) -> Flow[Retention]:
    """Return how much of its past a bucket keeps. Raises `NotFound`."""
    return (yield from _get(endpoints.RETENTION, bucket=bucket))


def prune(
    bucket: int, *, dry_run: bool = False, listed: int = 0, after: int = 0, seconds: float = 0
) -> Flow[Pruned]:
    """Take from history what a bucket's rule does not keep. Raises `NotFound`, `Forbidden`.

    :param listed: how many of the versions that go are told one by one, at the most.
    :param after: where an earlier answer ended; see `Pruned.after`.
    :param seconds: how long it may take, about; 0: until all is done.
    """
    body = PruneHistory(dry_run=dry_run, listed=listed, after=after, seconds=seconds)
    # Repeated, it finds the rest.
    reply = yield from ask(endpoints.PRUNE.request(ids={"bucket": bucket}, body=body))
    return endpoints.PRUNE.decode(reply)


def hold(holder: str, versions: Sequence[int], seconds: int) -> Flow[int]:
    """Keep versions from being pruned for a while, in place of what *holder* held before.

    Returns how many there are and may be seen.
    """
    body = Hold(holder=holder, versions=list(versions), seconds=seconds)
    reply = yield from ask(endpoints.HOLD.request(body=body), harmless=True)
    return endpoints.HOLD.decode(reply).versions


def usage(node: int | None = None) -> Flow[Usage]:
    """Return how much there is, and may be, in all buckets or in that of a node."""
    return (yield from _get(endpoints.USAGE, UsageOf(node=node)))


def reserve(count: int) -> Flow[Reserved]:
    """Return ids for files that are made later."""
    return (yield from _put(endpoints.RESERVE, Reserve(count=count)))


def moment(at_ms: int) -> Flow[Moment]:
    """Return the last change until a moment."""
    return (yield from _get(endpoints.MOMENT, When(at_ms=at_ms)))


def content(number: int, start: int = 0, stop: int | None = None) -> Request:
    """Return the request for bytes *start* to *stop* (excluded) of a version; stream it."""
    headers = {**_range(start, stop), **_DIRECT}
    return endpoints.CONTENT.request(ids={"version": number}, headers=headers)


def whereabouts(number: int) -> Flow[Whereabouts]:
    """Return the file in which the bytes of a version lie, if that is to be told."""
    return (yield from _get(endpoints.WHEREABOUTS, version=number))


def read_many(reads: Sequence[Read]) -> Flow[list[tuple[ReadResult, bytes]]]:
    """Return many small reads, in order; each may have a problem instead of bytes."""
    request = endpoints.READ.request(body=list(reads))
    reply = yield from ask(request, harmless=True)
    found = _read_results(reply.body)
    if len(found) != len(reads):
        raise UnexpectedAnswer(f"{len(found)} answers to {len(reads)} reads")
    return found


def _read_results(body: bytes) -> list[tuple[ReadResult, bytes]]:
    parser = frames.Parser()
    found: list[tuple[ReadResult, list[bytes]]] = []
    try:
        for part in parser.feed(body):
            if isinstance(part, frames.Line):
                found.append((msgspec.json.decode(part.json, type=ReadResult), []))
            else:
                found[-1][1].append(part.data)
        parser.finish()
    except (BadRequest, BodyMismatch, msgspec.DecodeError) as error:
        raise UnexpectedAnswer(f"the answer to many reads is broken ({error})") from None
    return [(result, b"".join(pieces)) for result, pieces in found]


def feed(since: int) -> Request:
    """Return the request for the changes after *since*; stream it."""
    return endpoints.FEED.request(query=Since(since=since))


def apply(
    operations: Sequence[Operation | tuple[Commit, bytes]],
    *,
    atomic: bool = False,
    client: str = "",
) -> Flow[list[Outcome]]:
    """Carry out *operations* in order; a commit comes with its payload.

    Safe to repeat, so it is repeated: each operation without a key is given one here.
    Outcomes may hold problems; `apply_one` raises them.
    """
    pairs = [op if isinstance(op, tuple) else (op, b"") for op in operations]
    body = frames.encode(Apply(atomic=atomic, client=client))
    body += b"".join(frames.encode(_keyed(op), payload) for op, payload in pairs)
    return (yield from _apply(body, len(pairs)))


def apply_one(operation: Operation, payload: bytes = b"", *, client: str = "") -> Flow[Outcome]:
    """Carry out one operation; raise the error that came of it."""
    if isinstance(operation, Commit):
        outcomes = yield from apply([(operation, payload)], client=client)
    else:
        outcomes = yield from apply([operation], client=client)
    return good(outcomes[0])


def commit(
    operation: Commit,
    payload: Callable[[], AsyncIterator[bytes]] | Callable[[], Iterator[bytes]],
    *,
    client: str = "",
) -> Flow[Outcome]:
    """Commit a *payload* that is streamed, and streamed again where a try failed."""
    head = frames.encode(Apply(client=client)) + frames.encode(_keyed(operation))
    outcomes = yield from _apply(Fresh(lambda: _after(head, payload())), 1)
    return good(outcomes[0])


def keyed(operation: Commit) -> Commit:
    """Return a commit with a key, so that it may be sent in more than one way."""
    return operation if operation.key else msgspec.structs.replace(operation, key=uuid.uuid4().hex)


def commit_summed(body: Callable[[], AsyncIterator[bytes]]) -> Flow[Outcome]:
    """Send a whole body of ``apply`` with one commit, which has a key, and a `Sum` at its end."""
    outcomes = yield from _apply(Fresh(body), 1, headers=_SUMMED)
    return good(outcomes[0])


def apply_ahead(body: AsyncIterator[bytes]) -> Flow[list[Outcome]]:
    """Send a whole body of ``apply`` with a `Sum` at its end, once: see `Apply.ahead`.

    Outcomes may hold problems.
    """
    reply = yield from ask_once(endpoints.APPLY.request(raw=body, headers=_SUMMED))
    return endpoints.APPLY.decode(reply)


_SUMMED = {SUMMED_HEADER: "1"}


def _apply(
    body: Body, count: int, *, headers: Mapping[str, str] | None = None
) -> Flow[list[Outcome]]:
    request = replace(endpoints.APPLY.request(raw=body, headers=headers), digested=True)
    reply = yield from ask(request, harmless=True)
    outcomes = endpoints.APPLY.decode(reply)
    if len(outcomes) != count:
        raise UnexpectedAnswer(f"{len(outcomes)} outcomes answer {count} operations")
    return outcomes


def _bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"} if token else {}


_DIRECT = {DIRECT_HEADER: "1"}


def _range(start: int, stop: int | None) -> dict[str, str]:
    if not start and stop is None:
        return {}
    return {"range": f"bytes={start}-{'' if stop is None else stop - 1}"}


def good(outcome: Outcome) -> Outcome:
    """Return an outcome without a problem; raise the problem of one that has it."""
    if outcome.problem is not None:
        raise from_problem(outcome.problem)
    return outcome


def _keyed(operation: Operation) -> Operation:
    if operation.key:
        return operation
    return msgspec.structs.replace(operation, key=uuid.uuid4().hex)


def _after(
    head: bytes, rest: AsyncIterator[bytes] | Iterator[bytes]
) -> AsyncIterator[bytes] | Iterator[bytes]:
    if isinstance(rest, AsyncIterator):
        return _after_async(head, rest)
    return _after_sync(head, rest)


def _after_sync(head: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield head
    yield from rest


async def _after_async(head: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    try:
        yield head
        async for piece in rest:
            yield piece
    finally:
        # A sending that breaks off ends only the outer generator.
        if isinstance(rest, AsyncGenerator):
            await rest.aclose()

"""`Catalog`: all that the service asks of it. One method is one transaction.

Methods block, and are called from worker threads. A write waits for its turn.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import select

from rengafs.catalog import (
    access,
    applying,
    comparing,
    explorer,
    feed,
    history,
    lasting,
    logbook,
    marking,
    membership,
    nodes,
    original,
    places,
    saving,
    stock,
)
from rengafs.catalog.applying import Applied, Staged
from rengafs.catalog.database import Database, open_database
from rengafs.catalog.droppings import DEFAULT, Droppings
from rengafs.catalog.migrating import migrate
from rengafs.catalog.schema import about
from rengafs.catalog.values import (
    Actor,
    Base,
    Content,
    Member,
    Role,
    Rules,
    TokenHolder,
    TokenListing,
)
from rengafs.catalog.writer import Writer
from rengafs.protocol.endpoints import CopyFile, CreateBucket, CreateFile, Metadata
from rengafs.protocol.errors import NotFound
from rengafs.protocol.names import from_wire
from rengafs.protocol.operations import Commit, Outcome
from rengafs.protocol.records import (
    Change,
    Difference,
    Entry,
    Kind,
    Label,
    Log,
    Moment,
    Node,
    Page,
    PastName,
    PastNames,
    Usage,
    Version,
    Versions,
)
from rengafs.protocol.vertices import Vertex

RECEIPT_SWEEP_SECONDS = 3600
ADMIN = Actor(user=0, name="")


@dataclass(frozen=True, slots=True)
class Identity:
    """What a catalog is told apart by, and signs with."""

    catalog: str
    secret: str


def open_catalog(
    url: str,
    *,
    backends: tuple[str, ...] = ("local",),
    droppings: tuple[str, ...] = DEFAULT,
    clock_ns: Callable[[], int] = time.time_ns,
) -> "Catalog":
    """Open the catalog at *url*, made or updated to this version's schema.

    Raises `SetupError`.
    """
    database = open_database(url)
    try:
        migrate(database)
        return Catalog(database, Rules(backends, droppings), clock_ns)
    except BaseException:
        database.close()
        raise


class Catalog:
    """The history, and its views. Shared between threads."""

    def __init__(self, database: Database, rules: Rules, clock_ns: Callable[[], int]) -> None:
        self._database = database
        self._rules = rules
        self._droppings = Droppings(rules.droppings)
        self._clock_ns = clock_ns
        # Threads of one process queue here rather than at the database, whose waiting is
        # polling. Other processes are waited for there.
        self._turn = threading.Lock()
        self._swept = float("-inf")
        with database.read() as connection:
            known = {row.key: row.value for row in connection.execute(select(about))}
        self.identity = Identity(known["catalog"], known["secret"])

    @property
    def rules(self) -> Rules:
        """What the catalog was opened with."""
        return self._rules

    def close(self) -> None:
        """Close the database. Nothing may be asked afterwards."""
        self._database.close()

    @contextmanager
    def _write(self, actor: Actor) -> Iterator[Writer]:
        with self._turn, self._database.write() as connection:
            writer = Writer(connection, actor, self._rules, self._droppings, self._clock_ns())
            yield writer
            writer.finish()

    # --- the tree, now and then -------------------------------------------------------

    def node(self, number: int, at: int | None = None) -> Node:
        """Return a node. Raises `NotFound`; `BadRequest` for a change there is not."""
        with self._database.read() as connection:
            return nodes.get_node(connection, number, places.check_at(connection, at))

    def entry(self, directory: int, name: str, at: int | None = None) -> Entry:
        """Return what stands at a shown name. Raises `NotFound`, `NotADirectory`."""
        with self._database.read() as connection:
            then = places.check_at(connection, at)
            return places.entry_of(places.get(connection, directory, from_wire(name), then))

    def entries(
        self, directory: int, *, after: str = "", limit: int = 1000, at: int | None = None
    ) -> Page:
        """Return a page of a directory. Raises `NotFound`, `NotADirectory`."""
        with self._database.read() as connection:
            then = places.check_at(connection, at)
            return places.list_directory(connection, directory, after=after, limit=limit, at=then)

    def path(self, path: str, at: int | None = None) -> Entry:
        """Return what stands at a path. Raises `NotFound`, `NotADirectory`."""
        with self._database.read() as connection:
            return places.find_path(connection, path, places.check_at(connection, at))

    def history(
        self,
        directory: int,
        name: str,
        *,
        after: str = "",
        limit: int = 1000,
        from_ms: int | None = None,
        until_ms: int | None = None,
    ) -> Versions:
        """Return the saves under a shown name, oldest first. Raises `NotFound`."""
        span = history.Span(from_ms, until_ms)
        with self._database.read() as connection:
            raw = from_wire(name)
            return history.history(connection, directory, raw, after=after, limit=limit, span=span)

    def past_names(self, directory: int, *, after: str = "", limit: int = 1000) -> PastNames:
        """Return the names that a directory has or had. Raises `NotFound`."""
        with self._database.read() as connection:
            return history.past_names(
                connection, directory, self._droppings, after=after, limit=limit
            )

    def past_name(self, directory: int, name: str) -> PastName:
        """Return one name that a directory has or had. Raises `NotFound`."""
        with self._database.read() as connection:
            return history.past_name(connection, directory, self._droppings, from_wire(name))

    def differences(self, path: str, before: int | None, after: int | None) -> list[Difference]:
        """Return in what a path differs between two changes; None is now. Raises `NotFound`."""
        with self._database.read() as connection:
            then, later = (places.check_at(connection, at) for at in (before, after))
            return comparing.compare(connection, path, then, later)

    def log(self, path: str, *, before: int = 0, limit: int = 1000) -> Log:
        """Return what happened to a path and below it, newest first. Raises `NotFound`."""
        with self._database.read() as connection:
            return logbook.log_of(connection, path, before=before, limit=limit)

    def last_there(self, path: str) -> Moment:
        """Return when a deleted path was whole last. Raises `NotFound`, `BadRequest`."""
        with self._database.read() as connection:
            return lasting.last_there(connection, path)

    def labels(self, node: int) -> list[Label]:
        """Return the labels of the bucket where a node stands. Raises `NotFound`."""
        with self._database.read() as connection:
            return marking.list_labels(connection, node)

    def label(self, node: int, name: str) -> Label:
        """Return one label of the bucket where a node stands. Raises `NotFound`."""
        with self._database.read() as connection:
            return marking.get_label(connection, node, name)

    def version(self, number: int) -> Version:
        """Return a version. Raises `NotFound`."""
        with self._database.read() as connection:
            return saving.get_version(connection, number)

    def content(self, number: int) -> Content:
        """Return where the bytes of a version lie. Raises `NotFound`."""
        with self._database.read() as connection:
            return saving.get_content(connection, number)

    def contents(self, numbers: Sequence[int]) -> dict[int, Content | NotFound]:
        """Return where the bytes of many versions lie."""
        found: dict[int, Content | NotFound] = {}
        with self._database.read() as connection:
            for number in numbers:
                try:
                    found[number] = saving.get_content(connection, number)
                except NotFound as error:
                    found[number] = error
        return found

    # --- changing it ------------------------------------------------------------------

    def prepare_commit(self, actor: Actor, operation: Commit) -> Base | Outcome:
        """Return what a commit is composed from; or what it came to when it was tried first.

        Raises `NotFound`, `IsADirectory`, `BadRequest`.
        """
        with self._database.read() as connection:
            before = applying.find_receipt(connection, actor.user, operation.key)
            if before is not None:
                return before
            membership.permit_operation(connection, actor, operation)
            base = None if operation.whole else operation.base
            return saving.find_base(connection, operation.node, base)

    def apply(self, actor: Actor, staged: Sequence[Staged], *, atomic: bool = False) -> Applied:
        """Carry out operations in order; see `applying`."""
        with self._write(actor) as w:
            run = applying.apply_all if atomic else applying.apply_each
            outcomes = run(w, staged)
            self._sweep_receipts(w)
        return Applied(outcomes, w.adopted, w.last)

    def _sweep_receipts(self, w: Writer) -> None:
        if time.monotonic() - self._swept > RECEIPT_SWEEP_SECONDS:
            self._swept = time.monotonic()
            applying.drop_receipts(w.connection, w.now_ms)

    # --- the original API -------------------------------------------------------------

    def create_bucket(self, actor: Actor, request: CreateBucket) -> Vertex:
        """Make a bucket. Raises `UnknownBackend`, `InvalidName`."""
        with self._write(actor) as w:
            node = original.create_bucket(w, request.name, request.backend, request.labels)
            w.complete("create_bucket")
            return explorer.get_bucket(w.connection, node.id)

    def create_file(self, actor: Actor, request: CreateFile) -> int:
        """Make an empty file; return its id. Raises `NotFound`, `InvalidName`."""
        with self._write(actor) as w:
            node = original.create_file(w, request.bucket_id, request.file_name, request.labels)
            w.complete("create_file")
        return node.id

    def copy_file(self, actor: Actor, request: CopyFile) -> int:
        """Clone a file or version; return the clone's id. Raises `NotFound`."""
        with self._write(actor) as w:
            node = original.copy_file(
                w, request.resource_id, request.file_name, request.bucket_id, request.labels
            )
            w.complete("copy_file")
        return node.id

    def put_file(self, actor: Actor, number: int, metadata: Metadata) -> None:
        """Rename or label a file. Raises `NotFound`."""
        with self._write(actor) as w:
            node = w.node(number)
            if node.kind is not Kind.FILE or not node.links:
                raise NotFound(f"there is no file {number}", file=number)
            if metadata.file_name is not None:
                original.rename_file(w, number, metadata.file_name)
            original.set_labels(w, number, metadata.labels)
            w.complete("put_file")

    def put_bucket(self, actor: Actor, number: int, metadata: Metadata) -> None:
        """Rename or label a bucket. Raises `NotFound`."""
        with self._write(actor) as w:
            original.get_bucket(w, number)
            if metadata.file_name is not None:
                original.rename_bucket(w, number, metadata.file_name)
            original.set_labels(w, number, metadata.labels)
            w.complete("put_bucket")

    def resource(self, number: int) -> tuple[int, int | None]:
        """Return (file, version) of what an authorize call names; None: never saved.

        Raises `NotFound` for what is neither a file nor a version.
        """
        with self._database.read() as connection:
            row = saving.version_row(connection, number)
            if row is not None:
                return row.file, row.id
            node = nodes.find_node(connection, number)
            if node is None or node.kind is not Kind.FILE:
                raise NotFound(f"there is no file or version {number}", resource_id=number)
            return node.id, node.version

    def explore_buckets(self) -> list[Vertex]:
        """Return all buckets."""
        with self._database.read() as connection:
            return explorer.list_buckets(connection)

    def explore_bucket(self, number: int) -> Vertex:
        """Return a bucket. Raises `NotFound`."""
        with self._database.read() as connection:
            return explorer.get_bucket(connection, number)

    def explore_files(self, bucket: int) -> list[Vertex]:
        """Return all files of a bucket. Raises `NotFound`."""
        with self._database.read() as connection:
            return explorer.list_files(connection, bucket)

    def explore_file(self, number: int) -> Vertex:
        """Return a file or version. Raises `NotFound`."""
        with self._database.read() as connection:
            return explorer.get_file(connection, number)

    def explore_versions(self, file: int) -> list[Vertex]:
        """Return all versions of a file. Raises `NotFound`."""
        with self._database.read() as connection:
            return explorer.list_versions(connection, file)

    # --- changes, sums, users ---------------------------------------------------------

    def last_change(self) -> int:
        """Return the number of the last change."""
        with self._database.read() as connection:
            return places.last_change(connection)

    def changes_after(self, since: int, limit: int = feed.PAGE) -> list[Change]:
        """Return the changes after *since*. Raises `BadRequest` beyond the last."""
        with self._database.read() as connection:
            return feed.changes_after(connection, since, limit)

    def moment(self, at_ms: int) -> Moment:
        """Return the last change until a moment."""
        with self._database.read() as connection:
            return feed.change_at(connection, at_ms)

    def usage(self) -> Usage:
        """Return the running sums."""
        with self._database.read() as connection:
            return feed.usage(connection)

    def holder(self, token: str) -> TokenHolder:
        """Return who a token speaks for. Raises `NotAuthenticated`, `TokenExpired`."""
        with self._database.read() as connection:
            return access.find_holder(connection, token, self._clock_ns() // 1_000_000)

    def add_token(
        self,
        name: str,
        token: str,
        *,
        read_only: bool = False,
        expires_ms: int | None = None,
        everywhere: bool = False,
    ) -> None:
        """Let *token* speak for the user *name*."""
        with self._write(ADMIN) as w:
            access.add_token(
                w,
                name,
                token,
                read_only=read_only,
                expires_ms=expires_ms,
                everywhere=everywhere,
            )

    def list_tokens(self) -> list[TokenListing]:
        """Return all tokens, without the secrets."""
        with self._database.read() as connection:
            return access.list_tokens(connection)

    def revoke_tokens(self, name: str) -> int:
        """Revoke all tokens of a user; return how many. Raises `NotFound`."""
        with self._write(ADMIN) as w:
            return access.revoke_tokens(w, name)

    # --- who may what -----------------------------------------------------------------

    def permit(
        self, user: int, numbers: Sequence[int], role: Role, what: membership.What = "node"
    ) -> None:
        """Raise `NotFound` or `Forbidden` unless the user has *role* where these ids are."""
        with self._database.read() as connection:
            for number in numbers:
                membership.permit(connection, user, number, role, what)

    def permit_name(self, user: int, name: str, role: Role, at: int | None = None) -> None:
        """The same for the bucket of a shown name."""
        with self._database.read() as connection:
            then = places.check_at(connection, at)
            membership.permit_name(connection, user, name, role, then)

    def hidden(self, user: int, versions: Sequence[int]) -> dict[int, NotFound]:
        """Return those of *versions* that a user may not see, with the error for each."""
        found: dict[int, NotFound] = {}
        with self._database.read() as connection:
            for number in versions:
                try:
                    membership.permit(connection, user, number, "reader", "version")
                except NotFound as error:
                    found[number] = error
        return found

    def visible(self, user: int) -> frozenset[int]:
        """Return the buckets that a user may see."""
        with self._database.read() as connection:
            return membership.visible(connection, user)

    def members(self, bucket: int | None = None) -> list[Member]:
        """Return the members of a bucket, or of all buckets."""
        with self._database.read() as connection:
            return membership.list_members(connection, bucket)

    def set_role(self, bucket: int, name: str, role: Role | None) -> None:
        """Make a user a member of a bucket; None: no longer. Raises `NotFound`."""
        with self._write(ADMIN) as w:
            original.get_bucket(w, bucket)
            membership.set_role(w, bucket, name, role)
            place = original.eldest_place(w.connection, bucket)
            if role is not None and place is not None:
                w.tell_entered(place)  # it is new to somebody
                w.complete("grant")

    # --- the stock of blobs -----------------------------------------------------------

    def known_keys(self, backend: str, keys: Sequence[str]) -> frozenset[str]:
        """Return which of *keys* (some hundreds) are a blob's."""
        with self._database.read() as connection:
            return stock.known_keys(connection, backend, keys)

    def blobs(self, after: int, limit: int) -> list[stock.Known]:
        """Return a page of all blobs, by id."""
        with self._database.read() as connection:
            return stock.list_blobs(connection, after, limit)

    def versions_of(self, blob: int) -> list[int]:
        """Return versions whose bytes a blob holds."""
        with self._database.read() as connection:
            return stock.versions_of(connection, blob)

    def sums_agree(self) -> bool:
        """Whether the running sums are what is counted."""
        with self._database.read() as connection:
            kept, counted = stock.sums(connection)
        return kept == counted

    def repair(self, keys: Mapping[int, str]) -> None:
        """Set keys of blobs (by id), and correct the running sums."""
        with self._write(ADMIN) as w:
            stock.set_keys(w, keys)
            stock.correct_sums(w)

    def note_read(self, actor: Actor, version: int) -> None:
        """Keep which execution or project read a version."""
        with self._write(actor) as w:
            access.note_read(w, version)

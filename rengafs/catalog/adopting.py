"""Objects of another program as files of a bucket, with their old versions as history.

The past of a store comes in now: its versions bear their own times, but as changes they are
of the moment when they were adopted, so as-of views begin there.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import Connection, insert, select

from rengafs.catalog.making import add, add_bucket, free_name
from rengafs.catalog.moving import relocate
from rengafs.catalog.nodes import get_node
from rengafs.catalog.original import components, eldest_place, make_directories
from rengafs.catalog.places import Directory, Place, at_raw_name
from rengafs.catalog.removing import remove
from rengafs.catalog.saving import EMPTY_SHA256, NewVersion, intern, save
from rengafs.catalog.schema import adoptions, blobs, nodes, versions
from rengafs.catalog.values import Blob
from rengafs.catalog.writer import Writer
from rengafs.protocol.errors import NotFound
from rengafs.protocol.records import ROOT, Kind, Node


@dataclass(frozen=True, slots=True)
class Adopted:
    """One stored version of an object."""

    blob: Blob
    at_us: int
    """When it was stored, as the store tells: microseconds since 1970."""
    formerly: str = ""
    """The key that its blob had, if the store has put it elsewhere since."""

    @property
    def at_ms(self) -> int:
        """The same in milliseconds."""
        return self.at_us // 1000


@dataclass(frozen=True, slots=True)
class Object:
    """An object with its versions, oldest first."""

    name: str
    versions: Sequence[Adopted]
    deleted: bool = False
    """The store has old versions of it only."""


@dataclass(frozen=True, slots=True)
class Adoption:
    """Which container a bucket shows."""

    bucket: int
    backend: str
    container: str


def begin(w: Writer, name: str, backend: str, container: str) -> Adoption:
    """Make a bucket for a container. Raises `AlreadyExists`, `UnknownBackend`."""
    bucket = add_bucket(w, free_name(w, w.directory(ROOT), name), backend)
    adoption = Adoption(bucket.id, backend, container)
    w.connection.execute(insert(adoptions), asdict(adoption))
    return adoption


def find(connection: Connection, bucket: int) -> Adoption:
    """Return which container a bucket shows. Raises `NotFound`."""
    row = connection.execute(select(adoptions).where(adoptions.c.bucket == bucket)).first()
    if row is None:
        raise NotFound(f"the bucket {bucket} shows no container: it was not adopted")
    return Adoption(row.bucket, row.backend, row.container)


def take(w: Writer, adoption: Adoption, objects: Sequence[Object]) -> int:
    """Make or update the files of *objects*; return how many versions are new."""
    top = Directory(adoption.bucket, Kind.BUCKET, adoption.bucket, 1)
    count = 0
    gone: list[Place] = []
    for found in objects:
        path = components(found.name.rstrip("/") or found.name)
        if found.name.endswith("/"):
            make_directories(w, top, path)  # how S3 clients write an empty directory
            continue
        place = _file(w, top, path)
        count += _save(w, top, path, place, found)
        now = _file(w, top, path)
        if now is not None and found.deleted and _is_foreign(w, now.node):
            gone.append(now)
    w.complete("adopt")
    for place in gone:
        remove(w, place)
    w.complete("adopt")
    return count


def shown(connection: Connection, adoption: Adoption) -> list[tuple[int, str]]:
    """Return (id, key) of the bucket's live files whose content another program stored."""
    current = (
        select(nodes.c.id, blobs.c.key)
        .select_from(nodes.join(versions, versions.c.file == nodes.c.id))
        .join(blobs, blobs.c.id == versions.c.blob)
        .where(nodes.c.bucket == adoption.bucket, nodes.c.links > 0)
        .where(blobs.c.key.like("@%"))
        .order_by(versions.c.id)
    )
    last = {row.id: row.key for row in connection.execute(current)}
    return [
        (number, key)
        for number, key in last.items()
        if _key(connection, get_node(connection, number).version) == key
    ]


def drop(w: Writer, files: Sequence[int]) -> int:
    """Delete files whose objects are gone; return how many."""
    count = 0
    for number in files:
        place = eldest_place(w.connection, number)
        if place is not None:
            remove(w, place)
            count += 1
    w.complete("adopt")
    return count


def _save(
    w: Writer, top: Directory, path: tuple[bytes, ...], place: Place | None, found: Object
) -> int:
    node = place.node if place is not None else None
    if node is not None:
        _follow(w, top.id, node, found)
    known = _known(w, top.id, found)
    new = [one for one in found.versions if one.blob.key not in known]
    if node is None and found.deleted:
        # It went before. Of no bytes there is no blob to know it by: they are not told again.
        new = [one for one in new if one.blob.size]
    if not new:
        return 0
    if node is None:
        parent = make_directories(w, top, path[:-1])
        node = add(w, parent, path[-1], Kind.FILE, 0o644)
    count = 0
    for one in new:
        empty = not one.blob.size
        if empty and _has_empty(w, node, one.at_ms):
            continue
        version = NewVersion(
            size=one.blob.size,
            sha256=EMPTY_SHA256 if empty else one.blob.sha256,
            blob=None if empty else intern(w, one.blob),
            mtime_ns=one.at_us * 1000,
            base=node.version,
            created_ms=one.at_ms,
        )
        node = save(w, node, version)
        count += 1
    return count


def _follow(w: Writer, bucket: int, node: Node, found: Object) -> None:
    """Let versions be found where the store has put them since they were known."""
    for one in found.versions:
        if not one.formerly:
            continue
        query = (
            select(blobs.c.id)
            .select_from(versions.join(blobs, blobs.c.id == versions.c.blob))
            .where(versions.c.file == node.id, versions.c.created_ms == one.at_ms)
            .where(blobs.c.backend == one.blob.backend, blobs.c.key == one.formerly)
        )
        old = w.connection.execute(query).scalar()
        if old is not None:
            relocate(w, bucket, old, one.blob)


def _has_empty(w: Writer, node: Node, at_ms: int) -> bool:
    query = select(versions.c.id).where(
        versions.c.file == node.id, versions.c.size == 0, versions.c.created_ms == at_ms
    )
    return w.connection.execute(query).first() is not None


def _file(w: Writer, top: Directory, path: tuple[bytes, ...]) -> Place | None:
    directory = top.id
    for raw in path[:-1]:
        below = [p.node for p in at_raw_name(w.connection, directory, raw)]
        there = next((node for node in below if node.kind.is_directory), None)
        if there is None:
            return None
        directory = there.id
    places = at_raw_name(w.connection, directory, path[-1])
    return next((place for place in places if place.node.kind is Kind.FILE), None)


def _known(w: Writer, bucket: int, found: Object) -> set[str]:
    """Return the keys that versions in the bucket have already, of deleted files too."""
    keys = [one.blob.key for one in found.versions]
    known: set[str] = set()
    # Databases limit the parameters of a statement.
    for start in range(0, len(keys), 500):
        query = (
            select(blobs.c.key)
            .select_from(versions.join(blobs, blobs.c.id == versions.c.blob))
            .join(nodes, nodes.c.id == versions.c.file)
            .where(nodes.c.bucket == bucket, blobs.c.key.in_(keys[start : start + 500]))
        )
        known |= set(w.connection.execute(query).scalars())
    return known


def _is_foreign(w: Writer, node: Node) -> bool:
    key = _key(w.connection, node.version)
    return key is None or key.startswith("@")


def _key(connection: Connection, version: int | None) -> str | None:
    query = (
        select(blobs.c.key)
        .select_from(versions.join(blobs, blobs.c.id == versions.c.blob))
        .where(versions.c.id == version)
    )
    found = connection.execute(query).scalar()
    return None if found is None else str(found)

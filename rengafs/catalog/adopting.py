"""Objects of another program as files of a bucket, with their old versions as history.

The past of a store comes in now: its versions bear their own times, but as changes they are
of the moment when they were adopted, so as-of views begin there.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import Connection, insert, select, update

from rengafs.catalog.making import add, add_bucket, free_name
from rengafs.catalog.moving import relocate
from rengafs.catalog.original import components, eldest_place, make_directories
from rengafs.catalog.places import Directory, Place, at_raw_name
from rengafs.catalog.removing import remove
from rengafs.catalog.saving import EMPTY_SHA256, NewVersion, intern, save
from rengafs.catalog.schema import adopted, adoptions, blobs, nodes, states, valid, versions
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


def take(w: Writer, adoption: Adoption, objects: Sequence[Object]) -> tuple[int, int]:
    """Make, update or delete the files of *objects*; return (new versions, deleted files)."""
    top = Directory(adoption.bucket, Kind.BUCKET, adoption.bucket, 1)
    files: list[_File] = []
    for found in objects:
        path = components(found.name.rstrip("/") or found.name)
        if found.name.endswith("/"):
            make_directories(w, top, path)  # how S3 clients write an empty directory
        else:
            files.append(_File(path, found, _new(w, top, path, found)))
    count = 0
    while rest := [file for file in files if file.new]:
        for file in rest:
            _save(w, top, file)
            count += 1
        # History shows what was current as of some change: each version has one.
        w.complete("adopt")
    gone = 0
    for file in files:
        place = _file(w, top, file.path) if file.found.deleted else None
        if place is not None and _key(w, place.node):
            remove(w, place)
            gone += 1
    w.complete("adopt")
    return count, gone


def shown(connection: Connection, adoption: Adoption) -> list[tuple[int, str]]:
    """Return (id, key) of the bucket's live files whose content another program stored."""
    query = (
        select(nodes.c.id, adopted.c.key)
        .select_from(nodes.join(states, states.c.node == nodes.c.id))
        .join(adopted, adopted.c.version == states.c.version)
        .where(nodes.c.bucket == adoption.bucket, nodes.c.links > 0, valid(states, None))
    )
    return [(row.id, row.key) for row in connection.execute(query)]


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


@dataclass(frozen=True, slots=True)
class _File:
    """An object on its way to be a file."""

    path: tuple[bytes, ...]
    found: Object
    new: list[Adopted]
    """Versions that the file lacks, oldest first."""


def _new(w: Writer, top: Directory, path: tuple[bytes, ...], found: Object) -> list[Adopted]:
    place = _file(w, top, path)
    if place is not None:
        _follow(w, top.id, place.node, found)
    known, now = _known(w, top.id, found), _key(w, place.node if place else None)
    # Where a store keeps no versions, an object may become again what it was, at another time.
    return [
        one
        for one in found.versions
        if one.blob.key != now and (one.blob.key, one.at_ms) not in known
    ]


def _save(w: Writer, top: Directory, file: _File) -> None:
    """Make the oldest of the new versions the file's present one."""
    one = file.new.pop(0)
    place = _file(w, top, file.path)
    if place is None:
        parent = make_directories(w, top, file.path[:-1])
        node = add(w, parent, file.path[-1], Kind.FILE, 0o644)
    else:
        node = place.node
    empty = not one.blob.size
    version = NewVersion(
        size=one.blob.size,
        sha256=EMPTY_SHA256 if empty else one.blob.sha256,
        blob=None if empty else intern(w, one.blob),
        mtime_ns=one.at_us * 1000,
        base=node.version,
        created_ms=one.at_ms,
    )
    saved = save(w, node, version)
    w.connection.execute(insert(adopted), {"version": saved.version, "key": one.blob.key})


def _follow(w: Writer, bucket: int, node: Node, found: Object) -> None:
    """Let versions be found where the store has put them since they were known."""
    for one in found.versions:
        if not one.formerly:
            continue
        query = (
            select(versions.c.id, blobs.c.id.label("blob"), blobs.c.key)
            .select_from(versions.join(adopted, adopted.c.version == versions.c.id))
            .outerjoin(blobs, blobs.c.id == versions.c.blob)
            .where(versions.c.file == node.id, versions.c.created_ms == one.at_ms)
            .where(adopted.c.key == one.formerly)
        )
        old = w.connection.execute(query).first()
        if old is None:
            continue
        renamed = update(adopted).where(adopted.c.version == old.id)
        w.connection.execute(renamed.values(key=one.blob.key))
        if old.key == one.formerly:  # else its bytes were moved, or pruned
            relocate(w, bucket, old.blob, one.blob)


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


def _known(w: Writer, bucket: int, found: Object) -> set[tuple[str, int]]:
    """Return keys and times of those that the bucket has already, of deleted files too."""
    keys = [one.blob.key for one in found.versions]
    known: set[tuple[str, int]] = set()
    # Databases limit the parameters of a statement.
    for start in range(0, len(keys), 500):
        query = (
            select(adopted.c.key, versions.c.created_ms)
            .select_from(adopted.join(versions, versions.c.id == adopted.c.version))
            .join(nodes, nodes.c.id == versions.c.file)
            .where(nodes.c.bucket == bucket, adopted.c.key.in_(keys[start : start + 500]))
        )
        known |= {(row.key, row.created_ms) for row in w.connection.execute(query)}
    return known


def _key(w: Writer, node: Node | None) -> str | None:
    """Return what another program calls the content of a file; None: it is of our own."""
    query = select(adopted.c.key).where(adopted.c.version == (node.version if node else None))
    found = w.connection.execute(query).scalar()
    return None if found is None else str(found)

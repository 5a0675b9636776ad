"""What the original API asks of the catalog: flat names with slashes in them, and doubles.

A file's name is a path inside its bucket; directories are made on demand. A name that is
no path (an URL with ``//``, ``..``) is one strange component, which a mount shows escaped.
"""

from sqlalchemy import Connection, delete, insert, select

from rengafs.catalog.making import add, add_bucket
from rengafs.catalog.places import Directory, Place, at_raw_name
from rengafs.catalog.saving import cloned_content, fill_clone, version_row
from rengafs.catalog.schema import edges, labels, nodes
from rengafs.catalog.writer import Writer
from rengafs.protocol.errors import InvalidName, NameTooLong, NotFound
from rengafs.protocol.names import MAX_PATH, from_wire, join_path, parse_path, to_wire
from rengafs.protocol.records import ROOT, Kind, Node


def components(file_name: str) -> tuple[bytes, ...]:
    """Return the raw components of a file's name. Raises `InvalidName`, `NameTooLong`."""
    raw = from_wire(file_name)
    if len(raw) > MAX_PATH:
        raise NameTooLong(f"the name has {len(raw)} bytes; {MAX_PATH} are the most")
    try:
        return parse_path(file_name)
    except (InvalidName, NameTooLong):
        return (raw,)


def create_bucket(w: Writer, name: str | None, backend: str, given: list[str]) -> Node:
    """Make a bucket; another may bear the name. Without one, it is called after its id."""
    raw = from_wire(name) if name else b"bucket-%d" % (w.take_id())
    if len(raw) > MAX_PATH:
        raise NameTooLong(f"the name has {len(raw)} bytes; {MAX_PATH} are the most")
    node = add_bucket(w, raw, backend)
    set_labels(w, node.id, given)
    return node


def create_file(w: Writer, bucket: int, name: str | None, given: list[str]) -> Node:
    """Make an empty file; another may bear the name. Without one, it is called after its id."""
    path = components(name) if name else (b"file-%d" % w.take_id(),)
    parent = make_directories(w, get_bucket(w, bucket), path[:-1])
    node = add(w, parent, path[-1], Kind.FILE, 0o644)
    set_labels(w, node.id, given)
    return node


def copy_file(
    w: Writer, source: int, name: str | None, bucket: int | None, given: list[str]
) -> Node:
    """Make a file with the content of a file or version, by default beside the source."""
    content, _mode = cloned_content(w.connection, source)
    file = source_file(w.connection, source)
    if name is None:
        name = f"clone_{file_name(w.connection, file)}"
    node = create_file(w, w.bucket_of(file) if bucket is None else bucket, name, given)
    return fill_clone(w, node, content)


def rename_file(w: Writer, number: int, name: str) -> None:
    """Give a file another name in its bucket. Raises `NotFound` for one that is deleted."""
    place = eldest_place(w.connection, number)
    if place is None:
        raise NotFound(f"there is no file {number}", node=number)
    path = components(name)
    if path == path_of(w.connection, number):
        return
    parent = make_directories(w, get_bucket(w, place.bucket), path[:-1])
    w.leave(place)
    w.enter(parent.id, path[-1], place.node, bucket=place.bucket)


def rename_bucket(w: Writer, number: int, name: str) -> None:
    """Give a bucket another name; another may bear it."""
    get_bucket(w, number)
    place = eldest_place(w.connection, number)
    raw = from_wire(name)
    if not raw or len(raw) > MAX_PATH:
        raise InvalidName(f"the name of a bucket has 1 to {MAX_PATH} bytes")
    if place is None or place.raw == raw:
        return
    w.leave(place)
    w.enter(ROOT, raw, place.node, bucket=number)


def set_labels(w: Writer, number: int, given: list[str] | None) -> None:
    """Set all labels of a file or bucket; None leaves them."""
    if given is None or sorted(set(given)) == labels_of(w.connection, number):
        return
    w.connection.execute(delete(labels).where(labels.c.node == number))
    if given:
        rows = [{"node": number, "label": label} for label in sorted(set(given))]
        w.connection.execute(insert(labels), rows)
    w.event("attributes", number, bucket=w.bucket_of(number))


def get_bucket(w: Writer, number: int) -> Directory:
    """Return a live bucket. Raises `NotFound` for all that is none."""
    row = w.connection.execute(
        select(nodes.c.kind, nodes.c.links).where(nodes.c.id == number)
    ).first()
    if row is None or row.kind != Kind.BUCKET or not row.links:
        raise NotFound(f"there is no bucket {number}", bucket=number)
    return Directory(number, Kind.BUCKET, number, row.links)


# --- reading ------------------------------------------------------------------------------


def labels_of(connection: Connection, number: int) -> list[str]:
    """Return the labels of a file or bucket, sorted."""
    # Sorted here: a database may sort text by its language.
    query = select(labels.c.label).where(labels.c.node == number)
    return sorted(connection.execute(query).scalars())


def source_file(connection: Connection, number: int) -> int:
    """Return the file of a version, or *number* itself."""
    row = version_row(connection, number)
    return number if row is None else int(row.file)


def file_name(connection: Connection, number: int) -> str:
    """Return the original API's name of a node: its path inside the bucket, last if deleted."""
    return join_path(path_of(connection, number))


def path_of(connection: Connection, number: int) -> tuple[bytes, ...]:
    """Return the raw components from the bucket down, by eldest names; for a bucket, none."""
    parts: list[bytes] = []
    while number != ROOT:
        row = connection.execute(
            select(edges.c.parent, edges.c.name)
            .where(edges.c.node == number)
            # Live names first, eldest first; of past ones the last.
            .order_by(edges.c.until.is_(None).desc(), edges.c.until.desc(), edges.c.id)
            .limit(1)
        ).first()
        if row is None or row.parent == ROOT:
            break
        parts.append(row.name)
        number = row.parent
    return tuple(reversed(parts))


def bucket_name(connection: Connection, number: int) -> str:
    """Return the name of a bucket."""
    query = (
        select(edges.c.name)
        .where(edges.c.node == number)
        .order_by(edges.c.until.is_(None).desc(), edges.c.id.desc())
        .limit(1)
    )
    raw = connection.execute(query).scalar()
    return to_wire(raw or b"")


def eldest_place(connection: Connection, number: int) -> Place | None:
    """Return the eldest live name of a node."""
    row = connection.execute(
        select(edges.c.id, edges.c.parent, edges.c.name)
        .where(edges.c.node == number, edges.c.until.is_(None))
        .order_by(edges.c.id)
        .limit(1)
    ).first()
    if row is None:
        return None
    places = at_raw_name(connection, row.parent, row.name)
    return next((place for place in places if place.edge == row.id), None)


def make_directories(w: Writer, top: Directory, parts: tuple[bytes, ...]) -> Directory:
    """Return the directory *parts* below *top*; make what is missing.

    Where a file bears the name of a directory that is needed, the directory is made beside
    it: both are reachable, and the younger is shown with its id.
    """
    directory = top
    for raw in parts:
        there = at_raw_name(w.connection, directory.id, raw)
        node = next((place.node for place in there if place.node.kind.is_directory), None)
        if node is None:
            node = add(w, directory, raw, Kind.DIRECTORY, 0o755)
        directory = Directory(node.id, Kind.DIRECTORY, top.id, 1)
    return directory

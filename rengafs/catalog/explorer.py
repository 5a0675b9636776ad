"""The original API's vertices, made of the catalog's rows. Reads only."""

from collections.abc import Iterator, Sequence
from typing import Any

from msgspec.structs import replace
from sqlalchemy import Connection, Row, Select, select

from rengafs.catalog.original import bucket_name, file_name, labels_of
from rengafs.catalog.saving import version_row
from rengafs.catalog.schema import edges, labels, nodes, versions
from rengafs.protocol import vertices
from rengafs.protocol.errors import NotFound
from rengafs.protocol.names import join_path, to_wire
from rengafs.protocol.records import ROOT, Kind
from rengafs.protocol.vertices import Vertex


def list_buckets(connection: Connection) -> list[Vertex]:
    """Return all buckets, by name, then age."""
    query = (
        _nodes(edges.c.name)
        .join(edges, edges.c.node == nodes.c.id)
        .where(edges.c.parent == ROOT, edges.c.until.is_(None))
        .order_by(edges.c.name, edges.c.id)
    )
    rows = connection.execute(query).all()
    known = _labels(connection, [row.id for row in rows])
    return [_bucket(row, to_wire(row.name), known.get(row.id, [])) for row in rows]


def get_bucket(connection: Connection, number: int) -> Vertex:
    """Return a live bucket. Raises `NotFound`."""
    row = connection.execute(_nodes().where(nodes.c.id == number)).first()
    if row is None or row.kind != Kind.BUCKET or not row.links:
        raise NotFound(f"there is no bucket {number}", bucket=number)
    return _bucket(row, bucket_name(connection, number), labels_of(connection, number))


def list_files(connection: Connection, number: int) -> list[Vertex]:
    """Return the files of a bucket, each once, under its eldest name. Raises `NotFound`."""
    get_bucket(connection, number)
    query = (
        _nodes(edges.c.id.label("edge"), edges.c.parent, edges.c.name)
        .join(edges, edges.c.node == nodes.c.id)
        .where(nodes.c.bucket == number, edges.c.until.is_(None))
        .order_by(edges.c.id)
    )
    rows = connection.execute(query).all()
    paths = _Paths(number, rows)
    eldest: dict[int, Row[Any]] = {}
    for row in rows:
        if row.kind == Kind.FILE:
            eldest.setdefault(row.id, row)
    known = _labels(connection, list(eldest))
    return [_file(row, join_path(paths.of(row)), known.get(row.id, [])) for row in eldest.values()]


def get_file(connection: Connection, number: int) -> Vertex:
    """Return a file, or one of its versions. Raises `NotFound`."""
    version = version_row(connection, number)
    if version is not None:
        return _version(version, file_name(connection, version.file))
    row = connection.execute(_nodes().where(nodes.c.id == number)).first()
    if row is None or row.kind != Kind.FILE:
        raise NotFound(f"there is no file {number}", file=number)
    return _file(row, file_name(connection, number), labels_of(connection, number))


def list_versions(connection: Connection, number: int) -> list[Vertex]:
    """Return the versions of a file, oldest first. Raises `NotFound`."""
    get_file(connection, number)
    name = file_name(connection, number)
    query = (
        select(versions)
        .where(versions.c.file == number, versions.c.hidden == "")
        .order_by(versions.c.id)
    )
    return [_version(row, name) for row in connection.execute(query)]


class _Paths:
    """Paths inside a bucket, from all of its live edges at once."""

    def __init__(self, bucket: int, rows: Sequence[Row[Any]]) -> None:
        self._bucket = bucket
        self._above = {
            row.id: (row.parent, row.name) for row in rows if Kind(row.kind).is_directory
        }

    def of(self, row: Row[Any]) -> list[bytes]:
        return [*reversed([row.name, *self._climb(row.parent)])]

    def _climb(self, number: int) -> Iterator[bytes]:
        while number != self._bucket and number in self._above:
            number, name = self._above[number]
            yield name


def _nodes(*more: Any) -> Select[Any]:
    n = nodes.c
    return select(n.id, n.kind, n.owner, n.created_ms, n.backend, n.links, *more)


def _labels(connection: Connection, numbers: list[int]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for start in range(0, len(numbers), 500):
        query = select(labels).where(labels.c.node.in_(numbers[start : start + 500]))
        for row in connection.execute(query.order_by(labels.c.label)):
            found.setdefault(row.node, []).append(row.label)
    return found


def _bucket(row: Row[Any], name: str, given: list[str]) -> Vertex:
    return _labelled(
        vertices.make(
            row.id,
            vertices.BUCKET,
            {
                "resource:bucket_name": name,
                "resource:bucket_backend": row.backend,
                "resource:bucket_backend_id": str(row.id),
                "resource:owner": row.owner,
                "system:creation_time": row.created_ms,
            },
        ),
        given,
    )


def _file(row: Row[Any], name: str, given: list[str]) -> Vertex:
    return _labelled(
        vertices.make(
            row.id,
            vertices.FILE,
            {
                "resource:file_name": name,
                "resource:owner": row.owner,
                "system:creation_time": row.created_ms,
            },
        ),
        given,
    )


def _version(row: Row[Any], name: str) -> Vertex:
    return vertices.make(
        row.id,
        vertices.FILE_VERSION,
        {
            "resource:file_name": name,
            "resource:owner": row.author,
            "system:creation_time": row.created_ms,
        },
    )


def _labelled(vertex: Vertex, given: list[str]) -> Vertex:
    if not given:
        return vertex
    # A "list", not a "set": the original SDK sends it back as JSON, which has no sets.
    one = "resource:labels"
    values = [vertices.Value(one, "string", label) for label in given]
    more = vertices.Property(one, "string", "list", values)
    return replace(vertex, properties=[*vertex.properties, more])

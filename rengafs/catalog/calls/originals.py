"""The calls of the original API."""

from rengafs.catalog import explorer, nodes, original, saving
from rengafs.catalog.calls.transactions import Transactions
from rengafs.catalog.values import Actor
from rengafs.protocol.endpoints import CopyFile, CreateBucket, CreateFile, Metadata
from rengafs.protocol.errors import NotFound
from rengafs.protocol.records import Kind
from rengafs.protocol.vertices import Vertex


class Originals(Transactions):
    """Buckets and files as the original SDK knows them."""

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

"""The tree, now and then, and the feed of its changes: calls that change nothing."""

from collections.abc import Collection, Sequence

from rengafs.catalog import (
    comparing,
    feed,
    history,
    lasting,
    logbook,
    marking,
    nodes,
    places,
    saving,
)
from rengafs.catalog.calls.transactions import Transactions
from rengafs.catalog.values import Content
from rengafs.protocol.errors import NotFound, Pruned, RengafsError
from rengafs.protocol.names import from_wire
from rengafs.protocol.records import (
    Change,
    Difference,
    Entry,
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


class Views(Transactions):
    """The tree and its history, as they are read."""

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

    def log(self, path: str, *, before: int = 0, limit: int = 1000, user: int | None = None) -> Log:
        """Return what happened to a path and below it, newest first, as a user may see it.

        Raises `NotFound`.
        """
        with self._database.read() as connection:
            return logbook.log_of(connection, path, before=before, limit=limit, user=user)

    def last_there(self, path: str, user: int | None = None) -> Moment:
        """Return when a deleted path was whole last. Raises `NotFound`, `BadRequest`."""
        with self._database.read() as connection:
            return lasting.last_there(connection, path, user)

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

    def contents(self, numbers: Sequence[int]) -> dict[int, Content | RengafsError]:
        """Return where the bytes of many versions lie, or why they do not."""
        found: dict[int, Content | RengafsError] = {}
        with self._database.read() as connection:
            for number in numbers:
                try:
                    found[number] = saving.get_content(connection, number)
                except (NotFound, Pruned) as error:
                    found[number] = error
        return found

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

    def usage(self, buckets: Collection[int] | None = None) -> Usage:
        """Return the running sums of some buckets; None: of all."""
        with self._database.read() as connection:
            return feed.usage(connection, buckets)

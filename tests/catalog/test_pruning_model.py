"""Whatever was done and whatever the rule: a prune takes just what no kept moment shows."""

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st
from support.catalogs import Desk, open_desk
from support.scale import scaled

from rengafs.protocol.errors import Pruned, RengafsError
from rengafs.protocol.operations import PutLabel, SetRetention, Unlink
from rengafs.protocol.records import Kind, Node
from rengafs.protocol.retention import DAY_MS, Every, end_of, parse_rule

# No sums of these are whole days: nothing happens just at the edge of a span.
STEPS = st.sampled_from([0.0123, 0.0567, 0.3217, 0.8713, 3.1931, 11.1373, 45.7177])
NAMES = st.sampled_from(["a", "b", "d/a"])
ACTS = st.sampled_from(["save", "save", "save", "unlink", "rename", "label", "superseded"])
RULES = st.sampled_from(
    [
        "all for 30 days, daily for a year, monthly",
        "all for 3 days",
        "daily for 40 days, weekly for 3 months, then nothing",
        "weekly for 60 days, monthly",
        "all for 2 days, yearly",
    ]
)


class Story:
    """A bucket, and what a reader of its rule remembers."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.bucket = desk.bucket()
        self.directory = desk.directory(self.bucket, "d")
        self.shown: list[tuple[int, int, frozenset[int]]] = []
        """(change, moment, versions that the tree showed from then on)."""
        self.labelled: list[int] = []
        self.count = 0

    def act(self, what: str, name: str, other: str) -> None:
        self.count += 1
        try:
            self._act(what, name, other)
        except RengafsError:
            return

    def _act(self, what: str, name: str, other: str) -> None:
        parent, last = self._place(name)
        if what in ("save", "superseded"):
            try:
                file = self.desk.catalog.entry(parent.id, last).node
            except RengafsError:
                file = self.desk.file(parent, last)
                self.remember()
            handle = "h" if what == "superseded" else ""
            # Few contents, so that blobs are shared.
            self.desk.save(file, f"{self.count % 3}", handle=handle)
        elif what == "unlink":
            self.desk.do(Unlink(parent=parent.id, name=last))
        elif what == "rename":
            into, new = self._place(other)
            self.desk.rename(parent, last, new, into=into)
        else:
            self.desk.do(PutLabel(bucket=self.bucket.id, name=f"l{self.count}"))
            self.labelled.append(self.desk.catalog.labels(self.bucket.id)[-1].change)
        self.remember()

    def remember(self) -> None:
        change = self.desk.catalog.last_change()
        moment = self.desk.catalog.changes_after(change - 1)[0].at_ms
        shown = frozenset(self.tree().values())
        if self.shown and self.shown[-1][0] == change:
            self.shown.pop()
        self.shown.append((change, moment, shown))

    def tree(self, at: int | None = None) -> dict[str, int]:
        """Return path to version of all files that were saved."""
        found = {}
        for prefix, directory in (("", self.bucket), ("d/", self.directory)):
            for entry in self.desk.catalog.entries(directory.id, at=at).entries:
                if entry.node.kind is Kind.FILE and entry.node.version is not None:
                    found[prefix + entry.name] = entry.node.version
        return found

    def kept(self, rule: str, now_ms: int) -> set[int]:
        """Return the versions that a kept moment shows, by trying all moments."""
        if not self.shown:
            return set()
        clauses = parse_rule(rule).clauses
        moments = [self._as_of_change(change) for change in self.labelled]
        since = now_ms - DAY_MS
        if clauses[0].every is Every.ALL and clauses[0].for_ms is not None:
            since = min(since, now_ms - clauses[0].for_ms)
        for index, (_, _, shown) in enumerate(self.shown):
            ends = self.shown[index + 1][1] if index + 1 < len(self.shown) else now_ms + 1
            if ends > since:
                moments.append(shown)
        start = now_ms + 1
        for index, clause in enumerate(clauses):
            end = 0 if clause.for_ms is None else now_ms - clause.for_ms
            for every in {later.every for later in clauses[index:]} - {Every.ALL}:
                moment = end_of(every, max(end, self.shown[0][1]))
                while moment < start:
                    moments.append(self._as_of_moment(moment))
                    moment = end_of(every, moment + 1)
            start = end
        return set().union(*moments)

    def _as_of_change(self, change: int) -> frozenset[int]:
        return next((shown for at, _, shown in reversed(self.shown) if at <= change), frozenset())

    def _as_of_moment(self, moment: int) -> frozenset[int]:
        return next((shown for _, at, shown in reversed(self.shown) if at <= moment), frozenset())

    def _place(self, name: str) -> tuple[Node, str]:
        parent = self.directory if name.startswith("d/") else self.bucket
        return parent, name.rpartition("/")[2]


@settings(database=None, max_examples=scaled(15, 300), deadline=None)
@given(
    acts=st.lists(st.tuples(STEPS, ACTS, NAMES, NAMES), min_size=3, max_size=25),
    rule=RULES,
    then=STEPS,
)
def test_a_prune_takes_just_what_no_kept_moment_shows(
    acts: list[tuple[float, str, str, str]], rule: str, then: float
) -> None:
    with TemporaryDirectory() as place, open_desk(Path(place)) as desk:
        story = Story(desk)
        for days, what, name, other in acts:
            desk.clock.now_ns += int(days * DAY_MS * 1_000_000)
            story.act(what, name, other)
        desk.clock.now_ns += int(then * DAY_MS * 1_000_000)
        trees = {change: story.tree(change) for change, *_ in story.shown}
        everything = set().union(*(shown for *_, shown in story.shown))
        desk.do(SetRetention(bucket=story.bucket.id, rule=rule))
        expected = story.kept(rule, desk.clock.now_ns // 1_000_000)

        under_way = desk.catalog.begin_prune(story.bucket.id, 0)
        while not under_way.finished:
            desk.catalog.prune_piece(desk.actor, under_way)

        assert {number for number in everything if readable(desk, number)} == expected
        assert desk.catalog.sums_agree()
        # The tree of then is seen as it was, whatever can be read of it.
        assert {change: story.tree(change) for change in trees} == trees
        keys = {known.blob.key for known in desk.catalog.blobs(0, 1000)}
        needed = {
            content.blob.key
            for content in map(desk.catalog.content, expected)
            if content.blob is not None
        }
        assert keys == needed


def readable(desk: Desk, number: int) -> bool:
    try:
        desk.catalog.content(number)
    except Pruned:
        return False
    return True

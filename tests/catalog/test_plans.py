"""The present is not slowed by the past: which index SQLite takes for what is asked most."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from support.catalogs import Desk, open_desk


@pytest.mark.parametrize("reopened", [False, True])
def test_the_live_tree_is_read_through_the_index_of_the_living(
    tmp_path: Path, reopened: bool
) -> None:
    with open_desk(tmp_path) as desk:
        bucket = desk.bucket()
        for name in "abc":
            desk.file(bucket, name, name)
        if not reopened:
            assert_live_plans(desk, bucket.id)
    if reopened:
        with open_desk(tmp_path) as desk:
            assert_live_plans(desk, bucket.id)


def assert_live_plans(desk: Desk, directory: int) -> None:
    plans: list[str] = []

    def explain(_: Any, cursor: Any, statement: str, parameters: Any, *_rest: Any) -> None:
        if statement.startswith("SELECT") and "edges" in statement:
            own = cursor.connection.cursor()
            own.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            plans.extend(row[3] for row in own.fetchall())

    engine = desk.catalog._database.engine
    event.listen(engine, "before_cursor_execute", explain)
    desk.catalog.entry(directory, "b")
    desk.catalog.entries(directory)
    desk.catalog.entries(directory, after="a")
    event.remove(engine, "before_cursor_execute", explain)

    of_edges = [plan for plan in plans if " edges " in plan]
    assert len(of_edges) == 4  # the cursor of the second page is looked up
    assert all("edges_live" in plan for plan in of_edges), of_edges

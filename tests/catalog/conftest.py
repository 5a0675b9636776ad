from collections.abc import Iterator
from pathlib import Path

import pytest
from support.catalogs import Desk, open_desk


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A catalog with nothing in it."""
    with open_desk(tmp_path, backends=("local", "other")) as desk:
        yield desk

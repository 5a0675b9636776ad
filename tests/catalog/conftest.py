from collections.abc import Iterator
from pathlib import Path

import pytest
from support.catalogs import Desk, open_desk


@pytest.fixture(params=["sqlite", "postgresql"])
def catalog_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where a catalog of one's own may be made: on both databases, one after the other."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'catalog.sqlite'}"
        return
    with request.getfixturevalue("postgresql").catalog() as url:
        yield url


@pytest.fixture
def desk(catalog_url: str, tmp_path: Path) -> Iterator[Desk]:
    """A catalog with nothing in it."""
    with open_desk(tmp_path, catalog_url, backends=("local", "other")) as desk:
        yield desk

"""The running sums of buckets: kept along, and counted when a catalog of before has none."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from support.catalogs import open_desk

import rengafs.catalog
from rengafs.catalog.catalog import open_catalog
from rengafs.catalog.database import open_database


def test_a_catalog_of_before_the_sums_is_counted(catalog_url: str, tmp_path: Path) -> None:
    with open_desk(tmp_path, catalog_url) as desk:
        one, empty = desk.bucket("one"), desk.bucket("empty")
        desk.file(one, "f", "12345", "123")
        desk.file(one, "gone", "1")
        desk.unlink(one, "gone")
        desk.file(one, "new")
    database = open_database(catalog_url)
    config = Config()
    place = Path(rengafs.catalog.__file__).parent / "migrations"
    config.set_main_option("script_location", str(place))
    with database.write() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0005")
    database.close()

    catalog = open_catalog(catalog_url)
    try:
        assert catalog.sums_agree()
        usage = catalog.usage([one.id])
        assert (usage.live_bytes, usage.history_bytes, usage.files) == (3, 6, 2)
        assert catalog.usage([empty.id]).files == 0
        catalog.set_quota(empty.id, 5)
        assert catalog.usage([empty.id]).quota_bytes == 5
    finally:
        catalog.close()

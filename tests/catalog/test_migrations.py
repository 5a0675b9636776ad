"""A catalog of an earlier version keeps its owners."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import text

import rengafs.catalog
from rengafs.catalog.catalog import open_catalog
from rengafs.catalog.database import open_database
from rengafs.catalog.values import Member

BUCKETS = [(300, "ann", 2), (301, "nobody", 2), (302, "bob", 0)]


def test_whoever_made_a_bucket_owns_it_and_the_embedded_user_may_everything(
    catalog_url: str,
) -> None:
    database = open_database(catalog_url)
    config = Config()
    place = Path(rengafs.catalog.__file__).parent / "migrations"
    config.set_main_option("script_location", str(place))
    with database.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0004")
        for number, name in enumerate(["ann", "bob", "embedded"], 280):
            values = {"id": number, "name": name}
            connection.execute(text("INSERT INTO users VALUES (:id, :name, 1)"), values)
            token = text("INSERT INTO tokens VALUES (:id, :id, :name, false, 1, NULL, NULL)")
            connection.execute(token, values)
        for number, owner, links in BUCKETS:
            connection.execute(
                text("INSERT INTO nodes VALUES (:id,'bucket',:id,1,:owner,0,NULL,'local',:links)"),
                {"id": number, "owner": owner, "links": links},
            )
    database.close()

    catalog = open_catalog(catalog_url)
    try:
        assert catalog.members() == [Member(300, "ann", "owner")]
        assert catalog.visible(281) == {302}
    finally:
        catalog.close()

    database = open_database(catalog_url)
    with database.read() as connection:
        rows = connection.execute(text("SELECT name FROM users WHERE everywhere")).scalars().all()
    database.close()
    assert rows == ["embedded"]

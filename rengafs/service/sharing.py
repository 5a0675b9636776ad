"""Who may do what in which bucket, told and changed in the catalog itself.

A running service knows at once; no service need run.
"""

from dataclasses import dataclass

from rengafs.catalog.catalog import Catalog
from rengafs.catalog.values import Role
from rengafs.protocol.errors import NotFound
from rengafs.protocol.records import ROOT
from rengafs.service.run import ServeOptions
from rengafs.service.tokens import catalog_of


@dataclass(frozen=True, slots=True)
class Sharing:
    """A bucket, and its members' roles by their names."""

    bucket: int
    name: str
    members: dict[str, Role]
    live_bytes: int = 0
    all_bytes: int = 0
    """Past versions included."""
    quota_bytes: int | None = None


def list_sharing(options: ServeOptions) -> list[Sharing]:
    """Return all buckets, by name. Raises `SetupError`."""
    with catalog_of(options) as catalog:
        found: dict[int, dict[str, Role]] = {}
        for member in catalog.members():
            found.setdefault(member.bucket, {})[member.name] = member.role
        buckets: list[Sharing] = []
        after = ""
        while True:
            page = catalog.entries(ROOT, after=after)
            buckets += [
                _sharing(catalog, entry.node.id, entry.name, found) for entry in page.entries
            ]
            after = page.next
            if not after:
                return buckets


def set_role(options: ServeOptions, bucket: str, user: str, role: Role | None) -> None:
    """Make a user a member of a bucket, given by shown name or id; None: no longer.

    Raises `NotFound`, `SetupError`.
    """
    with catalog_of(options) as catalog:
        catalog.set_role(find_bucket(catalog, bucket), user, role)


def set_quota(options: ServeOptions, bucket: str, quota_bytes: int | None) -> None:
    """Bound what a bucket, given by shown name or id, may hold; None: no longer.

    Raises `NotFound`, `SetupError`.
    """
    with catalog_of(options) as catalog:
        catalog.set_quota(find_bucket(catalog, bucket), quota_bytes)


def _sharing(
    catalog: Catalog, bucket: int, name: str, members: dict[int, dict[str, Role]]
) -> Sharing:
    usage = catalog.usage([bucket])
    every = usage.live_bytes + usage.history_bytes
    return Sharing(
        bucket, name, members.get(bucket, {}), usage.live_bytes, every, usage.quota_bytes
    )


def find_bucket(catalog: Catalog, bucket: str) -> int:
    """Return the id of a bucket given by shown name or id. Raises `NotFound`."""
    try:
        return catalog.entry(ROOT, bucket).node.id
    except NotFound:
        if bucket.isdecimal():
            return int(bucket)
        raise NotFound(
            f"there is no bucket {bucket!r}; `rengafs bucket list` shows what there is"
        ) from None

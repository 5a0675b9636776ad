"""Keys of objects that another program stored, and that an adopted bucket shows.

``@CONTAINER/NAME?version=V&etag=E``, quoted as a URL is. Such an object is read while it is what
it was: its ETag tells. It is never listed, overwritten or deleted.
"""

from dataclasses import dataclass
from urllib.parse import parse_qs, quote, unquote, urlencode

SIGN = "@"
UNNAMED = "null"
"""What stores call the version from before they kept any, once there are others."""


@dataclass(frozen=True, slots=True)
class Found:
    """A stored version of an object, or that it was deleted."""

    name: str
    version: str
    etag: str
    size: int
    at: float
    """When it was stored: seconds since 1970."""
    latest: bool
    deleted: bool = False
    """It stands for a deletion."""
    place: tuple[str, str] | None = None
    """Container and name under which the store keeps it, where these are others."""
    fault: str = ""
    """Why it can't be read."""


@dataclass(frozen=True, slots=True)
class Foreign:
    """Where another program's object lies."""

    container: str
    name: str
    version: str
    """As the store calls it; empty: the store keeps no versions."""
    etag: str

    @property
    def key(self) -> str:
        """What the catalog keeps."""
        more = urlencode({"version": self.version, "etag": self.etag})
        return f"{SIGN}{quote(self.container, safe='')}/{quote(self.name)}?{more}"


def is_foreign(key: str) -> bool:
    """Whether a key is of another program's object."""
    return key.startswith(SIGN)


def parse(key: str) -> Foreign:
    """Return what a key tells."""
    path, _, query = key.removeprefix(SIGN).partition("?")
    container, _, name = path.partition("/")
    more = parse_qs(query, keep_blank_values=True)
    return Foreign(unquote(container), unquote(name), more["version"][0], more["etag"][0])

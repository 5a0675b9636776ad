"""The Swift that all work over, by its own API: what is in a container, and since when."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import httpx

STILL_SECONDS = 2.0
"""Nothing changed for so long, and the contender says that nothing waits: it is still."""
LOOK_SECONDS = 0.2
PIECE = 256 << 10

Listing = Mapping[str, tuple[str, int, str]]
"""Name to (hash, bytes, time of the last change)."""


@dataclass(frozen=True)
class Access:
    """How one comes to Swift, there or through a link."""

    address: str
    """``http://HOST:PORT``."""
    user: str
    key: str

    @property
    def auth_url(self) -> str:
        return f"{self.address}/auth/v1.0"


class Store:
    """Swift's own API, for one account."""

    def __init__(self, access: Access) -> None:
        self.access = access
        self._client = httpx.Client(timeout=120)
        answer = self._client.get(
            access.auth_url, headers={"x-auth-user": access.user, "x-auth-key": access.key}
        )
        answer.raise_for_status()
        self.url = answer.headers["x-storage-url"]
        self.headers = {"x-auth-token": answer.headers["x-auth-token"]}
        self._client.headers.update(self.headers)

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def make(self, container: str) -> None:
        self._client.put(f"{self.url}/{container}").raise_for_status()

    def sign_with(self, key: str) -> None:
        """Let the account's addresses be signed with a key: TempURL."""
        headers = {"x-account-meta-temp-url-key": key}
        self._client.post(self.url, headers=headers).raise_for_status()

    def put(self, container: str, name: str, data: bytes) -> None:
        # In pieces: httpcore copies what is left of one long piece at each write.
        view = memoryview(data)
        pieces = (bytes(view[at : at + PIECE]) for at in range(0, len(data), PIECE))
        self._client.put(
            f"{self.url}/{container}/{name}",
            content=pieces,
            headers={"content-length": str(len(data))},
        ).raise_for_status()

    def get(self, container: str, name: str) -> int:
        """Read an object to its end; return its length."""
        total = 0
        with self._client.stream("GET", f"{self.url}/{container}/{name}") as answer:
            answer.raise_for_status()
            for piece in answer.iter_bytes():
                total += len(piece)
        return total

    def listing(self, container: str) -> Listing:
        found: dict[str, tuple[str, int, str]] = {}
        marker = ""
        while True:
            answer = self._client.get(
                f"{self.url}/{container}",
                params={"format": "json", "limit": 10_000, "marker": marker},
            )
            answer.raise_for_status()
            page = answer.json() if answer.content else []
            for entry in page:
                if "name" in entry:
                    told = (entry["hash"], entry["bytes"], entry["last_modified"])
                    found[entry["name"]] = told
                    marker = entry["name"]
            if len(page) < 10_000:
                return found

    def still(
        self, container: str, expected: Callable[[Listing], bool], waiting: Callable[[], int]
    ) -> float:
        """Wait until a container has what is *expected* and changes no more.

        Return the moment (`time.perf_counter`) of the look that first showed it as it stays.
        *waiting* tells how much the contender says it still has to send.
        """
        last, since = None, time.perf_counter()
        while True:
            seen = time.perf_counter()
            listing = self.listing(container)
            if listing != last or waiting():
                last, since = listing, seen
            elif seen - since >= STILL_SECONDS and expected(listing):
                return since
            time.sleep(LOOK_SECONDS)

"""`Account`: requests for the containers and objects of an account, with its token."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from rengafs.backends.patience import Patience
from rengafs.backends.sending import Body
from rengafs.backends.swift.access import Access, Entrance
from rengafs.backends.swift.asking import Answer, Asker
from rengafs.backends.swift.errors import told, translated

PAGE = 10_000
"""Objects that one answer lists; fewer where the store allows only that."""


def moment(text: str) -> float:
    """Return a time of a listing, in seconds since 1970."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


class Account:
    """See the module. An answer is not judged unless a method says so."""

    def __init__(self, entrance: Entrance, asker: Asker) -> None:
        self._entrance = entrance
        self._asker = asker
        self.patience = Patience()
        self.page_items = PAGE
        """The most that is asked for in one page of a listing."""

    async def put(
        self,
        container: str,
        name: str,
        headers: dict[str, str],
        content: Body | bytes = b"",
        *,
        seconds: float | None = None,
        query: dict[str, str] | None = None,
    ) -> Answer:
        """Carry out a PUT; make the container if it is not there yet. Raises what Swift tells."""

        async def put() -> Answer:
            return await self.request(
                "PUT", container, name, headers, content, query, seconds=seconds, read=True
            )

        answer = await put()
        if answer.status == 404:
            await self.make_container(container)
            answer = await put()
        if not answer.good:
            raise told(f"the blob {name}", answer.status, answer.text)
        return answer

    async def delete(self, container: str, name: str) -> None:
        """Remove an object, if it is there; a manifest without its segments."""
        answer = await self.request("DELETE", container, name)
        if not answer.good and answer.status != 404:
            raise told(f"the blob {name}", answer.status, "")

    async def make_container(self, container: str) -> None:
        """Make a container, if it is not there."""
        answer = await self.request("PUT", container, headers={"content-length": "0"}, read=True)
        if not answer.good:
            raise told(f"the container {container}", answer.status, answer.text)

    async def listing(
        self, container: str, prefix: str = "", *, versions: bool = False
    ) -> AsyncIterator[dict[str, Any]]:
        """Yield what a container lists, by name; nothing if it is not there.

        :param versions: old versions and deletions too.
        """
        query = {"format": "json", "limit": str(self.page_items), "prefix": prefix, "marker": ""}
        if versions:
            query["versions"] = "true"
        while True:
            items = await self.patience.insist(lambda: self._page(container, query), container)
            for item in items:
                yield item
            if not items:
                return
            query["marker"] = items[-1]["name"]
            if versions:
                query["version_marker"] = items[-1]["version_id"]

    async def _page(self, container: str, query: dict[str, str]) -> Any:
        answer = await self.request("GET", container, query=query, read=True)
        if not answer.good and answer.status != 404:  # that is: nothing was stored yet
            raise told(f"the container {container}", answer.status, answer.text)
        return answer.json() if answer.good and answer.body else []

    async def manifest(self, container: str, name: str) -> bytes | None:
        """Return the raw manifest of a static large object; None: the object is none.

        Raises `Corrupt` if there is no such object.
        """
        query = {"multipart-manifest": "get", "format": "raw"}
        async with self.streamed("GET", container, name, query=query) as answer:
            if not answer.good:
                raise told(f"the blob {name}", answer.status, "")
            if answer.headers.get("x-static-large-object", "").lower() != "true":
                return None
            with translated(f"{container}/{name}"):
                await answer.read()
        return answer.body

    async def request(
        self,
        method: str,
        container: str,
        name: str = "",
        headers: dict[str, str] | None = None,
        content: Body | bytes | None = None,
        query: dict[str, str] | None = None,
        *,
        seconds: float | None = None,
        read: bool = False,
    ) -> Answer:
        """Carry out a request. The body of the answer is read only where it is wanted."""
        async with self.streamed(
            method, container, name, headers, query, content, seconds
        ) as answer:
            if read or not answer.good:
                with translated(f"{container}/{name}"):
                    await answer.read()
        return answer

    @asynccontextmanager
    async def streamed(
        self,
        method: str,
        container: str,
        name: str = "",
        headers: dict[str, str] | None = None,
        query: dict[str, str] | None = None,
        content: Body | bytes | None = None,
        seconds: float | None = None,
    ) -> AsyncIterator[Answer]:
        """Send a request; with a new token, once, if ours is refused."""
        what = f"{container}/{name}"
        access: Access | None = None
        for last in (False, True):
            access = await self._entrance.access(refused=access)
            url = access.storage_url + (f"/{quote(container, safe='')}" if container else "")
            async with self._asker.asked(
                method,
                url + (f"/{quote(name)}" if name else ""),
                headers={**(headers or {}), "x-auth-token": access.token},
                query=query,
                body=content,
                seconds=seconds,
                what=what,
            ) as answer:
                if answer.status == 401 and not last:
                    continue
                yield answer
                return

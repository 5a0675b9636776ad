"""Getting into Swift: a storage URL and a token, by auth v1 or Keystone v3, renewed in time."""

import asyncio
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from rengafs.backends.swift.asking import Asker
from rengafs.backends.swift.errors import told, translated
from rengafs.protocol.errors import BackendRefused

RENEW_SECONDS = 60.0
"""A token is renewed so long before it ends."""
ENTER_SECONDS = 30.0
"""Longest wait for a token, however little of the answer comes at a time."""
DEFAULT_SECONDS = 3600.0
"""Of a token that does not tell when it ends; a refused one is renewed in any case."""


@dataclass(frozen=True, slots=True)
class Access:
    """What every request needs."""

    storage_url: str
    token: str = field(repr=False)
    until: float
    """By `time.time`."""


class Login(ABC):
    """A way to get in."""

    @abstractmethod
    async def enter(self, asker: Asker) -> Access:
        """Ask for a token. Raises `BackendRefused`, `Unavailable`."""


@dataclass(frozen=True, slots=True)
class AuthV1(Login):
    """Swift's own: TempAuth, swauth."""

    url: str
    user: str
    key: str = field(repr=False)

    async def enter(self, asker: Asker) -> Access:
        """Ask for a token."""
        headers = {"x-auth-user": self.user, "x-auth-key": self.key}
        answer = await asker.ask("GET", self.url, headers=headers, what="a token")
        if not answer.good or "x-storage-url" not in answer.headers:
            raise told("a token", answer.status, answer.text)
        lasts = answer.headers.get("x-auth-token-expires", "")
        seconds = float(lasts) if lasts.isdecimal() else DEFAULT_SECONDS
        return Access(
            answer.headers["x-storage-url"].rstrip("/"),
            answer.headers["x-auth-token"],
            time.time() + seconds,
        )


@dataclass(frozen=True, slots=True)
class KeystoneV3(Login):
    """OpenStack's identity service: a user with a password, or an application credential."""

    url: str
    """Ends in ``/v3``."""
    user: str = ""
    password: str = field(default="", repr=False)
    user_domain: str = "Default"
    project: str = ""
    project_domain: str = "Default"
    credential_id: str = ""
    credential_secret: str = field(default="", repr=False)
    region: str = ""
    interface: str = "public"

    async def enter(self, asker: Asker) -> Access:
        """Ask for a token, and find the object store in its catalog."""
        answer = await asker.ask(
            "POST",
            f"{self.url.rstrip('/')}/auth/tokens",
            headers={"content-type": "application/json"},
            body=msgspec.json.encode(self._asked()),
            what="a token",
        )
        if not answer.good or "x-subject-token" not in answer.headers:
            raise told("a token", answer.status, answer.text)
        try:
            token = answer.json()["token"]
            until = datetime.fromisoformat(token["expires_at"]).timestamp()
            url = self._find(token.get("catalog", []))
        except (ValueError, KeyError, TypeError) as error:
            raise BackendRefused(f"{self.url} does not answer as Keystone v3 does") from error
        return Access(url.rstrip("/"), answer.headers["x-subject-token"], until)

    def _asked(self) -> dict[str, Any]:
        if self.credential_id:
            credential = {"id": self.credential_id, "secret": self.credential_secret}
            identity: dict[str, Any] = {
                "methods": ["application_credential"],
                "application_credential": credential,
            }
            return {"auth": {"identity": identity}}
        user = {
            "name": self.user,
            "domain": {"name": self.user_domain},
            "password": self.password,
        }
        project = {"name": self.project, "domain": {"name": self.project_domain}}
        identity = {"methods": ["password"], "password": {"user": user}}
        return {"auth": {"identity": identity, "scope": {"project": project}}}

    def _find(self, catalog: list[dict[str, Any]]) -> str:
        for service in catalog:
            if service["type"] != "object-store":
                continue
            for endpoint in service["endpoints"]:
                here = self.region in ("", endpoint.get("region"), endpoint.get("region_id"))
                if endpoint["interface"] == self.interface and here:
                    return str(endpoint["url"])
        raise BackendRefused(
            f"Keystone knows no {self.interface} object store"
            + (f" in the region {self.region}" if self.region else "")
        )


class Entrance:
    """The present access, asked for once and renewed when it ends or is refused."""

    def __init__(self, login: Login, asker: Asker) -> None:
        self._login = login
        self._asker = asker
        self._access: Access | None = None
        self._entering: asyncio.Task[Access] | None = None

    async def access(self, *, refused: Access | None = None) -> Access:
        """Return access that holds. *refused*: what was tried just now, in vain.

        All who wait share one attempt, and its failure. Raises `BackendRefused`, `Unavailable`.
        """
        access = self._access
        if access and access is not refused and access.until - RENEW_SECONDS > time.time():
            return access
        if self._entering is None:
            self._entering = asyncio.ensure_future(self._enter())
            self._entering.add_done_callback(self._entered)
        # Who gives up waiting does not end it for the others.
        return await asyncio.shield(self._entering)

    async def aclose(self) -> None:
        """End an attempt for which nobody waits any more."""
        if self._entering is not None:
            self._entering.cancel()
            await asyncio.wait([self._entering])

    async def _enter(self) -> Access:
        with translated("a token"):
            async with asyncio.timeout(ENTER_SECONDS):
                return await self._login.enter(self._asker)

    def _entered(self, entering: asyncio.Task[Access]) -> None:
        self._entering = None
        # Asked for an error in any case, or asyncio tells of it that nobody did.
        if not entering.cancelled() and entering.exception() is None:
            self._access = entering.result()

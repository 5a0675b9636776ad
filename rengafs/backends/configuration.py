"""The file that names a service's backends, in TOML. Secrets are not in it, but pointed to.

    default = "swift-zurich"

    [backends.swift-zurich]
    kind = "swift"
    container = "rengafs"
    …

A secret is ``env:NAME`` or ``file:PATH``; it is read when the backend is opened, and stays
in memory. ``local`` is there also where no file names it, in the service's data directory.
"""

import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from rengafs.backends.base import Backend
from rengafs.backends.definitions import Definition, Local, Swift
from rengafs.backends.local.backend import open_local
from rengafs.backends.wrapping import wrapped
from rengafs.protocol.errors import BadSetting, SetupError

LOCAL = "local"


SECRETS = frozenset(
    {"access_key", "secret_key", "session_token", "key", "credential_secret", "tempurl_key"}
)
PLAIN_SECRETS = frozenset({"access_key"})
"""Those that are names rather than secrets: they may also stand in the file."""


def _path(kind: type, value: object) -> object:
    """Return what TOML has no word for."""
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise NotImplementedError(f"{kind} is not read from a file")


class _File(msgspec.Struct, forbid_unknown_fields=True):
    default: str = ""
    backends: dict[str, Definition] = {}


@dataclass(frozen=True, slots=True)
class Configuration:
    """The backends of a service, by name."""

    definitions: Mapping[str, Definition]
    """Without ``local`` in the service's data, which needs none."""
    default: str = LOCAL

    @property
    def names(self) -> tuple[str, ...]:
        """All names, the default first."""
        rest = [name for name in (LOCAL, *self.definitions) if name != self.default]
        return (self.default, *dict.fromkeys(rest))

    def parked_seconds(self, name: str) -> float:
        """Return how long small blobs of a backend stay in the catalog."""
        return float(getattr(self.definitions.get(name), "parked_seconds", 0))

    def open(self, data: Path, owner: str) -> dict[str, Backend]:
        """Open all of them. *data* is where ``local`` lies, *owner* the catalog.

        Nothing is asked of a store yet. Raises `SetupError`.
        """
        return {name: self._open(name, data, owner) for name in self.names}

    def _open(self, name: str, data: Path, owner: str) -> Backend:
        definition = self.definitions.get(name) or Local(data)
        if isinstance(definition, Local):
            return wrapped(open_local(definition.directory.absolute(), owner=owner, name=name))
        # Imported here: a service on local disk need not load two HTTP stacks.
        from rengafs.backends.opening import open_remote

        return open_remote(name, definition, resolver(name))


def load(path: Path | None) -> Configuration:
    """Read the file; without one there is ``local`` alone. Raises `SetupError`."""
    if path is None:
        return Configuration({})
    try:
        found = msgspec.convert(tomllib.loads(path.read_text()), _File, dec_hook=_path)
    except OSError as error:
        raise BadSetting(f"the backends' file {path} can't be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise BadSetting(f"the backends' file {path} is not right: {error}") from None
    default = found.default or next(iter(found.backends), LOCAL)
    known = {LOCAL, *found.backends}
    if default not in known:
        raise BadSetting(
            f"{path}: the default {default!r} is none of its backends ({', '.join(sorted(known))})"
        )
    for name, definition in found.backends.items():
        _check(path, name, definition)
    return Configuration(found.backends, default)


def _check(path: Path, name: str, definition: Definition) -> None:
    if not name or not name.isprintable() or "/" in name:
        raise BadSetting(f"{path}: {name!r} can't be the name of a backend")
    for option in SECRETS - PLAIN_SECRETS:
        value = getattr(definition, option, "")
        if value and not value.startswith(("env:", "file:")):
            raise BadSetting(
                f"{path}: {name}.{option} is a secret; write env:NAME or file:PATH instead"
            )
    if isinstance(definition, Swift):
        _check_swift(path, name, definition)


def _check_swift(path: Path, name: str, definition: Swift) -> None:
    if definition.auth == "v3" and definition.credential_id:
        return
    if not (definition.user and definition.key):
        raise BadSetting(f"{path}: {name} needs user and key")
    if definition.auth == "v3" and not definition.project:
        raise BadSetting(f"{path}: {name} needs a project, or credential_id for Keystone")


def resolver(name: str, environment: Mapping[str, str] = os.environ) -> Callable[[str], str]:
    """Return what finds secrets out. It raises `SetupError`."""

    def resolve(text: Any) -> str:
        kind, _, rest = str(text).partition(":")
        if kind == "env":
            if not environment.get(rest):
                raise SetupError(f"the backend {name} needs the environment variable {rest}")
            return environment[rest]
        if kind == "file":
            try:
                return Path(rest).read_text().strip()
            except OSError as error:
                raise SetupError(
                    f"the backend {name} needs the file {rest}: {error.strerror}"
                ) from None
        return str(text)

    return resolve

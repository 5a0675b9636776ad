"""The configuration file: services by name, and the options of commands.

    endpoint = "institute"               # what is meant where nothing else is said

    [endpoints.institute]
    url = "https://buckets.example.org"
    token-file = "~/token"               # unless `rengafs login` keeps the token

    [mount]                              # options of `rengafs mount`, by their long names
    cache-size = "20G"

Tables other than ``endpoints`` are for the command line, which knows the options.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import platformdirs

from rengafs.protocol.errors import BadSetting, SetupError

if TYPE_CHECKING:
    from tomlkit import TOMLDocument

FILE_VARIABLE = "RENGAFS_CONFIG"
EMBEDDED = "embedded"
"""The name of the service that the command line starts by itself; no other may bear it."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_TOP = ("endpoint", "endpoints")


class KnownEndpoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """A service that has a name."""

    url: str
    token_file: str = ""
    """Where its token is; empty: `rengafs login` keeps it."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What the file says. An absent file says nothing."""

    file: Path
    endpoint: str = ""
    """The name or the address that is meant where nothing else is said."""
    endpoints: dict[str, KnownEndpoint] = {}
    commands: dict[str, dict[str, Any]] = {}
    """Options by command, both as they are spelled in the file."""

    def address(self, text: str) -> str:
        """Return the address that *text*, a name or an address itself, means.

        Raises `SetupError` for a name that is not known.
        """
        known = self.endpoints.get(text)
        if known is not None:
            return known.url
        if _NAME.fullmatch(text) and "." not in text and text != "localhost":
            names = ", ".join(sorted(self.endpoints)) or "none"
            raise BadSetting(
                f"no endpoint {text!r} is configured (there is: {names}); write an address like "
                f"https://HOST, or add one with: rengafs login URL --name {text}"
            )
        return text

    def named(self, address: str) -> tuple[str, KnownEndpoint] | None:
        """Return the name of the service at *address*, and what is known of it."""
        wanted = plain(address)
        pairs = self.endpoints.items()
        return next((pair for pair in pairs if plain(pair[1].url) == wanted), None)


def plain(address: str) -> str:
    """Return *address* as it is compared."""
    return address.rstrip("/")


def settings_file(environment: Mapping[str, str] = os.environ) -> Path:
    """Return where the configuration is, or would be."""
    given = environment.get(FILE_VARIABLE, "")
    return Path(given) if given else Path(platformdirs.user_config_dir("rengafs"), "config.toml")


def read_settings(file: Path) -> Settings:
    """Return what *file* says. Raises `SetupError`, naming file and place, if it can't be."""
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Settings(file=file)
    except OSError as error:
        raise SetupError(f"can't read the configuration {file} ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadSetting(f"the configuration {file} is not TOML: {error}") from None
    commands = {name: value for name, value in data.items() if name not in _TOP}
    try:
        settings = msgspec.convert(
            {
                "file": file,
                **{name: data[name] for name in _TOP if name in data},
                "commands": commands,
            },
            Settings,
        )
    except msgspec.ValidationError as error:
        raise BadSetting(f"the configuration {file} is wrong: {_told(error)}") from None
    if EMBEDDED in settings.endpoints:
        raise BadSetting(f"{file}: the name {EMBEDDED} is taken by the service of this machine")
    return settings


def add_endpoint(file: Path, name: str, url: str, *, default: bool) -> None:
    """Add a service to the configuration, or change its address; all else in it stays.

    :param default: make it what is meant where nothing else is said.

    Raises `SetupError` for what can't be a name, or a file that can't be written.
    """
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    if not _NAME.fullmatch(name) or name == EMBEDDED:
        raise BadSetting(f"{name!r} can't name an endpoint; take letters, digits, '-' and '_'")
    try:
        text = file.read_text(encoding="utf-8") if file.exists() else ""
        document = tomlkit.parse(text)
        endpoints = document.setdefault("endpoints", tomlkit.table(is_super_table=True))
        endpoints.setdefault(name, tomlkit.table())["url"] = url
        if default:
            _set_default(document, name)
        file.parent.mkdir(parents=True, exist_ok=True)
        written = file.with_name(f"{file.name}.{os.getpid()}")
        written.write_text(tomlkit.dumps(document), encoding="utf-8")
        written.replace(file)
    except TOMLKitError as error:
        raise BadSetting(f"the configuration {file} is not TOML: {error}") from None
    except OSError as error:
        raise SetupError(f"can't write the configuration {file} ({error.strerror})") from None


def _set_default(document: "TOMLDocument", name: str) -> None:
    import tomlkit

    if "endpoint" in document:
        document["endpoint"] = name
        return
    # A key behind a table would be one of the table's.
    document.body.insert(0, (tomlkit.key("endpoint"), tomlkit.item(name)))


def _told(error: msgspec.ValidationError) -> str:
    return str(error).replace("$.", "").replace("`", "")

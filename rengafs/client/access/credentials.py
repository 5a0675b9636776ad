"""Tokens of logins: in the desktop's keyring where there is one, else in a 0600 file.

One secret for an address. Whoever may read this user's keyring or files may use them, and
nobody else.
"""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec

from rengafs.client.access.settings import plain
from rengafs.protocol.errors import SetupError

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend

KEYRING_NAME = "rengafs"
FILE_NAME = "credentials.json"


class Secret(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a login gave."""

    token: str
    expires_ms: int | None = None
    """When the token ends; None: it says nothing of an end."""
    refresh_token: str = ""
    """Brings a new token from *issuer*; empty: there is no such."""
    issuer: str = ""
    client_id: str = ""


class Store(Protocol):
    """Where secrets are kept, by address."""

    place: str
    """What a person calls it."""

    def load(self, address: str) -> Secret | None:
        """Return the secret for *address*, if there is one."""

    def save(self, address: str, secret: Secret) -> None:
        """Keep *secret*, in place of an earlier one. Raises `SetupError`."""

    def forget(self, address: str) -> bool:
        """Drop the secret for *address*; return whether there was one."""


def find_store(settings_file: Path, environment: Mapping[str, str] = os.environ) -> Store:
    """Return the keyring of the desktop if one answers, else the file beside the settings."""
    # Asked for only where there is a session bus: without, looking for one takes long.
    if environment.get("DBUS_SESSION_BUS_ADDRESS"):
        import keyring

        backend = keyring.get_keyring()
        if backend.priority >= 1:  # below lie those that keep nothing, or keep it in the clear
            return KeyringStore(backend)
    return FileStore(settings_file.with_name(FILE_NAME))


class KeyringStore:
    """The keyring of the desktop."""

    place = "the keyring"

    def __init__(self, backend: "KeyringBackend") -> None:
        self._backend = backend

    def load(self, address: str) -> Secret | None:
        """As `Store.load`."""
        from keyring.errors import KeyringError

        try:
            text = self._backend.get_password(KEYRING_NAME, plain(address))
        except KeyringError as error:
            raise SetupError(f"the keyring does not answer ({error}); unlock it") from error
        return None if text is None else _decode(text.encode(), self.place)

    def save(self, address: str, secret: Secret) -> None:
        """As `Store.save`."""
        from keyring.errors import KeyringError

        text = msgspec.json.encode(secret).decode()
        try:
            self._backend.set_password(KEYRING_NAME, plain(address), text)
        except KeyringError as error:
            raise SetupError(f"the keyring does not take the token ({error})") from error

    def forget(self, address: str) -> bool:
        """As `Store.forget`."""
        from keyring.errors import KeyringError, PasswordDeleteError

        try:
            self._backend.delete_password(KEYRING_NAME, plain(address))
        except PasswordDeleteError:
            return False
        except KeyringError as error:
            raise SetupError(f"the keyring does not answer ({error}); unlock it") from error
        return True


class FileStore:
    """A file that only its user may read."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.place = str(file)

    def load(self, address: str) -> Secret | None:
        """As `Store.load`."""
        return self._read().get(plain(address))

    def save(self, address: str, secret: Secret) -> None:
        """As `Store.save`."""
        self._write({**self._read(), plain(address): secret})

    def forget(self, address: str) -> bool:
        """As `Store.forget`."""
        secrets = self._read()
        if secrets.pop(plain(address), None) is None:
            return False
        self._write(secrets)
        return True

    def _read(self) -> dict[str, Secret]:
        try:
            text = self._file.read_bytes()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise SetupError(f"can't read {self._file} ({error.strerror})") from None
        try:
            return msgspec.json.decode(text, type=dict[str, Secret])
        except msgspec.DecodeError:
            raise SetupError(f"{self._file} is damaged; remove it, and log in again") from None

    def _write(self, secrets: dict[str, Secret]) -> None:
        made = self._file.with_name(f"{self._file.name}.{os.getpid()}")
        try:
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with suppress(FileNotFoundError):  # of a process of this number that was killed
                made.unlink()
            descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with open(descriptor, "wb") as output:
                output.write(msgspec.json.encode(secrets) + b"\n")
                output.flush()
                os.fsync(output.fileno())
            made.replace(self._file)
        except OSError as error:
            raise SetupError(f"can't write {self._file} ({error.strerror})") from None


def _decode(text: bytes, place: str) -> Secret:
    try:
        return msgspec.json.decode(text, type=Secret)
    except msgspec.DecodeError:
        raise SetupError(f"what {place} holds for rengafs is damaged; log in again") from None

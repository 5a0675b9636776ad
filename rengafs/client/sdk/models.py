"""The half of every class that waits for nothing; both kinds of caller share it.

*D* is the driver. An object holds what was known when it was made: facts, never a
connection. Two objects are equal if they stand for the same thing of the same client.
"""

import datetime as dt
import os
from collections.abc import Mapping
from typing import Generic, Protocol, Self, TypeVar

from rengafs.client.connection import PATIENCE_SECONDS, Endpoint
from rengafs.client.sdk.connect import Token, endpoint_from, endpoint_of
from rengafs.client.sdk.facts import BucketFacts, FileFacts, VersionFacts
from rengafs.client.sdk.reading import Reading
from rengafs.client.sdk.writing import Writing
from rengafs.protocol.errors import InvalidFileOperation


class Driver(Protocol):
    """What blocking and trio drivers have in common."""

    endpoint: Endpoint


D = TypeVar("D", bound=Driver)


class ClientModel(Generic[D]):
    """A client: where it speaks to, and by what."""

    def __init__(
        self, endpoint: str, token: Token = None, *, patience_seconds: float = PATIENCE_SECONDS
    ) -> None:
        """Connect to nothing yet.

        :param endpoint: ``http://…``, ``https://…`` or ``unix:PATH``.
        :param token: a user's token, or a mapping that holds it as ``access_token``.
        :param patience_seconds: after this a call that gets no answer raises `Unavailable`.

        Raises `SetupError` for what is no address or no token.
        """
        endpoint_ = endpoint_of(endpoint, token, patience_seconds=patience_seconds)
        self._driver = self._connect(endpoint_)

    @classmethod
    def from_env(cls, environment: Mapping[str, str] | None = None) -> Self:
        """Return a client configured by ``RENGA_ENDPOINT`` and ``RENGA_ACCESS_TOKEN``.

        ``RENGA_VERTEX_ID`` names the execution that the client works for. Raises
        `SetupError` where the endpoint is missing.
        """
        client = cls.__new__(cls)
        found = endpoint_from(os.environ if environment is None else environment)
        client._driver = cls._connect(found)
        return client

    @staticmethod
    def _connect(endpoint: Endpoint) -> D:
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {self._driver.endpoint.address}>"


class Model(Generic[D]):
    """Something on the service that has an id."""

    def __init__(self, driver: D, number: int) -> None:
        self._driver = driver
        self._id = number

    @property
    def id(self) -> int:
        """The identifier of the object."""
        return self._id

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Model) or type(other) is not type(self):
            return NotImplemented
        return bool(self._id == other._id and self._driver is other._driver)

    def __hash__(self) -> int:
        return hash((type(self).__name__, self._id))


class BucketModel(Model[D]):
    """What is known of a bucket."""

    def __init__(self, driver: D, facts: BucketFacts) -> None:
        super().__init__(driver, facts.id)
        self._facts = facts

    @property
    def backend(self) -> str:
        """The backend of this bucket."""
        return self._facts.backend

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self._facts.name!r}>"


class FileModel(Model[D]):
    """What is known of a file."""

    def __init__(self, driver: D, facts: FileFacts) -> None:
        super().__init__(driver, facts.id)
        self._facts = facts

    @property
    def access_token(self) -> str:
        """The access token for performing file operations.

        Of a file just created, one that may write it; of others, the client's.
        """
        return self._facts.access_token or self._driver.endpoint.token

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self._facts.filename!r}>"


class VersionModel(Model[D]):
    """What is known of a version."""

    def __init__(self, driver: D, facts: VersionFacts) -> None:
        super().__init__(driver, facts.id)
        self._facts = facts

    @property
    def created(self) -> dt.datetime:
        """Return file creation date and time, in UTC."""
        return self._facts.created

    @property
    def filename(self) -> str:
        """Filename of the file."""
        return self._facts.filename

    def __repr__(self) -> str:
        at = self.created.isoformat(timespec="milliseconds")
        return f"<{type(self).__name__} {self.id} {self.filename!r} of {at}>"


class HandleModel(Model[D]):
    """What an open file may do."""

    def __init__(self, driver: D, state: Reading | Writing) -> None:
        super().__init__(driver, state.resource)
        self._state = state
        self._closed = False
        self._in_block = False

    @property
    def can_read(self) -> bool:
        """Check if the file handle is readable."""
        return isinstance(self._state, Reading)

    @property
    def can_write(self) -> bool:
        """Check if the file handle is writable."""
        return isinstance(self._state, Writing)

    def _reading(self) -> Reading:
        self._check_open()
        if not isinstance(self._state, Reading):
            raise InvalidFileOperation("the file is open for writing; open it with 'r' to read")
        return self._state

    def _writing(self) -> Writing:
        self._check_open()
        if not isinstance(self._state, Writing):
            raise InvalidFileOperation("the file is open for reading; open it with 'w' to write")
        return self._state

    def _check_open(self) -> None:
        if self._closed:
            raise InvalidFileOperation("the handle is closed; open the file again")

    def _abandon(self) -> None:
        """Close without saving."""
        self._closed = True
        if isinstance(self._state, Writing):
            self._state.discard()

    def __repr__(self) -> str:
        mode = "r" if self.can_read else "w"
        return f"<{type(self).__name__} {self.id} {mode!r}{', closed' * self._closed}>"


class CollectionModel(Generic[D]):
    """Many of one kind."""

    def __init__(self, driver: D) -> None:
        self._driver = driver

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {self._driver.endpoint.address}>"

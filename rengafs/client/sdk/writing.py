"""`Writing`: what a handle writes, and how that becomes one version. No requests of its own.

All that one handle writes is one version, as with a file on a disk: what it saves first
is the whole content, what it saves later is put behind that and supersedes it.
"""

import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

from rengafs.client import calls
from rengafs.client.flow import Flow
from rengafs.client.sdk.spool import Spool
from rengafs.protocol.errors import UnexpectedAnswer
from rengafs.protocol.operations import Commit
from rengafs.protocol.records import Version

Payload = Callable[[], AsyncIterator[bytes]] | Callable[[], Iterator[bytes]]

SLOWEST_BYTES_PER_SECOND = 64 << 10
"""A transfer that is slower than this on average is given up."""


class Writing:
    """The versions of one handle, of which only the last stays in the history."""

    def __init__(self, resource: int, draft: Spool | None = None, origin: str = "") -> None:
        self.resource = resource
        """The id of the file."""
        self.draft = draft
        """What is written and not saved yet; None: nothing, which is not the same as b""."""
        self._origin = origin
        self._handle = uuid.uuid4().hex
        self._saved: Version | None = None

    @contextmanager
    def adding(self, origin: str = "") -> Iterator[Spool]:
        """Give the draft to append to. If the block fails, nothing has been appended.

        :param origin: the URL that the bytes come from; kept if they are the whole content.
        """
        before = self.draft.length if self.draft else None
        former, self._origin = self._origin, "" if self.draft or self._saved else origin
        self.draft = draft = self.draft or Spool()
        try:
            yield draft
        except BaseException:
            self._origin = former
            if before is None:
                self.discard()
            else:
                draft.truncate(before)
            raise

    def save(self, draft: Spool, sha256: str, payload: Payload) -> Flow[None]:
        """Save the draft, whose bytes *payload* yields each time it is called."""
        start = self._saved.size if self._saved else 0
        commit = Commit(
            node=self.resource,
            base=self._saved.id if self._saved else None,
            length=start + draft.length,
            extents=[(start, draft.length)] if draft.length else [],
            payload=draft.length,
            payload_sha256=sha256,
            handle=self._handle,
            origin=self._origin,
        )
        outcome = yield from calls.commit(commit, payload)
        if outcome.version is None:
            raise UnexpectedAnswer("the service saved, but does not say which version")
        self._saved = outcome.version
        self.discard()

    def discard(self) -> None:
        """Forget the draft."""
        if self.draft is not None:
            self.draft.close()
            self.draft = None


def seconds_for(draft: Spool) -> float:
    """Return how much longer than other calls saving *draft* may take."""
    return draft.length / SLOWEST_BYTES_PER_SECOND

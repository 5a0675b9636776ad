"""Hashes of a blob's pieces, and the marks that stand where nobody knows the whole's sha256.

A blob is cut at every `HASHED_BYTES`; each piece has its sha256. Of a blob composed inside a
remote store the pieces that were kept are known from its base, so all pieces are known though
the whole was never seen. Its *mark* is made of them: ``tree:`` and 64 hex digits. A mark
stands wherever a sha256 would, tells equal bytes from others, and cannot be taken for one.
"""

import hashlib
from collections.abc import Iterable

from rengafs.backends.base import HASHED_BYTES

DIGEST_BYTES = 32
UNKNOWN = bytes(DIGEST_BYTES)
"""Stands for the hash of a piece that nobody has seen: of a base whose pieces are not known."""
TREE = "tree:"
SEEN = "seen:"
"""Begins the mark of what another program stored: made of what the store tells of it."""


def is_mark(sha256: str) -> bool:
    """Whether it is a mark, not the sha256 of the bytes."""
    return ":" in sha256


def count(size: int) -> int:
    """Return how many pieces a blob of *size* bytes has."""
    return -(-size // HASHED_BYTES)


def digest(pieces: bytes, number: int) -> bytes:
    """Return the hash of a piece, or `UNKNOWN`."""
    found = pieces[number * DIGEST_BYTES : (number + 1) * DIGEST_BYTES]
    return found or UNKNOWN


def tree_mark(size: int, pieces: bytes, base_sha256: str) -> str:
    """Return the mark of a blob. *base_sha256* stands in for pieces that are not known."""
    tree = hashlib.sha256(f"{size}:".encode())
    for number in range(count(size)):
        known = digest(pieces, number)
        tree.update(known if known != UNKNOWN else f"{number}:{base_sha256};".encode())
    return TREE + tree.hexdigest()


def seen_mark(*facts: str) -> str:
    """Return the mark of an object that another program stored."""
    return SEEN + hashlib.sha256("\0".join(facts).encode()).hexdigest()


class PieceHashes:
    """The sha256 of each piece, as the bytes of a blob come. Blocks."""

    def __init__(self) -> None:
        self._piece, self._room = hashlib.sha256(), HASHED_BYTES
        self._digests: list[bytes] = []

    def update(self, data: memoryview) -> None:
        """Take the next bytes."""
        while data:
            part, data = data[: self._room], data[self._room :]
            self._piece.update(part)
            self._room -= len(part)
            if not self._room:
                self.pass_over(self._piece.digest())
                self._piece, self._room = hashlib.sha256(), HASHED_BYTES

    def pass_over(self, digest: bytes) -> None:
        """Take the next piece as hashed by somebody else."""
        self._digests.append(digest)

    def digests(self) -> bytes:
        """Return them; none for what is not longer than one piece."""
        last = [] if self._room == HASHED_BYTES else [self._piece.digest()]
        found = [*self._digests, *last]
        return b"".join(found) if len(found) > 1 else b""


class Hashes:
    """The sha256 of a whole and of its pieces, as its bytes come. Blocks."""

    def __init__(self) -> None:
        self._whole = hashlib.sha256()
        self._room = HASHED_BYTES
        """In the first piece: it is hashed as the whole, so what is small is hashed once."""
        self._pieces = PieceHashes()

    def update(self, data: bytes) -> None:
        """Take the next bytes."""
        view = memoryview(data)
        if self._room:
            part, view = view[: self._room], view[self._room :]
            self._whole.update(part)
            self._room -= len(part)
            if not self._room:
                self._pieces.pass_over(self._whole.digest())
        if view:
            self._whole.update(view)
            self._pieces.update(view)

    def hexdigest(self) -> str:
        """Return the sha256 of the whole."""
        return self._whole.hexdigest()

    def pieces(self) -> bytes:
        """Return those of the pieces; none for what is not longer than one piece."""
        return self._pieces.digests()


def hash_pieces(data: Iterable[bytes]) -> tuple[bytes, bytes]:
    """Return the hashes of the pieces of *data*, which begins a piece; and its MD5. Blocks.

    MD5 is what stores check uploads by; nothing else relies on it.
    """
    md5 = hashlib.md5(usedforsecurity=False)
    digests: list[bytes] = []
    piece, room = hashlib.sha256(), HASHED_BYTES
    for chunk in data:
        md5.update(chunk)
        view = memoryview(chunk)
        while view:
            piece.update(view[:room])
            taken = min(room, len(view))
            view, room = view[taken:], room - taken
            if not room:
                digests.append(piece.digest())
                piece, room = hashlib.sha256(), HASHED_BYTES
    if room < HASHED_BYTES:
        digests.append(piece.digest())
    return b"".join(digests), md5.digest()

"""What a name may be, and how a path shows a name that it cannot carry.

Three spellings of one name meet here and nowhere else:

*raw*
    The bytes that the catalog keeps. POSIX lets a component be any bytes but ``/`` and
    NUL, up to 255; a bucket adopted from a store may hold stranger ones.
*wire*
    The same as text, for JSON. UTF-8 where the bytes are UTF-8; a byte that is not
    travels as ``U+10FF00`` + byte. These code points themselves (the end of plane 16,
    private use) travel byte by byte, so the mapping is one to one.
*shown*
    What a directory listing of the mount says. It equals the raw name wherever that can
    be a path component of its own. Otherwise it is ``%~`` and the name percent-escaped;
    and where an elder entry of the directory bears the same name, or the escaped name is
    too long, ``~ID`` follows.
"""

import re
from collections.abc import Iterable
from urllib.parse import quote_from_bytes, unquote_to_bytes

from rengafs.protocol.errors import InvalidName, NameTooLong

MAX_COMPONENT = 255
"""Bytes of one component: ``NAME_MAX`` of Linux."""
MAX_PATH = 4096
"""Bytes of a whole path inside a bucket: ``PATH_MAX`` of Linux."""

VERSIONS = ".versions"
"""The hidden directory of history. In every directory, and never a real name."""

_ESCAPED = b"%~"
_CARRIER = 0x10FF00
_CARRIED = re.compile("[\U0010ff00-\U0010ffff]")
_NUMBERED = re.compile(rb"(?s)(.*)~([0-9]{1,19})\Z")
_RESERVED = {b"", b".", b"..", VERSIONS.encode()}
_WITH_PRIVATE_USE = re.compile(rb"\xf4\x8f[\xbc-\xbf]")


def to_wire(raw: bytes) -> str:
    """Return *raw* as text that JSON can carry; `from_wire` is its inverse."""
    if not _WITH_PRIVATE_USE.search(raw):
        try:
            return raw.decode()
        except UnicodeDecodeError:
            pass
    text = raw.decode(errors="surrogateescape")
    return "".join(_carry(char) for char in text)


def _carry(char: str) -> str:
    if "\udc80" <= char <= "\udcff":
        return chr(_CARRIER + ord(char) - 0xDC00)
    if char >= "\U0010ff00":
        return "".join(chr(_CARRIER + byte) for byte in char.encode())
    return char


def from_wire(text: str) -> bytes:
    """Return the bytes of a name that came over the wire.

    Raises `InvalidName` where *text* is not what `to_wire` makes (a lone surrogate).
    """
    try:
        if not _CARRIED.search(text):
            return text.encode()
        return b"".join(
            bytes([ord(char) - _CARRIER]) if char >= "\U0010ff00" else char.encode()
            for char in text
        )
    except UnicodeEncodeError:
        raise InvalidName(f"the name {text!a} is not valid Unicode") from None


def check_component(raw: bytes) -> bytes:
    """Return *raw* if a client may give it to an entry; raise `InvalidName` or `NameTooLong`."""
    if len(raw) > MAX_COMPONENT:
        raise NameTooLong(f"a name has {len(raw)} bytes; {MAX_COMPONENT} are the most")
    if raw in _RESERVED or b"/" in raw or b"\0" in raw:
        raise InvalidName(
            f"{to_wire(raw)!r} can't be a name: not empty, '.', '..' or '{VERSIONS}', "
            "and without '/' and NUL"
        )
    return raw


def parse_path(file_name: str) -> tuple[bytes, ...]:
    """Split the original API's ``file_name`` (a path inside a bucket) into raw components.

    Raises `InvalidName` for an empty component, ``.``, ``..`` or NUL, and `NameTooLong`.
    """
    raw = from_wire(file_name)
    if len(raw) > MAX_PATH:
        raise NameTooLong(f"the name has {len(raw)} bytes; {MAX_PATH} are the most")
    return tuple(check_component(part) for part in raw.split(b"/"))


def join_path(components: Iterable[bytes]) -> str:
    """Return the wire name of a path inside a bucket."""
    return to_wire(b"/".join(components))


def carries(raw: bytes, *, top: bool = False) -> bool:
    """Whether *raw* can be a path component as it is. At the *top*, not with a leading dot.

    A name that looks escaped can, unless it is what another name is escaped to.
    """
    return not (
        raw in _RESERVED
        or b"/" in raw
        or b"\0" in raw
        or (
            raw.startswith(_ESCAPED)
            and not carries(unquote_to_bytes(raw[len(_ESCAPED) :]), top=top)
        )
        or len(raw) > MAX_COMPONENT
        or (top and raw.startswith(b"."))
    )


def show(raw: bytes, number: int, *, elder: bool, top: bool = False) -> bytes:
    """Return the path component under which a mount shows an entry.

    :param raw: the entry's name in the catalog.
    :param number: the id of its node, which tells apart what the name does not.
    :param elder: whether no older entry of the directory bears the same name.
    :param top: whether the directory is the root, where names begin with no dot.
    """
    shown = raw if carries(raw, top=top) else _ESCAPED + _quote(raw)
    suffix = b"~%d" % number
    if elder and len(shown) <= MAX_COMPONENT:
        return shown
    room = MAX_COMPONENT - len(suffix)
    return _cut(shown, room) + suffix


def _quote(raw: bytes) -> bytes:
    safe = "".join(chr(c) for c in range(1, 128) if chr(c) not in "%/")
    return quote_from_bytes(raw, safe=safe).encode()


def _cut(shown: bytes, room: int) -> bytes:
    """Shorten to *room* bytes, not within a UTF-8 sequence or an escape."""
    if len(shown) <= room:
        return shown
    short = shown[:room]
    while short and (shown[len(short)] & 0xC0) == 0x80:
        short = short[:-1]
    percent = short.rfind(b"%", max(0, len(short) - 2))
    return short[:percent] if percent > 0 and shown.startswith(_ESCAPED) else short


def candidates(shown: bytes) -> list[tuple[bytes | None, int | None]]:
    """Return what a shown component may mean, most likely first, as (raw name, id).

    With an id of None the elder entry of that name is meant. With a name of None (it was
    too long to show) the id alone tells. The caller takes the first that exists *and*
    shows itself as *shown*: that check makes the notation reversible.
    """
    found: list[tuple[bytes | None, int | None]] = []
    if shown.startswith(_ESCAPED):
        found.append((unquote_to_bytes(shown[len(_ESCAPED) :]), None))
    found.append((shown, None))
    numbered = _NUMBERED.match(shown)
    if numbered:
        stem, number = numbered[1], int(numbered[2])
        raw = unquote_to_bytes(stem[len(_ESCAPED) :]) if stem.startswith(_ESCAPED) else stem
        found.append((raw, number))
        found.append((None, number))
    return found


def extension(raw: bytes) -> bytes:
    """Return the real extension of a file name, with its dot; ``.tar.gz`` counts as one."""
    stem, dot, last = raw.rpartition(b".")
    if not dot or not stem or not last or b" " in last or len(last) > 16:
        return b""
    inner, inner_dot, before = stem.rpartition(b".")
    if inner and inner_dot and before == b"tar":
        return b".tar." + last
    return b"." + last

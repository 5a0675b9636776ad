"""Pins as commands see them: what a PATH means as a pin, and how far mounts are with it."""

import os
import socket
import time
import uuid
from contextlib import suppress
from pathlib import Path

import msgspec

from rengafs.cli import output
from rengafs.cli.address import service_of
from rengafs.cli.asking import asking
from rengafs.cli.exits import Exit, refuse
from rengafs.cli.locating import Where, locate
from rengafs.cli.mountasking import SERVICE, attribute, set_attribute
from rengafs.cli.paths import Paths
from rengafs.cli.records import live_records, read_record, record_path
from rengafs.client import calls
from rengafs.client.access.settings import EMBEDDED
from rengafs.client.blocking import BlockingDriver
from rengafs.fs.pins.records import Pin, Served, directory_of, read_pins, read_state
from rengafs.protocol import moments
from rengafs.protocol.errors import BadRequest, RengafsError
from rengafs.protocol.keeping import pin_holder
from rengafs.protocol.names import VERSIONS

PINS = "user.renga.pins"


class Pinned(msgspec.Struct, frozen=True, kw_only=True):
    """A pin, and how far it is."""

    id: str
    path: str
    """``bucket/dir/file``."""
    when: str
    """The moment, label or save; empty: kept current."""
    endpoint: str
    state: str
    """``waiting``, ``fetching``, ``kept``, ``incomplete``, ``refused`` or ``gone``."""
    files: int
    bytes: int
    fetched: int
    in_place: bool
    """The blobs are on this machine anyway, and not copied."""
    problem: str

    @property
    def name(self) -> str:
        """How it is called where people read it."""
        return f"{self.path}@{self.when}" if self.when else self.path


def served_of(mountpoint: str | Path) -> Served | None:
    """Return which service a mount is of; None where it does not say."""
    try:
        return msgspec.json.decode(attribute(mountpoint, SERVICE), type=Served)
    except (OSError, msgspec.DecodeError):
        return None


def pinned(paths: Paths, pin: Pin) -> Pinned:
    """Return a pin with its state."""
    state = read_state(directory_of(paths.state), pin.id)
    return Pinned(
        id=pin.id,
        path=pin.path,
        when=pin.when,
        endpoint=pin.endpoint,
        state=state.state,
        files=state.files,
        bytes=state.bytes,
        fetched=state.fetched,
        in_place=state.in_place,
        problem=state.problem,
    )


def pin_of(paths: Paths, path: Path) -> tuple[Pin, Served]:
    """Return the pin that *path* asks for, and the mount's service. It is not written yet.

    Raises `SetupError`, `NotFound`, and what the service raises.
    """
    text = str(path.absolute())
    where = locate(text, of_service=False)
    assert where.mountpoint is not None, "`locate` refuses absolute paths outside of mounts"
    served = served_of(where.mountpoint)
    record = read_record(record_path(paths, where.mountpoint))
    if served is None or not served.pins or record is None:
        raise refuse(Exit.NOT_MOUNTED, f"the mount at {where.mountpoint} looks after no pins")
    if not where.path:
        raise refuse(Exit.USAGE, "the top can't be pinned; name a bucket, or what is in one")
    pin = Pin(
        id=uuid.uuid4().hex,
        catalog=served.catalog,
        user=served.user,
        endpoint=record.endpoint,
        cache=served.cache,
        host=socket.gethostname(),
        path=where.path,
        created_ms=time.time_ns() // 1_000_000,
    )
    return _dated(pin, where, text), served


def _dated(pin: Pin, where: Where, text: str) -> Pin:
    """Return the pin with the moment, label or save that the path names, if it names one."""
    inside = os.path.abspath(text)[len(str(where.mountpoint)) :].split("/")
    if VERSIONS in inside:
        below = inside[inside.index(VERSIONS) + 1 :]
        if not where.when:
            raise refuse(
                Exit.USAGE,
                f"{text} is a history; pin one save of it, or a moment: PATH@MOMENT",
            )
        if not below[0].startswith("@"):
            version = _version_of(text)
            return msgspec.structs.replace(pin, when=where.when, version=version)
    if not where.when and os.path.lexists(text):
        return pin
    with asking([text], None, None) as (service, (found,)):
        target = service.target(found)
        if target.at is None:
            raise refuse(Exit.FAILED, f"there is no {text}")
        service.run(calls.path(target.path, at=target.at))
    return msgspec.structs.replace(
        pin, path=target.path, when=target.when, at=target.at, at_ms=_moment(target.when)
    )


def _version_of(path: str) -> int:
    try:
        return int(attribute(path, "user.renga.version"))
    except OSError as error:
        raise refuse(Exit.FAILED, f"{path}: {error.strerror}") from None


def _moment(when: str) -> int | None:
    """Return what a path below ``.versions`` asks for; None: *when* is a label."""
    try:
        return moments.parse_span(when, zone=None)[1]
    except BadRequest:
        return None


def same(one: Pin, other: Pin) -> bool:
    """Whether two pins keep the same."""

    def what(pin: Pin) -> tuple[object, ...]:
        return pin.catalog, pin.user, pin.cache, pin.path, pin.at, pin.version

    return what(one) == what(other)


def find_pins(paths: Paths, text: str) -> list[Pin]:
    """Return the pins that *text* names: a path in a mount, BUCKET/PATH[@WHEN], or an id."""
    found = read_pins(directory_of(paths.state))
    by_id = [pin for pin in found if len(text) >= 8 and pin.id.startswith(text)]
    if by_id:
        return by_id
    where = locate(text, of_service=False)
    served = None if where.mountpoint is None else served_of(where.mountpoint)
    return [
        pin
        for pin in found
        if (pin.name == where.path or (pin.path, pin.when) == (where.path, where.when))
        and (served is None or (pin.catalog, pin.user) == (served.catalog, served.user))
    ]


def poke_mounts(paths: Paths) -> None:
    """Have all mounts of this user look whether pins have come or gone."""
    for record in live_records(paths):
        with suppress(OSError):
            set_attribute(record.mountpoint, PINS, b"1")


def release(paths: Paths, pin: Pin) -> None:
    """Tell the service that a pin needs nothing any more; else its lease ends by itself."""
    mountpoint = next(
        (
            record.mountpoint
            for record in live_records(paths)
            if (served := served_of(record.mountpoint)) is not None
            and (served.catalog, served.user, served.away_ms) == (pin.catalog, pin.user, 0)
        ),
        None,
    )
    flow = calls.hold(pin_holder(pin.host, pin.id), [], 60)
    try:
        if mountpoint is not None:
            with asking([mountpoint], None, None) as (service, _):
                service.run(flow)
        else:
            own = pin.endpoint == f"unix:{paths.socket(paths.data)}"
            address = EMBEDDED if own else pin.endpoint
            with service_of(paths, address, None, os.environ) as endpoint:
                driver = BlockingDriver(endpoint)
                try:
                    driver.run(flow)
                finally:
                    driver.close()
    except RengafsError as error:
        output.aside(
            f"the service was not told ({error.message}); prune spares {pin.name} there for "
            "up to 30 days"
        )

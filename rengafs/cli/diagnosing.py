"""What `rengafs doctor` looks at: each look gives a finding, with its remedy where it is bad."""

import os
import platform
import shutil
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import msgspec

from rengafs import __version__
from rengafs.cli import checks, output
from rengafs.cli.address import Meant, meant, probe, token_for
from rengafs.cli.embedded import answers, listener
from rengafs.cli.mountasking import Condition, condition, remedy
from rengafs.cli.mounttable import mounts
from rengafs.cli.paths import Paths, find_paths
from rengafs.cli.records import read_record, record_path
from rengafs.client.access.settings import Settings, read_settings, settings_file
from rengafs.client.connection import Endpoint
from rengafs.protocol.errors import RengafsError

CLOCK_MS = 5_000
"""A clock that is further off than this shows wrong times of saves."""
LOW_BYTES = 1 << 30
SECONDS = 10.0


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at. *state*: ``ok``, ``note`` or ``bad``."""

    what: str
    state: str
    text: str
    """What was found; of a bad one, with its remedy."""


def examine() -> Iterator[Finding]:
    """Look at everything that a mount needs here, one thing after another."""
    yield _finding("version", _versions)
    yield _finding("fuse", _fuse)
    yield _finding("mounting", _mounting)
    yield _finding("libfuse3", _library)
    yield _others()
    paths = yield from _paths()
    if paths is not None:
        yield from _space(paths)
        yield from _mounts(paths)
    settings = yield from _settings()
    if settings is not None:
        yield from _service(settings, paths)


def _finding(what: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(what=what, state="ok", text=look())
    except RengafsError as error:
        return Finding(what=what, state="bad", text=error.message)


def _versions() -> str:
    return f"rengafs {__version__}, Python {platform.python_version()}, {platform.release()}"


def _fuse() -> str:
    checks.check_fuse()
    return f"{checks.DEVICE} opens, fusermount3 is there"


def _mounting() -> str:
    checks.check_mounting()
    return "the kernel mounts for you"


def _library() -> str:
    try:
        import pyfuse3
    except ImportError as error:
        raise checks.no_library(error) from None
    return f"pyfuse3 {pyfuse3.__version__} loads"


def _others() -> Finding:
    try:
        checks.check_allow_other()
    except RengafsError as error:
        return Finding(what="allow-other", state="note", text=error.message)
    return Finding(what="allow-other", state="ok", text="you may let other users into a mount")


def _paths() -> Generator[Finding, None, Paths | None]:
    try:
        paths = find_paths()
    except RengafsError as error:
        yield Finding(what="directories", state="bad", text=error.message)
        return None
    text = f"runtime {paths.runtime}, data {paths.data}"
    yield Finding(what="directories", state="ok", text=text)
    return paths


def _space(paths: Paths) -> Iterator[Finding]:
    for name in ("data", "cache", "state"):
        directory: Path = getattr(paths, name)
        there = next(one for one in (directory, *directory.parents) if one.exists())
        free = shutil.disk_usage(there).free
        text = f"{directory}: {output.size(free)} free"
        if not os.access(there, os.W_OK):
            text, state = f"{there} can't be written; say: chown {os.getuid()} {there}", "bad"
        elif free < LOW_BYTES:
            text, state = f"{text}; make room, or set XDG_{name.upper()}_HOME elsewhere", "bad"
        else:
            state = "ok"
        yield Finding(what=name, state=state, text=text)


def _mounts(paths: Paths) -> Iterator[Finding]:
    for mount in (mount.path for mount in mounts() if mount.ours):
        match condition(mount):
            case Condition.DEAD:
                text = f"{mount}: its process has died; say: rengafs umount {mount}"
                yield Finding(what="mount", state="bad", text=text)
            case Condition.SILENT:
                record = read_record(record_path(paths, mount))
                text = remedy(mount, record.pid if record else None)
                yield Finding(what="mount", state="bad", text=text)
            case Condition.CLOSED:
                yield Finding(what="mount", state="ok", text=f"{mount} is another user's")
            case Condition.WELL:
                yield Finding(what="mount", state="ok", text=f"{mount} answers")
    for sock in sorted(paths.runtime.glob("service-*.sock")):
        if listener(sock) is not None and not answers(f"unix:{sock}"):
            text = f"the service at {sock} is silent; see its log in {paths.state}"
            yield Finding(what="embedded service", state="bad", text=text)


def _settings() -> Generator[Finding, None, Settings | None]:
    file = settings_file()
    try:
        settings = read_settings(file)
    except RengafsError as error:
        yield Finding(what="configuration", state="bad", text=error.message)
        return None
    text = f"{file}" if file.exists() else f"none (it would be {file})"
    yield Finding(what="configuration", state="ok", text=text)
    return settings


def _service(settings: Settings, paths: Paths | None) -> Iterator[Finding]:
    try:
        chosen = meant(None, os.environ, settings)
    except RengafsError as error:
        yield Finding(what="service", state="bad", text=error.message)
        return
    if chosen.address is None:
        where = f" from {paths.data}" if paths else ""
        yield Finding(what="service", state="ok", text=f"embedded, started on demand{where}")
        return
    yield from _elsewhere(chosen.address, chosen, settings)


def _elsewhere(address: str, chosen: Meant, settings: Settings) -> Iterator[Finding]:
    try:
        token = token_for(address, None, os.environ, settings)
        if token is None:
            text = f"none for {address}; say: rengafs login {address}"
            yield Finding(what="token", state="bad", text=text)
            return
        before = time.time_ns() // 1_000_000
        info = probe(Endpoint(address, token.token, patience_seconds=SECONDS))
        now = (before + time.time_ns() // 1_000_000) // 2
    except RengafsError as error:
        yield Finding(what="service", state="bad", text=error.message)
        return
    told = f"{address} (from {chosen.origin}) answers {info.user}, with a token of {token.origin}"
    yield Finding(what="service", state="ok", text=told)
    off = now - info.now_ms
    if abs(off) > CLOCK_MS:
        text = f"this clock is {off / 1000:+.0f} s off the service's; say: timedatectl set-ntp true"
        yield Finding(what="clock", state="bad", text=text)
    else:
        yield Finding(what="clock", state="ok", text=f"{off / 1000:+.1f} s off the service's")
    if info.service != __version__:
        text = f"the service has version {info.service}, this is {__version__}"
        yield Finding(what="service version", state="note", text=text)

"""``rengafs mount``: buckets as a folder, in the background or in the foreground."""

import os
import signal
import socket
import sys
import time
import uuid
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rengafs.cli import checks, detached, output
from rengafs.cli.address import current_settings, meant, token_again
from rengafs.cli.awaystart import service_or_cache
from rengafs.cli.completing import complete_endpoint
from rengafs.cli.exits import Exit, epilog
from rengafs.cli.lockfiles import read_lock
from rengafs.cli.mounttable import OWN_SOURCE
from rengafs.cli.options import PATH, debug_option, host_and_port, octal, size
from rengafs.cli.paths import Paths, find_paths
from rengafs.cli.pinning import served_of
from rengafs.cli.records import MountRecord, Recorded, not_committed, recorded
from rengafs.cli.session import Session
from rengafs.client.access.settings import EMBEDDED
from rengafs.client.access.tokens import ENDPOINT_VARIABLE, TOKEN_VARIABLE
from rengafs.client.connection import Endpoint
from rengafs.protocol.records import ServiceInfo

if TYPE_CHECKING:
    from rengafs.client.lasting import Renew

START_SECONDS = 90.0
"""Of a mount in the background: the service may take 20 s of it, and wait 20 s for another."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line asked for."""

    mountpoint: Path
    endpoint: str
    token_file: Path | None
    backend: str
    allow_other: bool
    uid: int
    gid: int
    umask: int
    read_only: bool
    cache_dir: Path | None
    cache_size: int
    patience: float
    show_versions: bool
    index: bool
    metrics: str
    most_inodes: int
    write_back: bool
    unsent_limit: int
    unsent_age: float
    drain_timeout: float
    lock: Path | None
    source: str


@click.command(
    epilog=epilog(Exit.UNREACHABLE, Exit.REFUSED, Exit.MOUNT_POINT, Exit.NO_FUSE, Exit.TIMEOUT)
)
@click.argument("mountpoint", metavar="DIR", type=PATH)
@click.option(
    "--endpoint",
    metavar="URL|NAME",
    shell_complete=complete_endpoint,
    help="A service elsewhere: https://HOST, http://HOST:PORT, unix:PATH, a name of the "
    f"configuration, or embedded. [default: {ENDPOINT_VARIABLE}; else that of the "
    "configuration; else the embedded one, which is started]",
)
@click.option(
    "--token-file",
    type=PATH,
    metavar="FILE",
    help=f"Where the token for URL is. [default: {TOKEN_VARIABLE}, the configuration, or that "
    "of rengafs login]",
)
@click.option("--backend", default="", metavar="NAME", help="Where the blobs of new buckets lie.")
@click.option("--foreground", is_flag=True, help="Stay, and end when unmounted or on Ctrl-C.")
@click.option("--allow-other", is_flag=True, help="Let other users into the mount.")
@click.option("--uid", type=click.IntRange(0), help="Owner of what has none. [default: you]")
@click.option("--gid", type=click.IntRange(0), help="Group of what has none. [default: yours]")
@click.option(
    "--umask", type=octal, default="000", show_default=True, help="Permissions never to show."
)
@click.option("--read-only", is_flag=True, help="Refuse all changes.")
@click.option("--cache-dir", type=PATH, metavar="DIR", help="[default: $XDG_CACHE_HOME/rengafs]")
@click.option("--cache-size", type=size, default="10G", show_default=True, help="At the most.")
@click.option(
    "--patience",
    type=click.FloatRange(min=0.1),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="How long a tool waits for an unreachable service, before it gets an I/O error.",
)
@click.option(
    "--write-back",
    is_flag=True,
    help="Let close return when the bytes are safe on the local disk; they are sent in the "
    "background, also after a crash. fsync waits for the service.",
)
@click.option(
    "--unsent-limit",
    type=size,
    default="1G",
    show_default=True,
    help="With --write-back: writers wait while more is to be sent.",
)
@click.option(
    "--unsent-age",
    type=click.FloatRange(min=0),
    default=3600.0,
    show_default=True,
    metavar="SECONDS",
    help="With --write-back: writers wait while something is to be sent for longer.",
)
@click.option(
    "--drain-timeout",
    type=click.FloatRange(min=0),
    default=50.0,
    show_default=True,
    metavar="SECONDS",
    help="How long the end of the mount waits for what is still to be sent. The rest is kept on "
    "the local disk, and sent by the next mount.",
)
@click.option(
    "--metrics",
    metavar="HOST:PORT",
    default="",
    help="Tell Prometheus there what the mount does: requests and their times, the cache, "
    "unsent bytes, the feed; no names.",
)
@click.option(
    "--most-inodes",
    type=click.IntRange(1000),
    default=120_000,
    show_default=True,
    help="Files to remember at a time, a kilobyte each; the kernel is asked to forget others.",
)
@click.option("--show-versions", is_flag=True, help="List .versions in every directory.")
@click.option(
    "--index",
    is_flag=True,
    help="Let the indexers of desktops in: do not answer for .trackerignore and .nomedia.",
)
@click.option(
    "--lock",
    type=PATH,
    metavar="FILE",
    help="Show just the versions in a lock file of rengafs record, read-only.",
)
@click.option("--source", default="", hidden=True)  # as fstab names it: see mounthelper
@debug_option
@click.pass_obj
def command(session: Session, /, foreground: bool, **options: Any) -> None:
    """Mount the buckets on DIR, an empty directory.

    Returns when the mount is ready. Every close after writing makes a version; DIR/BUCKET/
    .versions/NAME/ has them all.

    \b
      rengafs mount ~/buckets
      rengafs mount --endpoint https://buckets.example.org --token-file ~/token ~/buckets
      rengafs mount --foreground --debug ~/buckets
    """
    asked = _asked(**options)
    paths = find_paths()
    if foreground:
        _mount(session, asked, paths)
    else:
        log = paths.mount_log(asked.mountpoint)
        detached.start(
            [*(["--debug"] if session.debug else []), "mount", *_arguments(asked)],
            log=log,
            seconds=START_SECONDS + asked.patience,
            what="the mount process",
        )
        output.line(f"mounted {asked.mountpoint}; to unmount: rengafs umount {asked.mountpoint}")
        served = served_of(asked.mountpoint)
        if served is not None and served.away_ms:
            output.aside(
                "its service is away: it shows what is pinned or cached, until that is back"
            )


def _asked(**options: Any) -> Asked:
    # Absolute, because the process in the background stands elsewhere; not resolve(), which
    # asks the mount itself, and that may be dead.
    options["mountpoint"] = Path(os.path.realpath(options["mountpoint"]))
    for name in ("token_file", "cache_dir", "lock"):
        if options[name] is not None:
            options[name] = options[name].absolute()
    options["endpoint"] = meant(options["endpoint"], os.environ, current_settings()).name
    if options["metrics"]:
        host_and_port(options["metrics"])
    options["uid"] = os.getuid() if options["uid"] is None else options["uid"]
    options["gid"] = os.getgid() if options["gid"] is None else options["gid"]
    return Asked(**options)


def _arguments(asked: Asked) -> list[str]:
    """Return the arguments with which the process in the background is told the same."""
    arguments = ["--foreground", "--umask", f"{asked.umask:03o}"]
    for name in (
        "endpoint",
        "token_file",
        "backend",
        "metrics",
        "uid",
        "gid",
        "cache_dir",
        "lock",
        "source",
    ):
        value = getattr(asked, name)
        if value not in (None, ""):
            arguments += [f"--{name.replace('_', '-')}", str(value)]
    arguments += ["--cache-size", str(asked.cache_size), "--patience", str(asked.patience)]
    for name in ("unsent_limit", "unsent_age", "drain_timeout", "most_inodes"):
        arguments += [f"--{name.replace('_', '-')}", str(getattr(asked, name))]
    for name in ("allow_other", "read_only", "show_versions", "index", "write_back"):
        if getattr(asked, name):
            arguments.append(f"--{name.replace('_', '-')}")
    return [*arguments, "--", str(asked.mountpoint)]


def _mount(session: Session, asked: Asked, paths: Paths) -> None:
    # Until the filesystem takes signals itself, and after it: leave through all `finally`s.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    checks.check_fuse()
    if asked.allow_other:
        checks.check_allow_other()
    cache = asked.cache_dir or paths.cache
    record = MountRecord(
        str(asked.mountpoint),
        os.getpid(),
        "",
        time.time_ns() // 1_000_000,
        token_file=str(asked.token_file or ""),
        cache=str(cache),
        cache_limit_bytes=asked.cache_size,
    )
    with recorded(paths, record) as held:
        checks.check_mountpoint(asked.mountpoint)
        with service_or_cache(paths, asked.endpoint, asked.token_file, os.environ, cache) as (
            endpoint,
            away,
        ):
            held.tell(endpoint.address)
            lost = _run(session, asked, paths, endpoint, held, away)
            if lost:
                held.leave_word(lost)
                raise not_committed(asked.mountpoint, lost)


def _renewal(asked: Asked, address: str) -> "Renew | None":
    """Return where later tokens come from; the embedded service's does not change."""
    if asked.endpoint == EMBEDDED:
        return None
    return partial(token_again, address, asked.token_file, os.environ)


def _source(asked: Asked) -> str:
    """Return what the list of mounts shows as the device: what fstab names, so that it matches."""
    source = asked.source or (OWN_SOURCE if asked.endpoint == EMBEDDED else asked.endpoint)
    return OWN_SOURCE if set(", \\") & set(source) else source


def _run(
    session: Session,
    asked: Asked,
    paths: Paths,
    endpoint: Endpoint,
    held: Recorded,
    away: ServiceInfo | None,
) -> list[str]:
    try:
        from rengafs.fs.mounting import MountOptions, run
        from rengafs.fs.writes.writeback.outbox import Limits
        from rengafs.fs.writes.writeback.running import WriteBackOptions
    except ImportError as error:
        if "libfuse3" not in str(error):
            raise
        raise checks.no_library(error) from None
    limits = Limits(asked.unsent_limit, asked.unsent_age, patience_seconds=asked.patience)
    write_back = WriteBackOptions(limits, asked.drain_timeout, held.tell_unsent)
    options = MountOptions(
        mountpoint=asked.mountpoint,
        endpoint=endpoint.address,
        token=endpoint.token,
        renew=_renewal(asked, endpoint.address),
        source=_source(asked),
        backend=asked.backend,
        cache_directory=asked.cache_dir or paths.cache,
        cache_limit_bytes=asked.cache_size,
        drafts_directory=paths.drafts(asked.mountpoint),
        uid=asked.uid,
        gid=asked.gid,
        umask=asked.umask,
        allow_other=asked.allow_other,
        read_only=asked.read_only or asked.lock is not None,
        show_versions=asked.show_versions,
        index=asked.index,
        patience_seconds=asked.patience,
        mount_id=uuid.uuid4().hex,
        host=socket.gethostname(),
        recordings_directory=paths.recordings(asked.mountpoint),
        drain_seconds=asked.drain_timeout,
        progress=held.tell_unsent,
        write_back=write_back if asked.write_back else None,
        metrics=host_and_port(asked.metrics) if asked.metrics else None,
        most_inodes=asked.most_inodes,
        pins_directory=paths.state / "pins",
        away=away,
        lock=None if asked.lock is None else read_lock(asked.lock),
    )
    return run(options, ready=lambda: session.notifier.ready(str(asked.mountpoint)))

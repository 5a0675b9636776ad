"""``rengafs status``: what of rengafs runs here, for this user."""

import os
from pathlib import Path

import click
import msgspec

from rengafs.cli import output
from rengafs.cli.embedded import Users, answers, listener, users_file
from rengafs.cli.exits import epilog
from rengafs.cli.mounttable import mounts
from rengafs.cli.options import debug_option
from rengafs.cli.paths import Paths, find_paths
from rengafs.cli.records import live_records


class MountStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One mount. *state*: ``mounted``, ``ending`` or ``starting`` (no mount), ``dead``."""

    mountpoint: str
    state: str
    pid: int | None = None
    endpoint: str = ""
    since_ms: int | None = None


class ServiceStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One embedded service. *state*: ``running``, or ``silent`` if it does not answer."""

    address: str
    state: str
    pid: int | None = None
    data: str = ""


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that runs."""

    mounts: list[MountStatus]
    services: list[ServiceStatus]


@click.command(epilog=epilog())
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@debug_option
def command(as_json: bool) -> None:
    """Show the mounts and embedded services that run here.

    \b
      rengafs status
      rengafs status --json
    """
    paths = find_paths()
    status = Status(mounts=_mounts(paths), services=_services(paths))
    if as_json:
        output.as_json(status)
        return
    if not status.mounts and not status.services:
        output.line("nothing of rengafs runs here")
    if status.mounts:
        output.table(
            ["mount", "state", "process", "since", "service"],
            [
                [
                    mount.mountpoint,
                    mount.state,
                    str(mount.pid or ""),
                    output.moment(mount.since_ms) if mount.since_ms else "",
                    mount.endpoint,
                ]
                for mount in status.mounts
            ],
        )
    if status.services:
        output.table(
            ["embedded service", "state", "process", "data"],
            [[one.address, one.state, str(one.pid or ""), one.data] for one in status.services],
        )


def _mounts(paths: Paths) -> list[MountStatus]:
    attached = {str(mount.path) for mount in mounts() if mount.ours}
    found = []
    for record in live_records(paths):
        found.append(
            MountStatus(
                mountpoint=record.mountpoint,
                state="mounted" if record.mountpoint in attached else "starting or ending",
                pid=record.pid,
                endpoint=record.endpoint,
                since_ms=record.since_ms,
            )
        )
        attached.discard(record.mountpoint)
    return found + [_without_record(path) for path in sorted(attached)]


def _without_record(mountpoint: str) -> MountStatus:
    try:
        os.stat(mountpoint)
    except PermissionError:
        return MountStatus(mountpoint=mountpoint, state="another user's")
    except OSError:
        return MountStatus(mountpoint=mountpoint, state="dead")
    return MountStatus(mountpoint=mountpoint, state="mounted")


def _services(paths: Paths) -> list[ServiceStatus]:
    found = []
    for sock in sorted(paths.runtime.glob("service-*.sock")):
        address = f"unix:{sock}"
        process = listener(sock)
        if process is not None:
            state = "running" if answers(address) else "silent"
            data = _data_of(sock)
            found.append(ServiceStatus(address=address, state=state, pid=process, data=data))
    return found


def _data_of(sock: Path) -> str:
    try:
        return msgspec.json.decode(users_file(sock).read_bytes(), type=Users).data
    except (OSError, msgspec.DecodeError):
        return ""

"""``rengafs units``: installs systemd's units, and for the machine what mount(8) calls."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click

import rengafs
from rengafs.cli import output
from rengafs.cli.exits import Exit, epilog, refuse
from rengafs.cli.options import PATH

HELPERS = ("mount.rengafs", "umount.fuse.rengafs")
PROGRAM_IN_UNIT = re.compile(r"^(Exec\w*=)\S*/rengafs ", re.MULTILINE)


@click.command(epilog=epilog(Exit.REFUSED))
@click.option(
    "--scope",
    type=click.Choice(["system", "user"]),
    help="For the machine, which is the default for root, or for you.",
)
@click.option("--root", type=PATH, default=Path("/"), help="Install below here, for a package.")
def command(scope: str | None, root: Path) -> None:
    """Install systemd's units for this very program, and tell what was written.

    For the machine, mount.rengafs is installed too, which mount(8) and fstab need, and the
    user that the service runs as is made. Nothing is started.

    \b
      rengafs units
      systemctl --user enable --now "rengafs-mount@$(systemd-escape --path ~/buckets).service"
      rengafs units --scope system --root debian/tmp       for who makes a package
    """
    program = _program()
    if (scope or ("user" if os.geteuid() else "system")) == "system":
        written = _for_machine(program, root)
    else:
        written = _units("user", program, _below(root, _user_units()))
    for path in written:
        output.line(str(path))


def _for_machine(program: Path, root: Path) -> Iterator[Path]:
    account = root / "etc/sysusers.d/rengafs.conf"
    _write(account, (_shipped() / "sysusers.d/rengafs.conf").read_text())
    yield account
    if root == Path("/"):
        subprocess.run(["systemd-sysusers", account], check=True)
    for name in HELPERS:
        link = root / "usr/sbin" / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(program.with_name(name))
        yield link
    yield from _units("system", program, root / "etc/systemd/system")


def _units(scope: str, program: Path, target: Path) -> Iterator[Path]:
    told = str(program).replace("%", "%%")
    for unit in sorted((_shipped() / scope).iterdir()):
        written = target / unit.name
        _write(written, PROGRAM_IN_UNIT.sub(lambda found: f"{found[1]}{told} ", unit.read_text()))
        yield written


def _user_units() -> Path:
    config = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(config) / "systemd/user"


def _below(root: Path, path: Path) -> Path:
    return root / path.relative_to(path.anchor)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o644)


def _program() -> Path:
    """Return the program that the units are to start: that of this environment."""
    program = Path(sys.executable).parent / "rengafs"
    if not program.exists():
        raise refuse(
            Exit.FAILED,
            f"there is no {program}, which the units would start; install rengafs by pip or pipx",
        )
    return program


def _shipped() -> Path:
    """Return where the units are: in the checkout, or where its wheel has put them."""
    checkout = Path(rengafs.__file__).parents[1]
    for place in (checkout / "systemd", Path(sys.prefix) / "share/rengafs/systemd"):
        if (place / "system/rengafs.service").exists():  # python-systemd is a "systemd", too
            return place
    raise refuse(Exit.FAILED, "this installation has no units; install rengafs from its wheel")

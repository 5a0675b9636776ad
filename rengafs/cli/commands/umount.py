"""``rengafs umount``: detach a mount and wait until all is committed."""

import os
from pathlib import Path

import click

from rengafs.cli import output
from rengafs.cli.exits import Exit, epilog
from rengafs.cli.options import PATH, debug_option
from rengafs.cli.paths import find_paths
from rengafs.cli.unmounting import unmount


@click.command(epilog=epilog(Exit.BUSY, Exit.NOT_MOUNTED, Exit.TIMEOUT, Exit.REFUSED))
@click.argument("mountpoint", metavar="DIR", type=PATH)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for what is being committed.",
)
@click.option("--lazy", is_flag=True, help="Detach at once, even if in use; wait for nothing.")
@debug_option
def command(mountpoint: Path, timeout: float, lazy: bool) -> None:
    """Unmount DIR, and return when everything written there is committed.

    The embedded service ends with the last mount that uses it. A mount whose process has
    died is cleared away too.

    \b
      rengafs umount ~/buckets
    """
    # Not resolve(): it asks the mount itself, which may be dead.
    path = Path(os.path.realpath(mountpoint))
    unmount(find_paths(), path, seconds=timeout, lazy=lazy, say=output.aside)

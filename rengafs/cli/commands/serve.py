"""``rengafs serve``: the service, in the foreground."""

from pathlib import Path

import click

from rengafs.cli import output
from rengafs.cli.exits import Exit, epilog
from rengafs.cli.options import PATH, debug_option
from rengafs.cli.paths import find_paths
from rengafs.cli.session import Session


@click.command(epilog=epilog(Exit.REFUSED, Exit.NO_SPACE))
@click.option(
    "--listen",
    metavar="HOST:PORT|unix:PATH",
    default="127.0.0.1:8080",
    show_default=True,
    help="Where to listen. Port 0 takes a free one.",
)
@click.option(
    "--data",
    type=PATH,
    metavar="DIR",
    help="Where to keep everything. [default: $XDG_DATA_HOME/rengafs]",
)
@click.option("--catalog", metavar="URL", default="", help="A catalog elsewhere than in DIR.")
@click.option(
    "--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes."
)
@click.option("--insecure", is_flag=True, help="Listen beyond this machine without TLS.")
@click.option(
    "--droppings",
    metavar="PATTERN",
    multiple=True,
    envvar="RENGAFS_DROPPINGS",
    help="Names that editors leave behind, like '*~': what was saved under one goes with it. "
    "Repeat for more. [env var: RENGAFS_DROPPINGS, with spaces between; default: those of "
    "the usual editors]",
)
@click.option(
    "--import-private",
    is_flag=True,
    help="Let rengafs import fetch from private addresses too: whoever may write then reaches "
    "what this machine reaches.",
)
@click.option("--users-lock", type=PATH, hidden=True)
@debug_option
@click.pass_obj
def command(
    session: Session,
    listen: str,
    data: Path | None,
    catalog: str,
    workers: int,
    insecure: bool,
    droppings: tuple[str, ...],
    import_private: bool,
    users_lock: Path | None,
) -> None:
    """Serve buckets over HTTP until SIGTERM or Ctrl-C.

    Prints its address when it accepts connections. Callers need a token: see
    rengafs token create.

    \b
      rengafs serve --data /srv/buckets --listen 127.0.0.1:8080
      rengafs serve --data /srv/buckets --listen unix:/run/rengafs/service.sock
    """
    from rengafs.catalog.droppings import DEFAULT
    from rengafs.service.run import ServeOptions, serve

    def ready(address: str) -> None:
        session.notifier.ready(address)
        output.line(f"rengafs: serving at {address}")

    options = ServeOptions(
        listen=_absolute(listen),
        data=(data or find_paths().data).absolute(),
        catalog=catalog,
        users_lock=users_lock,
        workers=workers,
        insecure=insecure,
        droppings=droppings or DEFAULT,
        import_private=import_private,
    )
    serve(options, ready=ready)


def _absolute(listen: str) -> str:
    if not listen.startswith("unix:"):
        return listen
    return f"unix:{Path(listen.removeprefix('unix:')).absolute()}"

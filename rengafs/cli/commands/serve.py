"""``rengafs serve``: the service, in the foreground."""

from functools import partial
from pathlib import Path

import click

from rengafs.cli import logs, output
from rengafs.cli.exits import Exit, epilog
from rengafs.cli.options import PATH, debug_option
from rengafs.cli.paths import find_paths
from rengafs.cli.servicedata import backends_option
from rengafs.cli.session import Session


@click.command(epilog=epilog(Exit.REFUSED, Exit.NO_SPACE))
@click.option(
    "--listen",
    metavar="HOST:PORT|unix:PATH|systemd",
    default="127.0.0.1:8080",
    show_default=True,
    help="Where to listen. Port 0 takes a free one; systemd, the socket of its unit.",
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
@click.option(
    "--presigned",
    is_flag=True,
    help="Send readers straight to Swift or S3, by signed addresses: they must reach those, too.",
)
@click.option(
    "--oidc-issuer", metavar="URL", default="", help="Take this OpenID Connect issuer's tokens too."
)
@click.option(
    "--oidc-audience", metavar="NAME", default="", help="Who its tokens must be for: this service."
)
@click.option(
    "--oidc-claim",
    metavar="CLAIM",
    default="preferred_username",
    show_default=True,
    help="What of a token a new user is called after.",
)
@click.option(
    "--oidc-client",
    metavar="NAME",
    default="rengafs",
    show_default=True,
    help="What rengafs login is called at the issuer.",
)
@backends_option
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
    presigned: bool,
    oidc_issuer: str,
    oidc_audience: str,
    oidc_claim: str,
    oidc_client: str,
    backends: Path | None,
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
    from rengafs.service.issuing import Trust
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
        presigned=presigned,
        backends=backends and backends.absolute(),
        trust=Trust(oidc_issuer, oidc_audience, oidc_claim, oidc_client) if oidc_issuer else None,
    )
    serve(options, ready=ready, logs=partial(logs.set_up, None, debug=session.debug))


def _absolute(listen: str) -> str:
    if not listen.startswith("unix:"):
        return listen
    return f"unix:{Path(listen.removeprefix('unix:')).absolute()}"

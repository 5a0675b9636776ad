"""``rengafs logout``: forget the token of a login."""

import click

from rengafs.cli import output
from rengafs.cli.address import current_settings
from rengafs.cli.completing import complete_endpoint
from rengafs.cli.exits import Exit, epilog, refuse
from rengafs.cli.options import debug_option
from rengafs.client.access.credentials import find_store


@click.command(epilog=epilog(Exit.REFUSED))
@click.argument("endpoint", metavar="URL|NAME", shell_complete=complete_endpoint)
@debug_option
def command(endpoint: str) -> None:
    """Forget the token that rengafs login keeps for a service; its name stays configured.

    \b
      rengafs logout institute
    """
    settings = current_settings()
    address = settings.address(endpoint)
    store = find_store(settings.file)
    if not store.forget(address):
        raise refuse(Exit.REFUSED, f"{store.place} holds no token for {address}")
    output.line(f"forgot the token for {address}")

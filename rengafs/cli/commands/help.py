"""``rengafs help``: pages that are longer than a command's own help."""

from importlib import resources

import click

from rengafs.cli import output
from rengafs.cli.exits import epilog

PAGES = {
    "dashboard": ("rengafs.fs", "dashboard.json"),
    "recipes": ("rengafs.cli", "RECIPES.md"),
    "semantics": ("rengafs.fs", "SEMANTICS.md"),
}
"""Topic → package and file."""


@click.command(epilog=epilog())
@click.argument("topic", metavar="[TOPIC]", type=click.Choice(sorted(PAGES)), required=False)
@click.pass_context
def command(ctx: click.Context, topic: str | None) -> None:
    """Print a page: what tools may rely on in a mount, recipes, a dashboard for Grafana.

    \b
      rengafs help semantics | less
      rengafs help recipes | less
      rengafs help dashboard > rengafs.json
    """
    if topic is None:
        assert ctx.parent is not None, "a command of the group"
        output.line(ctx.parent.get_help())
        return
    package, name = PAGES[topic]
    output.line(resources.files(package).joinpath(name).read_text(encoding="utf-8").rstrip())

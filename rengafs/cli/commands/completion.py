"""``rengafs completion``: what makes a shell complete commands, options, buckets and paths."""

import click
from click.shell_completion import get_completion_class

from rengafs.cli import output
from rengafs.cli.exits import epilog

VARIABLE = "_RENGAFS_COMPLETE"


@click.command(epilog=epilog())
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the script that makes SHELL complete what follows rengafs.

    \b
      rengafs completion bash > ~/.local/share/bash-completion/completions/rengafs
      rengafs completion zsh > ~/.zfunc/_rengafs
      rengafs completion fish > ~/.config/fish/completions/rengafs.fish
    """
    made = get_completion_class(shell)
    assert made is not None, "click knows these shells"
    output.line(made(ctx.find_root().command, {}, "rengafs", VARIABLE).source())

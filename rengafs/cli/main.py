"""Finds the command, sets up logging, and turns errors into one line and an exit code.

This is the boundary of the command line: whatever a command raises ends here, as
``rengafs: what is wrong; what to do``, without a trace unless ``--debug`` asks for it.
"""

import importlib
import pkgutil
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import click

from rengafs import __version__
from rengafs.cli import commands, logs, output, shells
from rengafs.cli.defaults import configured_defaults
from rengafs.cli.exits import Exit, exit_code
from rengafs.cli.notify import Notifier
from rengafs.cli.options import PATH, debug_option
from rengafs.cli.session import Session
from rengafs.protocol.errors import RengafsError

SHORT_NAMES = ["-h", "--help"]


class Commands(click.Group):
    """The modules of `rengafs.cli.commands`; each is imported when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return sorted(module.name for module in pkgutil.iter_modules(commands.__path__))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of that name."""
        if cmd_name not in self.list_commands(ctx):
            return None
        module = importlib.import_module(f"{commands.__name__}.{cmd_name}")
        command = module.command
        assert isinstance(command, click.Command)
        return command


@click.group(
    cls=Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": SHORT_NAMES, "auto_envvar_prefix": "RENGAFS"},
)
@click.version_option(__version__, prog_name="rengafs", message="%(prog)s %(version)s")
@debug_option
@click.option("--log-file", type=PATH, hidden=True)
@click.option("--ready-fd", type=int, hidden=True)
@click.pass_context
def rengafs(ctx: click.Context, log_file: Path | None, ready_fd: int | None) -> None:
    """Every bucket a folder, every save a version, any tool.

    \b
      rengafs mount ~/buckets       a folder of buckets, kept on this machine
      ls ~/buckets/data/.versions/report.csv       every save of a file
      rengafs umount ~/buckets
    """
    if ctx.invoked_subcommand is None:
        output.line(ctx.get_help())
        return
    session = ctx.ensure_object(Session)
    logs.set_up(log_file, debug=session.debug)
    session.notifier = Notifier(ready_fd, leave=True)
    session.in_background = log_file is not None
    if ctx.invoked_subcommand != "doctor":  # who tells what is wrong with it
        ctx.default_map = configured_defaults(ctx, ctx.invoked_subcommand)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit."""
    session = Session(Notifier(None))
    shells.set_up()
    try:
        code = rengafs.main(arguments, prog_name="rengafs", standalone_mode=False, obj=session)
    except (Exception, KeyboardInterrupt, BaseExceptionGroup) as error:  # noqa: BLE001 - the boundary
        message, code = explain(error)
        session.notifier.failed(message, code)
        output.aside(message)
        if session.debug or (_is_defect(error) and session.in_background):
            traceback.print_exception(error)
    sys.exit(code or 0)


def explain(error: BaseException) -> tuple[str, int]:
    """Return one line on *error*, with its remedy, and the exit code."""
    error = _innermost(error)
    match error:
        case RengafsError():
            text = error.message
        case click.exceptions.NoArgsIsHelpError() if isinstance(error.ctx, click.Context):
            return _which(error.ctx), Exit.USAGE
        case click.UsageError():
            command = error.ctx.command_path if error.ctx else "rengafs"
            return f"{_sentence(error.format_message())}; see: {command} --help", Exit.USAGE
        case click.ClickException():
            return _sentence(error.format_message()), Exit.USAGE
        case KeyboardInterrupt() | click.Abort():
            return "interrupted", Exit.INTERRUPTED
        case SystemExit(code=int(code)):  # a signal, while a task ran
            return "ended by a signal", code
        case OSError():
            about = f": {error.filename}" if error.filename else ""
            text = f"{error.strerror or error}{about}"
        case _:
            text = (
                f"a defect in rengafs: {type(error).__name__}: {error}; "
                "please report it with what --debug shows"
            )
    return " ".join(text.split()), exit_code(error)


def _which(ctx: click.Context) -> str:
    """Say what a group of commands wants."""
    assert isinstance(ctx.command, click.Group)
    names = ", ".join(ctx.command.list_commands(ctx))
    return f"say what: {ctx.command_path} with one of {names}; see: {ctx.command_path} --help"


def _innermost(error: BaseException) -> BaseException:
    """Return the one of a group of errors that says most to a person."""
    while isinstance(error, BaseExceptionGroup):
        ours = error.subgroup(RengafsError)
        error = (ours or error).exceptions[0]
    return error


def _is_defect(error: BaseException) -> bool:
    error = _innermost(error)
    known = (
        RengafsError,
        click.ClickException,
        click.Abort,
        OSError,
        KeyboardInterrupt,
        SystemExit,
    )
    return not isinstance(error, known)


def _sentence(text: str) -> str:
    """Put click's sentences into the form of ours."""
    text = " ".join(text.split()).rstrip(".")
    return text[:1].lower() + text[1:]

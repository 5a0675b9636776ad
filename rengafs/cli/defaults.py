"""Options that the configuration gives, where neither command line nor environment does.

click itself keeps the order: command line, environment, what is given here, built-in.
"""

from collections.abc import Mapping
from typing import Any

import click

from rengafs.cli.address import current_settings
from rengafs.cli.exits import Exit, refuse
from rengafs.client.access.settings import Settings


def configured_defaults(ctx: click.Context, name: str) -> dict[str, Any]:
    """Return the defaults for command *name*, as click takes them. Raises `SetupError`."""
    settings = current_settings()
    if name not in settings.commands:
        return {}
    assert isinstance(ctx.command, click.Group)
    command = ctx.command.get_command(ctx, name)
    if command is None:
        return {}
    return {name: defaults_of(settings, name, command, settings.commands[name])}


def defaults_of(
    settings: Settings, name: str, command: click.Command, table: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what *table* of the configuration gives the options of *command*.

    Raises `SetupError` for an option that the command does not have.
    """
    if not isinstance(table, dict):
        raise refuse(Exit.USAGE, f"{settings.file}: {name} is no table; write [{name}] above it")
    found: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(command, click.Group):
            inner = command.commands.get(key)
            if inner is None:
                raise refuse(Exit.USAGE, f"{settings.file}: there is no command {name} {key}")
            found[key] = defaults_of(settings, f"{name}.{key}", inner, value)
            continue
        option = option_of(command, key)
        if option is None:
            raise refuse(
                Exit.USAGE,
                f"{settings.file}: [{name}] has no option {key!r}; "
                f"see: rengafs {name.replace('.', ' ')} --help",
            )
        found[option] = _as_typed(value)
    return found


def option_of(command: click.Command, key: str) -> str | None:
    """Return click's name for the option ``--key`` of *command*, if it has it."""
    for parameter in command.params:
        shown = isinstance(parameter, click.Option) and not parameter.hidden
        if shown and f"--{key}" in parameter.opts:
            return parameter.name
    return None


def _as_typed(value: Any) -> Any:
    """Return *value* as a person would type it: what checks options expects text."""
    if isinstance(value, list):
        return [_as_typed(item) for item in value]
    return value if isinstance(value, bool) else str(value)

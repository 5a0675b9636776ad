"""``rengafs config``: what is set, and what set it."""

import os
import re
from collections.abc import Iterator

import click
import msgspec

from rengafs.cli import output
from rengafs.cli.address import current_settings, meant, token_for
from rengafs.cli.asking import json_option
from rengafs.cli.defaults import defaults_of
from rengafs.cli.exits import epilog
from rengafs.cli.options import debug_option
from rengafs.cli.paths import find_paths
from rengafs.client.access.settings import EMBEDDED, Settings
from rengafs.protocol.errors import RengafsError

PREFIX = "RENGAFS"
ORDER = "options of the command line, then the environment, then the configuration, then defaults"


DEFAULT = "default"


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """One value, and where it comes from. *origin* is empty for what nothing has set."""

    name: str
    value: str
    origin: str


@click.group()
def command() -> None:
    """Show what is configured."""


@command.command(epilog=epilog())
@click.option("--defaults", is_flag=True, help="Show the options that nothing has set, too.")
@json_option
@debug_option
@click.pass_context
def show(ctx: click.Context, defaults: bool, as_json: bool) -> None:
    """Show what is set, and what set it; never a token.

    What counts is the first of: an option of the command line, the environment, the
    configuration, the default. Any option can be set in the environment, like --cache-size
    of rengafs mount by RENGAFS_MOUNT_CACHE_SIZE, and in the configuration:

    \b
      endpoint = "institute"
      [endpoints.institute]
      url = "https://buckets.example.org"
      token-file = "~/token"
      [mount]
      cache-size = "20G"

    \b
      rengafs config show
      rengafs config show --defaults
      rengafs config show --json
    """
    settings = current_settings()
    group = ctx.find_root().command
    assert isinstance(group, click.Group)
    options = _options(ctx, group, settings)
    shown = (one for one in options if defaults or one.origin != DEFAULT)
    found = [*_places(settings), *_service(settings), *shown]
    if as_json:
        output.as_json(found)
        return
    output.table(["setting", "value", "from"], [[one.name, one.value, one.origin] for one in found])
    output.line(f"What counts is the first of: {ORDER}.")


def _places(settings: Settings) -> Iterator[Setting]:
    paths = find_paths()
    there = "" if settings.file.exists() else " (not there)"
    yield Setting(name="configuration", value=f"{settings.file}{there}", origin="")
    for name in ("data", "cache", "state", "runtime"):
        yield Setting(name=name, value=str(getattr(paths, name)), origin="")


def _service(settings: Settings) -> Iterator[Setting]:
    chosen = meant(None, os.environ, settings)
    yield Setting(name="endpoint", value=chosen.name, origin=chosen.origin)
    if chosen.address is not None:
        yield _token("token", chosen.address, settings)
    for name, known in sorted(settings.endpoints.items()):
        yield Setting(name=f"endpoints.{name}", value=known.url, origin=str(settings.file))
        yield _token(f"endpoints.{name} token", known.url, settings)
    yield Setting(name=f"endpoints.{EMBEDDED}", value="started on demand", origin="built in")


def _token(name: str, address: str, settings: Settings) -> Setting:
    try:
        found = token_for(address, None, os.environ, settings)
    except RengafsError as error:
        return Setting(name=name, value=f"unusable: {error.message}", origin="")
    if found is None:
        return Setting(name=name, value="none; say: rengafs login", origin="")
    return Setting(name=name, value="********", origin=found.origin)


def _options(
    ctx: click.Context, group: click.Group, settings: Settings, path: tuple[str, ...] = ()
) -> Iterator[Setting]:
    """Yield every option of every command, with what counts."""
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        if isinstance(command, click.Group):
            yield from _options(ctx, command, settings, (*path, name))
        elif command is not None:
            yield from _counting(command, settings, (*path, name))


def _counting(
    command: click.Command, settings: Settings, path: tuple[str, ...]
) -> Iterator[Setting]:
    table: object = settings.commands
    for part in path:
        table = table.get(part, {}) if isinstance(table, dict) else {}
    given = defaults_of(settings, ".".join(path), command, table if isinstance(table, dict) else {})
    for parameter in command.params:
        if not isinstance(parameter, click.Option) or parameter.name is None or parameter.hidden:
            continue
        shown = f"{'.'.join(path)}.{parameter.opts[-1].lstrip('-')}"
        variable = _variable(parameter, path)
        if variable is not None:
            yield Setting(name=shown, value=os.environ[variable], origin=variable)
        elif parameter.name in given:
            value = given[parameter.name]
            yield Setting(name=shown, value=str(value), origin=str(settings.file))
        elif parameter.expose_value:
            yield Setting(name=shown, value=_default(parameter), origin=DEFAULT)


def _variable(option: click.Option, path: tuple[str, ...]) -> str | None:
    """Return the environment variable that sets an option; its own goes before that by rule."""
    own = [option.envvar] if isinstance(option.envvar, str) else option.envvar or []
    ruled = "_".join((PREFIX, *path, option.name or "")).upper().replace("-", "_")
    return next((name for name in (*own, ruled) if os.environ.get(name)), None)


def _default(option: click.Option) -> str:
    """Return an option's default as its help tells it."""
    value = option.to_info_dict()["default"]
    told = re.search(r"default: ([^]]*)]", option.help or "")
    if value in (None, "") or isinstance(value, (list, tuple)):
        return told[1] if told else ""
    return str(value)

"""Which service's data a command works on directly, with no service in between."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from rengafs.cli.options import PATH
from rengafs.cli.paths import find_paths

if TYPE_CHECKING:
    from rengafs.service.run import ServeOptions

F = TypeVar("F", bound=Callable[..., Any])


BACKENDS = "RENGAFS_BACKENDS"
"""The environment variable that names the backends' file."""


def backends_option(command: F) -> F:
    """Give a command ``--backends``: the file that names a service's backends."""
    return click.option(
        "--backends",
        type=PATH,
        metavar="FILE",
        envvar=BACKENDS,
        help="A TOML file that names the backends; see README.md. [env var: RENGAFS_BACKENDS; "
        "default: backends.toml in the data, if it is there]",
    )(command)


def data_options(command: F) -> F:
    """Give a command ``--data`` and ``--catalog``, as of ``rengafs serve``."""
    command = click.option(
        "--data",
        type=PATH,
        metavar="DIR",
        help="The service's data. [default: $XDG_DATA_HOME/rengafs]",
    )(command)
    return click.option(
        "--catalog",
        metavar="URL",
        default="",
        help="A catalog elsewhere than in DIR. [default: that of the service]",
    )(command)


def serve_options(data: Path | None, catalog: str) -> "ServeOptions":
    """Return what the service of these data is started with.

    What is not said here, by an option or the environment, is as the service was told.
    Raises `SetupError`.
    """
    from rengafs.service.place import recall
    from rengafs.service.run import ServeOptions

    data = (data or find_paths().data).absolute()
    told = recall(data)
    named = os.environ.get(BACKENDS, "") or told.backends
    return ServeOptions(
        listen="",
        data=data,
        catalog=catalog or told.catalog,
        backends=Path(named).absolute() if named else None,
    )


def begun_options(data: Path | None, catalog: str) -> "ServeOptions":
    """Return the same, for a command that one may begin with, before any service has run.

    One's own data are made if they are not there; those that ``--data`` names are not: what is
    mistyped is not to look like a service. Raises `SetupError`.
    """
    from rengafs.service.run import make_service_data

    options = serve_options(data, catalog)
    if data is None:
        make_service_data(options)
    return options

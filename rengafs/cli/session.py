"""What one run of the command line shares between `main` and the command that it runs."""

from dataclasses import dataclass

from rengafs.cli.notify import Notifier


@dataclass(slots=True)
class Session:
    """Made by `main` for one run; commands get it with ``@click.pass_obj``."""

    notifier: Notifier
    debug: bool = False
    """Whether errors are shown with their trace."""
    in_background: bool = False
    """Whether standard error is a log file, where the trace of a defect belongs."""

"""Log lines: to standard error, or to a file that stays small."""

import logging
import logging.handlers
from pathlib import Path

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
FILE_BYTES = 4 << 20
"""A log file is rotated at this size, and one old one is kept: 8 MiB at the most."""
TAIL_BYTES = 4096


def set_up(file: Path | None, *, debug: bool) -> None:
    """Send log lines to *file*, or to standard error. For this process, once."""
    root = logging.getLogger()
    handler: logging.Handler
    if file is None:
        handler = logging.StreamHandler()
    else:
        file.parent.mkdir(parents=True, exist_ok=True)
        handler = logging.handlers.RotatingFileHandler(
            file, maxBytes=FILE_BYTES, backupCount=1, encoding="utf-8", errors="backslashreplace"
        )
    handler.setFormatter(logging.Formatter(FORMAT))
    root.addHandler(handler)
    # A person at a terminal wants to hear of trouble only; a file is for looking back.
    root.setLevel(logging.INFO if file is not None else logging.WARNING)
    for chatty in ("httpx", "alembic", "uvicorn"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    if debug:
        be_verbose()


def be_verbose() -> None:
    """Show everything that rengafs itself logs."""
    logging.getLogger("rengafs").setLevel(logging.DEBUG)


def last_line(file: Path) -> str:
    """Return the last line of a log file that says something, or an empty text."""
    try:
        with file.open("rb") as log:
            log.seek(0, 2)
            log.seek(max(0, log.tell() - TAIL_BYTES))
            lines = log.read().decode(errors="replace").split("\n")
    except FileNotFoundError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")

"""The data directory: whose it is, and what lies where in it.

README             says what this is; its presence marks the directory as rengafs'
catalog.sqlite     the catalog, unless it is elsewhere
blobs/             the local backend
backends.toml      other backends, if there are any and the file is not elsewhere
elsewhere.json     where catalog and backends' file are, if elsewhere: for whoever works on the
                   data beside the service, and has not got its options
"""

import os
from contextlib import suppress
from pathlib import Path

import msgspec

from rengafs.protocol.errors import BadSetting, SetupError

MARK = "README"
BACKENDS = "backends.toml"
ELSEWHERE = "elsewhere.json"
NOT_OURS = frozenset({"lost+found", BACKENDS})
"""What may be there before us."""
TEXT = """\
This directory holds the data of rengafs: catalog.sqlite knows the names and versions,
blobs/ holds their bytes. Neither is of use without the other; back up both together,
while no service runs. Do not edit anything in here: use `rengafs mount`.
"""


class Elsewhere(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What of a service is not in its data."""

    catalog: str = ""
    """URL of the catalog's database; empty: SQLite in the data."""
    backends: str = ""
    """The file that names backends; empty: that in the data, if there is one."""


def make_place(data: Path) -> Path:
    """Return *data*, made if it is missing. Raises `SetupError` if it is something else's."""
    try:
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not _is_ours(data):
            if any(entry.name not in NOT_OURS for entry in data.iterdir()):
                raise _foreign(data)
            (data / MARK).write_text(TEXT)
    except OSError as error:
        raise SetupError(
            f"data can't be kept in {data}: {error.strerror}; choose another --data directory"
        ) from error
    return data


def find_place(data: Path) -> Path:
    """Return *data*, which a service has made. Raises `SetupError` if none has."""
    try:
        if _is_ours(data):
            return data
    except OSError as error:
        raise SetupError(
            f"the data in {data} can't be read: {error.strerror}; say it as the service's user"
        ) from error
    raise BadSetting(
        f"there is no data of rengafs in {data}; name a service's directory with --data "
        "(rengafs serve makes one)"
    )


def remember(data: Path, elsewhere: Elsewhere) -> None:
    """Keep for `recall` what of the service of *data* is not there. Raises `SetupError`."""
    file = data / ELSEWHERE
    if elsewhere == recall(data):
        return
    made = file.with_name(f".{ELSEWHERE}.{os.getpid()}")
    try:
        # Its owner's alone: the URL of a catalog may hold a password.
        descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as output:
            output.write(msgspec.json.encode(elsewhere) + b"\n")
            output.flush()
            os.fsync(output.fileno())
        made.replace(file)
    except OSError as error:
        with suppress(OSError):
            made.unlink()
        raise SetupError(f"can't write {file}: {error.strerror}; make room there") from error


def recall(data: Path) -> Elsewhere:
    """Return what the last service of *data* kept. Raises `SetupError` if it can't be read."""
    file = data / ELSEWHERE
    try:
        return msgspec.json.decode(file.read_bytes(), type=Elsewhere)
    except (FileNotFoundError, NotADirectoryError):
        return Elsewhere()
    except OSError as error:
        raise SetupError(
            f"can't read {file}: {error.strerror}; say it as the service's user"
        ) from error
    except msgspec.DecodeError:
        raise SetupError(f"{file} is damaged; remove it, and start the service anew") from None


def _is_ours(data: Path) -> bool:
    """Whether *data* is marked as ours. Raises `SetupError` where it is marked as another's."""
    try:
        text = (data / MARK).read_text(errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return False
    if not text.startswith(TEXT[:40]):
        raise _foreign(data)
    return True


def _foreign(data: Path) -> SetupError:
    return SetupError(
        f"{data} is not empty, and not rengafs' data; choose another --data directory"
    )

"""The data directory: whose it is, and what lies where in it.

README             says what this is; its presence marks the directory as rengafs'
catalog.sqlite     the catalog, unless it is elsewhere
blobs/             the local backend
backends.toml      other backends, if there are any and the file is not elsewhere
"""

from pathlib import Path

from rengafs.protocol.errors import SetupError

MARK = "README"
BACKENDS = "backends.toml"
NOT_OURS = frozenset({"lost+found", BACKENDS})
"""What may be there before us."""
TEXT = """\
This directory holds the data of rengafs: catalog.sqlite knows the names and versions,
blobs/ holds their bytes. Neither is of use without the other; back up both together,
while no service runs. Do not edit anything in here: use `rengafs mount`.
"""


def open_place(data: Path) -> Path:
    """Return *data*, made if it is missing. Raises `SetupError` if it is something else's."""
    try:
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        mark = data / MARK
        if mark.exists():
            if not mark.read_text(errors="replace").startswith(TEXT[:40]):
                raise _foreign(data)
        elif any(entry.name not in NOT_OURS for entry in data.iterdir()):
            raise _foreign(data)
        else:
            mark.write_text(TEXT)
    except OSError as error:
        raise SetupError(
            f"data can't be kept in {data}: {error.strerror}; choose another --data directory"
        ) from error
    return data


def _foreign(data: Path) -> SetupError:
    return SetupError(
        f"{data} is not empty, and not rengafs' data; choose another --data directory"
    )

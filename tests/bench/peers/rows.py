"""What each figure means: unit, direction, and what was to be reached beside the better peer."""

from dataclasses import dataclass
from typing import Literal

Better = Literal["more", "less"]


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    key: str
    work: str
    """With ``{big}``, ``{files}``, … of `works.Sizes`."""
    unit: str
    better: Better
    reach: float | None = None
    """Ours to the better peer's; None: no promise was made."""
    limit: str = ""
    """Whose figure bounds it."""
    reach_limit: float | None = None
    """Ours to the limit's."""
    below: float | None = None
    """An absolute figure to stay below."""
    reach_write_back: float | None = None
    """With ``--write-back``, to the better peer's apparent figure."""
    peer: str = ""
    """Whose figure it is compared with; empty: the better peer's."""
    writes: bool = False
    """Ends when close has returned: then it matters what that promised."""

    def reached(self, ratio: float, reach: float) -> bool:
        return ratio >= reach if self.better == "more" else ratio <= reach


MIB_S, PER_S = "MiB/s", "/s"

ROWS = (
    Row("read-cold", "read {big} MiB from start to end, cold", MIB_S, "more", 1.5, "stream"),
    Row("read-warm", "the same, warm", MIB_S, "more", 3, "disk", 0.9),
    Row("random-cold", "read 4 KiB at random, cold", PER_S, "more", 2),
    Row("first-byte", "first byte of {big} MiB, cold", "s", "less"),
    Row("write", "write {big} MiB, until close returns", MIB_S, "more", None, "disk", writes=True),
    Row("write-stored", "… until the store has it", MIB_S, "more", 1.5, "put"),
    Row("write-fsync", "… with fsync, until the store has it", MIB_S, "more", 1.5, "put"),
    Row("byte", "one byte in {big} MiB, until close returns", "s", "less", writes=True),
    Row("byte-stored", "… until the store has it", "s", "less", 0.1),
    Row(
        "create",
        "create {files} files of 4 KiB, until closes return",
        PER_S,
        "more",
        limit="put",
        reach_write_back=2,
        writes=True,
    ),
    Row("create-stored", "… until the store has them", PER_S, "more", 5, "put"),
    Row("ls-cold", "ls -l of {files} files, cold: entries", PER_S, "more", 50),
    Row("read-files-cold", "read {files} files of 4 KiB, cold", PER_S, "more", 5, "get"),
    Row("read-files-warm", "the same, warm", PER_S, "more", None, "disk"),
    Row("stat-warm", "stat, warm", PER_S, "more", 1, "disk"),
    Row("rename", "rename a directory of {files} files, until the store has it", "s", "less", 0.01),
    Row("remove", "rm -r of {files} files, until the store has it", PER_S, "more", 5),
    Row("clone", "git clone of {tree} files", "s", "less", limit="disk", writes=True),
    Row("status", "git status in it, cold", "s", "less", limit="disk"),
    Row("untar", "untar {tree} files, until tar ends", "s", "less", limit="disk", writes=True),
    Row("grep-cold", "grep -r in them, cold", "s", "less", limit="disk"),
    Row("grep-warm", "the same, warm", "s", "less", limit="disk"),
    Row("seen", "a save is seen by another mount", "s", "less", below=0.2),
    Row("memory-idle", "memory of the mount, idle", "MiB", "less", 1, peer="rclone"),
    Row("memory-inodes", "… after listing {inodes} files", "MiB", "less", 1, peer="rclone"),
    Row("memory-load", "… the most while writing and reading {big} MiB", "MiB", "less"),
    Row("cpu-write", "CPU of all that is the contender's, writing", "s/GiB", "less"),
    Row("cpu-read", "… reading, cold", "s/GiB", "less"),
)
BY_KEY = {row.key: row for row in ROWS}

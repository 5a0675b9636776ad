"""What travels about the size of history: rules, prunes, leases, and how much there is."""

import msgspec


class Retention(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """How much of its past a bucket keeps."""

    bucket: int
    rule: str
    """As `rengafs.protocol.retention` reads it; ``all`` where there is none."""
    author: str = ""
    """Who set it; empty: nobody."""
    set_ms: int = 0


class PruneHistory(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a prune is to do."""

    dry_run: bool = False
    """Only say what would go."""
    listed: int = 0
    """How many of the versions that go are told one by one, at the most."""
    after: int = 0
    """Go on where an earlier answer ended; see `Pruned.after`."""
    seconds: float = 0
    """Answer after about so long, though there is more to take. 0: when all is done, as always
    if only asked what would go."""


class PrunedVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A version that goes."""

    path: str
    """``bucket/dir/file`` by its present or last name."""
    version: int
    created_ms: int
    size: int


class SparedVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A version that would go, but for somebody who needs it."""

    path: str
    """``bucket/dir/file`` by its present or last name."""
    version: int
    created_ms: int
    size: int
    why: str
    """Who needs it, and for what; for people."""


class Pruned(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a prune took from history, or would take."""

    bucket: int
    rule: str
    versions: int = 0
    size: int = 0
    """Bytes of these versions."""
    freed_bytes: int = 0
    """Bytes that the backends no longer hold: contents that nothing else needs."""
    held: int = 0
    """Versions that only open files and pins of mounts kept."""
    dry_run: bool = False
    listed: list[PrunedVersion] = []
    spared: list[SparedVersion] = []
    """Of those *held*, as many as are told one by one. Only of a dry run."""
    after: int | None = None
    """Where to go on with another request; None: this was all."""


class Hold(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Versions that a client needs for a while, whatever a rule says.

    It takes the place of all that the same holder of the same user held before.
    """

    holder: str
    versions: list[int]
    """Those that the user may not see are passed over."""
    seconds: int


PIN = "pin:"
"""How the holder of a pin begins; other holders are mounts, which tell of what is open."""


def pin_holder(host: str, pin: str) -> str:
    """Return the name by which a pin on a machine holds versions."""
    return f"{PIN}{host[:64]}:{pin}"


def why_held(user: str, holder: str) -> str:
    """Return who holds a version, and for what."""
    if not holder.startswith(PIN):
        return f"in use by {user}"
    host = holder.removeprefix(PIN).rpartition(":")[0]
    return f"pinned by {user} on {host}" if host else f"pinned by {user}"


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """What is held now."""

    versions: int


class BucketUsage(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """How much a bucket holds, in bytes."""

    bucket: int
    name: str
    """Shown name; of a deleted bucket, its last."""
    backend: str
    files: int
    live_bytes: int
    """Of current versions."""
    history_bytes: int
    """Of all other versions."""
    stored_bytes: int
    """What lies in backends for it, each content once. Buckets may share some."""
    quota_bytes: int | None = None
    rule: str = ""
    """Of retention."""
    deleted: bool = False


class Usages(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """How much the buckets hold that a user may see."""

    buckets: list[BucketUsage]
    stored_bytes: dict[str, int]
    """What lies in each backend for all of them together, each content once."""

"""Renewing the token of a login: once, however many processes of a user see it end.

An issuer may take a refresh token only once. So who renews holds a lock, and who waited for
it finds the fresh token in the store. Blocking: for a thread.
"""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rengafs.client.access.credentials import Secret, Store
from rengafs.client.access.devicelogin import refresh
from rengafs.protocol.errors import SetupError

MARGIN_MS = 60_000
"""A token that ends sooner is renewed before it is used."""
LOCK_NAME = "credentials.lock"
LOCK_SECONDS = 45.0
"""Longer than the two answers of an issuer that another process may wait for."""
POLL_SECONDS = 0.05


def renewed(address: str, store: Store, lock: Path, refused: str = "") -> Secret | None:
    """Return the secret for *address*, renewed if it ends soon; None if none is stored.

    :param lock: a file that all processes which use *store* have in common.
    :param refused: a token that the service does not take any more, however long it says to last.

    Raises as `refresh`, and `SetupError` if another process does not give the lock back.
    """

    def wants(secret: Secret) -> bool:
        return bool(secret.refresh_token) and (secret.token == refused or _ends_soon(secret))

    secret = store.load(address)
    if secret is None or not wants(secret):
        return secret
    with _held(lock):
        secret = store.load(address)
        if secret is not None and wants(secret):
            secret = refresh(secret)
            store.save(address, secret)
    return secret


def _ends_soon(secret: Secret) -> bool:
    ends = secret.expires_ms
    return ends is not None and ends - MARGIN_MS < time.time_ns() // 1_000_000


@contextmanager
def _held(path: Path) -> Iterator[None]:
    """Hold the lock *path*; the kernel gives it back however this process ends."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SetupError(f"can't write {path} ({error.strerror})") from None
    try:
        _wait(lambda: fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB), path)
        yield
    finally:
        os.close(descriptor)


def _wait(take: Callable[[], None], path: Path) -> None:
    # flock(2) itself waits without a bound.
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            return take()
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise SetupError(
                    f"another process renews the login and does not end ({path})"
                ) from None
            time.sleep(POLL_SECONDS)

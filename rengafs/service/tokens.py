"""Users' tokens, made and revoked in the catalog itself: no service need run.

A running service takes a new token at once, and a revoked one no longer after seconds.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from rengafs.catalog.access import MAX_NAME
from rengafs.catalog.catalog import Catalog
from rengafs.catalog.values import TokenListing
from rengafs.protocol.errors import SetupError
from rengafs.service.authority import PREFIX
from rengafs.service.run import ServeOptions, open_service_catalog


def create_token(
    options: ServeOptions,
    name: str,
    *,
    read_only: bool = False,
    expires_ms: int | None = None,
    everywhere: bool = False,
) -> str:
    """Return a new token for the user *name*, who is made if there is none.

    :param expires_ms: when it ends, in ms since 1970; None: never.
    :param everywhere: the user may do everything in every bucket.

    Raises `SetupError`.
    """
    if not name or len(name) > MAX_NAME or not name.isprintable():
        raise SetupError(f"the name of a user has 1 to {MAX_NAME} printable characters")
    token = PREFIX + secrets.token_urlsafe(32)
    with catalog_of(options) as catalog:
        catalog.add_token(
            name, token, read_only=read_only, expires_ms=expires_ms, everywhere=everywhere
        )
    return token


def list_tokens(options: ServeOptions) -> list[TokenListing]:
    """Return all tokens, without the secrets. Raises `SetupError`."""
    with catalog_of(options) as catalog:
        return catalog.list_tokens()


def revoke_token(options: ServeOptions, name: str) -> int:
    """Revoke all tokens of a user; return how many. Raises `NotFound`, `SetupError`."""
    with catalog_of(options) as catalog:
        return catalog.revoke_tokens(name)


@contextmanager
def catalog_of(options: ServeOptions) -> Iterator[Catalog]:
    """Give the catalog of a service's data. Raises `SetupError`."""
    catalog = open_service_catalog(options)
    try:
        yield catalog
    finally:
        catalog.close()

"""Users, their tokens, and who read what. A token itself is never stored, only its hash."""

import hashlib

from sqlalchemy import Connection, insert, select, update

from rengafs.catalog.schema import identities, lineage, tokens, users
from rengafs.catalog.values import TokenHolder, TokenListing
from rengafs.catalog.writer import Writer
from rengafs.protocol.errors import NotAuthenticated, NotFound, TokenExpired

MAX_NAME = 100
"""Characters of a user's name."""
RESERVED = frozenset({"embedded"})
"""Names that an issuer's users don't get: that one may do everything."""


def digest(token: str) -> str:
    """Return what is stored of a token. It is 256 random bits, so a plain hash is enough."""
    return hashlib.sha256(token.encode(errors="surrogateescape")).hexdigest()


def add_token(
    w: Writer,
    name: str,
    token: str,
    *,
    read_only: bool,
    expires_ms: int | None,
    everywhere: bool = False,
) -> None:
    """Let *token* speak for the user *name*, who is made if there is none yet.

    :param everywhere: the user may do everything in every bucket from now on.
    """
    user = w.connection.execute(select(users.c.id).where(users.c.name == name)).scalar()
    if user is None:
        user = w.take_id()
        row = {"id": user, "name": name, "created_ms": w.now_ms, "everywhere": everywhere}
        w.connection.execute(insert(users), row)
    elif everywhere:
        w.connection.execute(update(users).where(users.c.id == user).values(everywhere=True))
    w.connection.execute(
        insert(tokens),
        {
            "id": w.take_id(),
            "user": user,
            "sha256": digest(token),
            "read_only": read_only,
            "created_ms": w.now_ms,
            "expires_ms": expires_ms,
            "revoked_ms": None,
        },
    )


def find_identity(connection: Connection, issuer: str, subject: str) -> TokenHolder | None:
    """Return whom an issuer means by *subject*; None: nobody who was here before."""
    row = connection.execute(
        select(users.c.id, users.c.name, users.c.everywhere)
        .select_from(identities.join(users, users.c.id == identities.c.user))
        .where(identities.c.issuer == issuer, identities.c.subject == subject)
    ).first()
    if row is None:
        return None
    return TokenHolder(row.id, row.name, False, None, bool(row.everywhere))


def add_identity(w: Writer, issuer: str, subject: str, name: str) -> TokenHolder:
    """Make a user for an issuer's *subject*, called *name* if nobody is.

    The name proves nothing: who is called so already is somebody else, and stays alone in it.
    """
    known = find_identity(w.connection, issuer, subject)
    if known is not None:
        return known  # another request of theirs was quicker
    user = w.take_id()
    name = "".join(letter for letter in name if letter.isprintable())[:MAX_NAME].strip()
    taken = w.connection.execute(select(users.c.id).where(users.c.name == name)).first()
    if not name or name in RESERVED or taken is not None:
        name = f"{name}~{user}"
    row = {"id": user, "name": name, "created_ms": w.now_ms, "everywhere": False}
    w.connection.execute(insert(users), row)
    identity = {"issuer": issuer, "subject": subject, "user": user}
    w.connection.execute(insert(identities), identity)
    return TokenHolder(user, name, False, None)


def list_tokens(connection: Connection) -> list[TokenListing]:
    """Return all tokens, by user and age, revoked and expired ones too."""
    query = (
        select(users.c.name, tokens)
        .select_from(tokens.join(users, users.c.id == tokens.c.user))
        .order_by(users.c.name, tokens.c.id)
    )
    return [
        TokenListing(row.name, bool(row.read_only), row.created_ms, row.expires_ms, row.revoked_ms)
        for row in connection.execute(query)
    ]


def revoke_tokens(w: Writer, name: str) -> int:
    """Revoke all tokens of a user; return how many. Raises `NotFound` for nobody."""
    user = w.connection.execute(select(users.c.id).where(users.c.name == name)).scalar()
    if user is None:
        raise NotFound(f"nobody is called {name!r}; `rengafs token list` shows who there is")
    done = w.connection.execute(
        update(tokens)
        .where(tokens.c.user == user, tokens.c.revoked_ms.is_(None))
        .values(revoked_ms=w.now_ms)
    )
    return int(done.rowcount)


def find_holder(connection: Connection, token: str, now_ms: int) -> TokenHolder:
    """Return who a token speaks for. Raises `NotAuthenticated`, `TokenExpired`."""
    row = connection.execute(
        select(
            users.c.id,
            users.c.name,
            users.c.everywhere,
            tokens.c.read_only,
            tokens.c.expires_ms,
            tokens.c.id.label("token"),
        )
        .select_from(tokens.join(users, users.c.id == tokens.c.user))
        .where(tokens.c.sha256 == digest(token), tokens.c.revoked_ms.is_(None))
    ).first()
    if row is None:
        raise NotAuthenticated("the token is not one of this service, or has been revoked")
    holder = TokenHolder(
        row.id, row.name, bool(row.read_only), row.expires_ms, bool(row.everywhere), row.token
    )
    refuse_expired(holder, now_ms)
    return holder


def may_everything(connection: Connection, user: int) -> bool:
    """Whether a user may do everything in every bucket."""
    return bool(connection.execute(select(users.c.everywhere).where(users.c.id == user)).scalar())


def refuse_revoked(connection: Connection, token: int) -> None:
    """Raise `NotAuthenticated` for a token (by its id) that has been revoked; 0 is none."""
    query = select(tokens.c.revoked_ms).where(tokens.c.id == token)
    if token and connection.execute(query).scalar() is not None:
        raise NotAuthenticated("the token that this access token came from has been revoked")


def refuse_expired(holder: TokenHolder, now_ms: int) -> None:
    """Raise `TokenExpired` when its time is over."""
    if holder.expires_ms is not None and holder.expires_ms <= now_ms:
        raise TokenExpired("the token has expired; make a new one with `rengafs token create`")


def note_read(w: Writer, version: int) -> None:
    """Keep which execution or project read a version."""
    w.connection.execute(
        insert(lineage),
        {
            "id": w.take_id(),
            "version": version,
            "execution": w.actor.execution,
            "project": w.actor.project,
            "user": w.actor.name,
            "at_ms": w.now_ms,
        },
    )

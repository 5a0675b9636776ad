"""Users: their tokens, and what each may."""

from collections.abc import Sequence

from rengafs.catalog import access, membership, original, places
from rengafs.catalog.calls.transactions import Transactions
from rengafs.catalog.values import ADMIN, Actor, Member, Role, TokenHolder, TokenListing
from rengafs.protocol.errors import NotFound
from rengafs.protocol.records import Kind


class Users(Transactions):
    """Who may what."""

    def holder(self, token: str) -> TokenHolder:
        """Return who a token speaks for. Raises `NotAuthenticated`, `TokenExpired`."""
        with self._database.read() as connection:
            return access.find_holder(connection, token, self._clock_ns() // 1_000_000)

    def find_person(self, issuer: str, subject: str) -> TokenHolder | None:
        """Return whom an issuer means by *subject*; None: nobody who was here before."""
        with self._database.read() as connection:
            return access.find_identity(connection, issuer, subject)

    def add_person(self, issuer: str, subject: str, name: str) -> TokenHolder:
        """Make a user for an issuer's *subject*, called *name* if nobody is."""
        with self._write(ADMIN) as w:
            return access.add_identity(w, issuer, subject, name)

    def add_token(
        self,
        name: str,
        token: str,
        *,
        read_only: bool = False,
        expires_ms: int | None = None,
        everywhere: bool = False,
    ) -> None:
        """Let *token* speak for the user *name*."""
        with self._write(ADMIN) as w:
            access.add_token(
                w,
                name,
                token,
                read_only=read_only,
                expires_ms=expires_ms,
                everywhere=everywhere,
            )

    def list_tokens(self) -> list[TokenListing]:
        """Return all tokens, without the secrets."""
        with self._database.read() as connection:
            return access.list_tokens(connection)

    def revoke_tokens(self, name: str) -> int:
        """Revoke all tokens of a user; return how many. Raises `NotFound`."""
        with self._write(ADMIN) as w:
            return access.revoke_tokens(w, name)

    def permit(
        self, user: int, numbers: Sequence[int], role: Role, what: membership.What = "node"
    ) -> None:
        """Raise `NotFound` or `Forbidden` unless the user has *role* where these ids are."""
        with self._database.read() as connection:
            for number in numbers:
                membership.permit(connection, user, number, role, what)

    def permit_grant(self, user: int, token: int, file: int, role: Role) -> None:
        """Raise unless a grant's user still has *role* where a file stands, and the token."""
        with self._database.read() as connection:
            access.refuse_revoked(connection, token)
            if not access.may_everything(connection, user):
                membership.permit(connection, user, file, role, "file")

    def permit_name(self, user: int, name: str, role: Role, at: int | None = None) -> None:
        """The same for the bucket of a shown name."""
        with self._database.seen_by(user).read() as connection:
            then = places.check_at(connection, at)
            membership.permit_name(connection, user, name, role, then)

    def hidden(self, user: int, versions: Sequence[int]) -> dict[int, NotFound]:
        """Return those of *versions* that a user may not see, with the error for each."""
        found: dict[int, NotFound] = {}
        with self._database.read() as connection:
            for number in versions:
                try:
                    membership.permit(connection, user, number, "reader", "version")
                except NotFound as error:
                    found[number] = error
        return found

    def visible(self, user: int) -> frozenset[int]:
        """Return the buckets that a user may see."""
        with self._database.read() as connection:
            return membership.visible(connection, user)

    def members(self, bucket: int | None = None) -> list[Member]:
        """Return the members of a bucket, or of all buckets."""
        with self._database.read() as connection:
            return membership.list_members(connection, bucket)

    def set_role(self, bucket: int, name: str, role: Role | None) -> None:
        """Make a user a member of a bucket; None: no longer. Raises `NotFound`."""
        with self._write(ADMIN) as w:
            original.get_bucket(w, bucket)
            user = membership.set_role(w, bucket, name, role)
            place = original.eldest_place(w.connection, bucket)
            if place is None:
                return
            if role is None:
                w.event(
                    "taken",
                    bucket,
                    bucket=bucket,
                    parent=place.parent,
                    name=place.shown,
                    kind=Kind.BUCKET,
                    other=user,
                )
            else:
                w.tell_entered(place)  # it is new to somebody
            w.complete("take" if role is None else "grant")

    def note_read(self, actor: Actor, version: int) -> None:
        """Keep which execution or project read a version."""
        with self._write(actor) as w:
            access.note_read(w, version)

"""A small OpenID Connect issuer: a discovery document, keys, and tokens signed with them."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

AUDIENCE = "rengafs"
REALM = "/auth/realms/Renga"
KEYS = f"{REALM}/protocol/openid-connect/certs"


class Signer:
    """Signs tokens; its server tells its keys, while it answers."""

    def __init__(self, port: int) -> None:
        self.address = f"http://127.0.0.1:{port}{REALM}"
        self.name = self.address
        """What its discovery document says it is."""
        self.asked: list[str] = []
        self.answers = True
        self._keys: dict[str, Any] = {}
        self.rotate()

    def rotate(self, *, curve: bool = False) -> None:
        """Have one new key, and no other."""
        if curve:
            key: Any = ec.generate_private_key(ec.SECP256R1())
        else:
            key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._keys = {f"key-{len(self.asked)}-{time.monotonic_ns()}": key}

    @property
    def key(self) -> Any:
        """The private key."""
        return next(iter(self._keys.values()))

    @property
    def key_id(self) -> str:
        return next(iter(self._keys))

    def token(
        self, name: str, *, key: Any = None, alg: str = "", kid: str = "", **claims: Any
    ) -> str:
        """Return a token for a user; *claims* replace its claims, those of None go."""
        now = int(time.time())
        given = {
            "iss": self.address,
            "sub": f"subject-of-{name}",
            "aud": [AUDIENCE, "account"],
            "iat": now,
            "exp": now + 300,
            "typ": "Bearer",
            "preferred_username": name,
            **claims,
        }
        key = self.key if key is None else key
        if not alg:
            alg = "ES256" if isinstance(key, ec.EllipticCurvePrivateKey) else "RS256"
        return jwt.encode(
            {claim: value for claim, value in given.items() if value is not None},
            key,
            algorithm=alg,
            headers={"kid": kid or self.key_id},
        )

    def answer(self, path: str) -> dict[str, Any] | None:
        """Return the document at a path."""
        if path == f"{REALM}/.well-known/openid-configuration":
            return {"issuer": self.name, "jwks_uri": self.address.removesuffix(REALM) + KEYS}
        if path == KEYS:
            return {"keys": [_public(number, key) for number, key in self._keys.items()]}
        return None


def _public(number: str, key: Any) -> dict[str, Any]:
    curve = isinstance(key, ec.EllipticCurvePrivateKey)
    kind: Any = jwt.algorithms.ECAlgorithm if curve else jwt.algorithms.RSAAlgorithm
    told = json.loads(kind.to_jwk(key.public_key()))
    return {**told, "kid": number, "use": "sig", "alg": "ES256" if curve else "RS256"}


@contextmanager
def running_signer() -> Iterator[Signer]:
    """Give an issuer on a free port of the loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            signer.asked.append(self.path)
            document = signer.answer(self.path) if signer.answers else None
            body = json.dumps(document or {}).encode()
            self.send_response(200 if document else 500)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        signer = Signer(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield signer
        finally:
            server.shutdown()
            thread.join()

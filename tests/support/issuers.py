"""A small OpenID Connect issuer with the device flow: real keys, real signatures, no browser."""

import http.server
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qs

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

AUDIENCE = "buckets"


@dataclass
class Issuer:
    """What an issuer is told to do, and what it was asked."""

    address: str = ""
    agreed_after: int = 1
    """How often a login is answered ``authorization_pending``."""
    denied: bool = False
    seconds: float = 300
    """How long tokens are good for."""
    promised: float | None = None
    """How long they are said to be good for; None: the truth."""
    asked: list[str] = field(default_factory=list)
    _key: rsa.RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65537, 2048))

    def keys(self) -> dict[str, object]:
        public = RSAAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        return {"keys": [{**public, "kid": "1", "use": "sig", "alg": "RS256"}]}

    def token(self, name: str = "ann") -> str:
        now = int(time.time())
        claims = {
            "iss": self.address,
            "aud": AUDIENCE,
            "sub": f"id-of-{name}",
            "preferred_username": name,
            "iat": now,
            "exp": now + int(self.seconds),
        }
        return jwt.encode(claims, self._key, algorithm="RS256", headers={"kid": "1"})

    def answer(self, path: str, form: dict[str, str]) -> tuple[int, dict[str, object]]:
        match path:
            case "/.well-known/openid-configuration":
                return 200, {
                    "issuer": self.address,
                    "jwks_uri": f"{self.address}/keys",
                    "token_endpoint": f"{self.address}/token",
                    "device_authorization_endpoint": f"{self.address}/device",
                }
            case "/keys":
                return 200, self.keys()
            case "/device":
                uri = f"{self.address}/agree"
                code = {"device_code": "d", "user_code": "ABCD-EFGH", "verification_uri": uri}
                return 200, {**code, "interval": 0.1, "expires_in": 30}
            case "/token":
                return self._token(form)
        return 404, {}

    def _token(self, form: dict[str, str]) -> tuple[int, dict[str, object]]:
        self.asked.append(form["grant_type"])
        if self.denied:
            return 400, {"error": "access_denied", "error_description": "Ann said no"}
        if form["grant_type"] != "refresh_token" and len(self.asked) <= self.agreed_after:
            return 400, {"error": "authorization_pending"}
        seconds = self.seconds if self.promised is None else self.promised
        refresh = {"refresh_token": "again", "expires_in": seconds}
        return 200, {"access_token": self.token(), "token_type": "Bearer", **refresh}


@contextmanager
def running_issuer() -> Iterator[Issuer]:
    """Give an issuer that answers on a port of the loopback."""
    issuer = Issuer()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer({})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            self._answer({name: values[0] for name, values in parse_qs(body).items()})

        def _answer(self, form: dict[str, str]) -> None:
            status, document = issuer.answer(self.path, form)
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    issuer.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield issuer
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

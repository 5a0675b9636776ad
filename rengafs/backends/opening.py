"""Remote backends from their definitions. Loads the libraries that they need."""

from collections.abc import Callable

from rengafs.backends.base import Backend
from rengafs.backends.definitions import S3, Swift
from rengafs.backends.remote import RemoteBackend
from rengafs.backends.store import Store
from rengafs.backends.wrapping import wrapped


def open_remote(name: str, definition: S3 | Swift, secret: Callable[[str], str]) -> Backend:
    """Return a backend; nothing is asked of the store yet. Raises `SetupError`."""
    return wrapped(RemoteBackend(name, open_store(definition, secret)))


def open_store(definition: S3 | Swift, secret: Callable[[str], str]) -> Store:
    """Return a store alone. *secret* finds out what ``env:`` and ``file:`` mean."""
    if isinstance(definition, S3):
        return _open_s3(definition, secret)
    return _open_swift(definition, secret)


def _open_s3(definition: S3, secret: Callable[[str], str]) -> Store:
    from rengafs.backends.s3.backend import S3Settings, S3Store

    settings = S3Settings(
        bucket=definition.bucket,
        endpoint=definition.endpoint,
        region=definition.region,
        prefix=definition.prefix,
        profile=definition.profile,
        access_key=secret(definition.access_key),
        secret_key=secret(definition.secret_key),
        session_token=secret(definition.session_token),
        addressing=definition.addressing,
    )
    return S3Store(settings)


def _open_swift(definition: Swift, secret: Callable[[str], str]) -> Store:
    from rengafs.backends.swift.access import AuthV1, KeystoneV3, Login
    from rengafs.backends.swift.backend import SwiftSettings, SwiftStore

    login: Login
    if definition.auth == "v1":
        login = AuthV1(definition.auth_url, definition.user, secret(definition.key))
    else:
        login = KeystoneV3(
            definition.auth_url,
            user=definition.user,
            password=secret(definition.key),
            user_domain=definition.user_domain,
            project=definition.project,
            project_domain=definition.project_domain,
            credential_id=definition.credential_id,
            credential_secret=secret(definition.credential_secret),
            region=definition.region,
            interface=definition.interface,
        )
    tempurl_key = secret(definition.tempurl_key)
    return SwiftStore(SwiftSettings(definition.container, login, tempurl_key))

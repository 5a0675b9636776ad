"""What the backends' file may say of a backend of each kind. Nothing is opened here."""

from pathlib import Path
from typing import Literal

import msgspec

PARKED_SECONDS = 60.0
"""How long a small blob stays in the catalog before it is put into the store; 0: not at all."""


class Local(msgspec.Struct, tag="local", tag_field="kind", forbid_unknown_fields=True):
    """A directory of this machine, or of a file system that all processes share."""

    directory: Path


class S3(msgspec.Struct, tag="s3", tag_field="kind", forbid_unknown_fields=True):
    """A bucket of any S3."""

    bucket: str
    endpoint: str = ""
    region: str = ""
    prefix: str = ""
    profile: str = ""
    access_key: str = ""
    secret_key: str = ""
    session_token: str = ""
    addressing: Literal["auto", "path", "virtual"] = "auto"
    parked_seconds: float = PARKED_SECONDS


class Swift(msgspec.Struct, tag="swift", tag_field="kind", forbid_unknown_fields=True):
    """A container of OpenStack Swift."""

    container: str
    auth_url: str
    auth: Literal["v1", "v3"] = "v3"
    user: str = ""
    key: str = ""
    user_domain: str = "Default"
    project: str = ""
    project_domain: str = "Default"
    credential_id: str = ""
    credential_secret: str = ""
    region: str = ""
    interface: Literal["public", "internal", "admin"] = "public"
    tempurl_key: str = ""
    parked_seconds: float = PARKED_SECONDS


Definition = Local | S3 | Swift
"""Of one backend."""

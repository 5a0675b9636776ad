"""What goes in and comes out of the original API's calls, where it is no vertex."""

from typing import Any

import msgspec


class CreateBucket(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Body of ``create_bucket``."""

    name: str | None = None
    backend: str = ""
    request_type: str = "create_bucket"
    labels: list[str] = []


class CreatedBucket(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of ``create_bucket``; the flat properties spare the SDK a second call."""

    id: int
    name: str
    properties: dict[str, Any] = {}


class CreateFile(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Body of ``create_file``. Without a name, one is made up."""

    bucket_id: int
    file_name: str | None = None
    request_type: str = "create_file"
    labels: list[str] = []


class CreatedFile(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of ``create_file``: an empty file, and a token that may write it."""

    id: int
    access_token: str


class Authorize(msgspec.Struct, frozen=True, kw_only=True):
    """Body of ``authorize/read`` and ``authorize/write``."""

    resource_id: int
    request_type: str = ""


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """An access token for one file in one direction."""

    access_token: str


class CopyFile(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Body of ``copy_file``; *resource_id* is a file or one version."""

    resource_id: int
    file_name: str | None = None
    bucket_id: int | None = None
    request_type: str = "copy_file"
    labels: list[str] = []


class Created(msgspec.Struct, frozen=True, kw_only=True):
    """The id of what was made."""

    id: int


class Metadata(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Body of ``PUT /file/{id}`` and ``PUT /bucket/{id}``; both name it ``file_name``."""

    file_name: str | None = None
    labels: list[str] | None = None

"""Handlers of the original API: control plane and explorer. Its bytes are in `contents`."""

import asyncio
import logging

from starlette.responses import Response

from rengafs.backends.base import Backend
from rengafs.catalog.catalog import Catalog
from rengafs.catalog.values import Role, TokenHolder
from rengafs.protocol.endpoints import (
    Authorize,
    CopyFile,
    Created,
    CreatedBucket,
    CreatedFile,
    Grant,
)
from rengafs.protocol.errors import NotFound, RengafsError
from rengafs.protocol.vertices import VertexData, flatten
from rengafs.service.calls import Call, answer, permit
from rengafs.service.parts import Parts

BACKEND_SECONDS = 5.0
"""A backend that does not answer within this time does not work."""

log = logging.getLogger(__name__)


async def backends(parts: Parts, call: Call) -> Response:
    """Answer the names of the backends that work, the default first."""
    working = await asyncio.gather(*map(_works, parts.backends.values()))
    return answer([name for name, works in zip(parts.backends, working, strict=True) if works])


async def _works(backend: Backend) -> bool:
    try:
        async with asyncio.timeout(BACKEND_SECONDS):
            await backend.space()
    except (RengafsError, TimeoutError) as error:
        log.warning("the backend %s does not work: %s", backend.name, error)
        return False
    return True


async def create_bucket(parts: Parts, call: Call) -> Response:
    """Make a bucket."""
    call.refuse_read_only()
    vertex = await parts.write(Catalog.create_bucket, call.actor(), call.body)
    properties = flatten(vertex)
    name = properties["resource:bucket_name"]
    return answer(CreatedBucket(id=vertex.id, name=name, properties=properties), 201)


async def create_file(parts: Parts, call: Call) -> Response:
    """Make an empty file, with a grant to write it."""
    call.refuse_read_only()
    await permit(parts, call.user, [call.body.bucket_id], "writer", "bucket")
    number = await parts.write(Catalog.create_file, call.actor(), call.body)
    token = parts.authority.grant(call.user, number, "write")
    return answer(CreatedFile(id=number, access_token=token), 201)


async def copy_file(parts: Parts, call: Call) -> Response:
    """Clone a file or a version."""
    call.refuse_read_only()
    body: CopyFile = call.body
    # Beside the source, unless another bucket is given.
    role: Role = "writer" if body.bucket_id is None else "reader"
    await permit(parts, call.user, [body.resource_id], role, "resource")
    if body.bucket_id is not None:
        await permit(parts, call.user, [body.bucket_id], "writer", "bucket")
    return answer(Created(id=await parts.write(Catalog.copy_file, call.actor(), body)), 201)


async def authorize_read(parts: Parts, call: Call) -> Response:
    """Answer a grant for the version that is the newest now, or the one named."""
    body: Authorize = call.body
    await permit(parts, call.user, [body.resource_id], "reader", "resource")
    file, version = await parts.read(Catalog.resource, body.resource_id)
    return answer(Grant(access_token=_read_grant(parts, call.user, file, version)))


async def authorize_write(parts: Parts, call: Call) -> Response:
    """Answer a grant to write a file; a version can't be written."""
    call.refuse_read_only()
    body: Authorize = call.body
    await permit(parts, call.user, [body.resource_id], "writer", "resource")
    file, _ = await parts.read(Catalog.resource, body.resource_id)
    if file != body.resource_id:
        raise NotFound(
            f"{body.resource_id} is a version, which nobody can write; its file is {file}",
            file=file,
        )
    return answer(Grant(access_token=parts.authority.grant(call.user, file, "write")))


async def put_file(parts: Parts, call: Call) -> Response:
    """Rename or label a file."""
    call.refuse_read_only()
    number = call.id("file")
    await parts.write(Catalog.put_file, call.actor(), number, call.body)
    return answer(Created(id=number))


async def put_bucket(parts: Parts, call: Call) -> Response:
    """Rename or label a bucket."""
    call.refuse_read_only()
    number = call.id("bucket")
    await parts.write(Catalog.put_bucket, call.actor(), number, call.body)
    return answer(Created(id=number))


async def explore_buckets(parts: Parts, call: Call) -> Response:
    """Answer all buckets that the user may see."""
    buckets = await parts.read(Catalog.explore_buckets)
    if not call.user.everywhere:
        seen = await parts.read(Catalog.visible, call.user.user)
        buckets = [bucket for bucket in buckets if bucket.id in seen]
    return answer(buckets)


async def explore_bucket(parts: Parts, call: Call) -> Response:
    """Answer one bucket."""
    return answer(await parts.read(Catalog.explore_bucket, call.id("bucket")))


async def explore_files(parts: Parts, call: Call) -> Response:
    """Answer all files of a bucket."""
    return answer(await parts.read(Catalog.explore_files, call.id("bucket")))


async def explore_file(parts: Parts, call: Call) -> Response:
    """Answer one file or version."""
    vertex = await parts.read(Catalog.explore_file, call.id("file"))
    return answer(VertexData(data=vertex))


async def explore_versions(parts: Parts, call: Call) -> Response:
    """Answer all versions of a file."""
    return answer(await parts.read(Catalog.explore_versions, call.id("file")))


def _read_grant(parts: Parts, holder: TokenHolder, file: int, version: int | None) -> str:
    return parts.authority.grant(holder, file, "read", version)

"""Handlers of how much of the past is kept: rules, prunes, leases, and what there is."""

import logging
import math
import time

from starlette.responses import Response

from rengafs.catalog.catalog import Catalog
from rengafs.catalog.values import Blob
from rengafs.protocol.errors import BadRequest, RengafsError
from rengafs.protocol.keeping import Held, Hold, PruneHistory
from rengafs.protocol.queries import UsagesOf
from rengafs.service.calls import Call, answer, permit
from rengafs.service.parts import Parts

log = logging.getLogger(__name__)

MAX_HELD = 200_000
"""Versions that one holder may hold."""
MAX_HOLDER = 200
LONGEST_HOLD_SECONDS = 31 * 86_400
MAX_LISTED = 10_000


async def usages(parts: Parts, call: Call) -> Response:
    """Answer how much each bucket holds."""
    query: UsagesOf = call.query
    if query.bucket is not None:
        await permit(parts, call.user, [query.bucket], "reader", "bucket")
    user = None if call.user.everywhere else call.user.user
    return answer(await parts.read(Catalog.usages, user, query.bucket))


async def retention(parts: Parts, call: Call) -> Response:
    """Answer a bucket's rule."""
    return answer(await parts.read(Catalog.retention, call.id("bucket")))


async def prune(parts: Parts, call: Call) -> Response:
    """Take from history what a bucket's rule does not keep; say what that was."""
    wanted: PruneHistory = call.body
    if not 0 <= wanted.listed <= MAX_LISTED:
        raise BadRequest(f"at most {MAX_LISTED} versions are told one by one")
    if wanted.seconds < 0 or wanted.after < 0:
        raise BadRequest("a prune goes on after a file's id, and for some seconds: none below 0")
    if wanted.dry_run:
        return answer(await parts.read(Catalog.plan_prune, call.id("bucket"), wanted.listed))
    call.refuse_read_only()
    actor = call.actor()
    until = time.monotonic() + (wanted.seconds or math.inf)
    done = await parts.read(Catalog.begin_prune, call.id("bucket"), wanted.listed, wanted.after)
    while not done.finished:
        await parts.write(Catalog.prune_piece, actor, done)
        for blob in done.take_freed():
            await _free(parts, blob)
        if time.monotonic() >= until:
            break
    return answer(done.report())


async def hold(parts: Parts, call: Call) -> Response:
    """Note which versions a client needs for a while."""
    wanted: Hold = call.body
    if not wanted.holder or len(wanted.holder) > MAX_HOLDER:
        raise BadRequest(f"a holder has a name of at most {MAX_HOLDER} characters")
    if len(wanted.versions) > MAX_HELD:
        raise BadRequest(f"a holder holds at most {MAX_HELD} versions")
    if not 0 < wanted.seconds <= LONGEST_HOLD_SECONDS:
        raise BadRequest(f"versions are held for 1 to {LONGEST_HOLD_SECONDS} s")
    held = await parts.write(
        Catalog.hold, call.actor(), wanted.holder, wanted.versions, wanted.seconds
    )
    return answer(Held(versions=held))


async def _free(parts: Parts, blob: Blob) -> None:
    try:
        await parts.backend(blob.backend).delete(blob.key)
    except RengafsError as error:
        # The catalog knows it no more, so the sweeper takes it later.
        log.warning("a pruned blob is left to rengafs sweep: %s", error.message)

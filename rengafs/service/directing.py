"""Readers sent straight to the backend, by a signed address that is good for a while.

Only where the deployment says so and the reader can follow. The bytes then come without
this service, so without its comparison of hashes: a part of a large blob has none anyway.
"""

from rengafs.catalog.values import Content
from rengafs.protocol.endpoints import DIRECT_HEADER
from rengafs.service.calls import Call
from rengafs.service.fetching import refuse_lost
from rengafs.service.parts import Parts

LEAST_BYTES = 1 << 20
"""For less, the second round trip costs more than it saves."""
GOOD_SECONDS = 300


async def address_elsewhere(parts: Parts, call: Call, place: Content, count: int) -> str:
    """Return where *count* bytes of a version can be read; empty: here only."""
    asked = parts.presigned and DIRECT_HEADER in call.request.headers
    if not asked or place.blob is None or count < LEAST_BYTES or call.request.method != "GET":
        return ""
    refuse_lost(place.blob, place)
    backend = parts.backend(place.blob.backend)
    return await backend.presign(place.blob.key, GOOD_SECONDS) or ""

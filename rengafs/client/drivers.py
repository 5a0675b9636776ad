"""What carries a flow out: `BlockingDriver` for threads, `TrioDriver` for trio, over httpx.

Both bound every wait: a wait for bytes by httpx's timeouts, a whole flow with all its
tries by *patience*. When patience ends, the caller gets the failure that kept the flow
from its end, or `Unreachable`, never a hang. Who needs one kind only imports its module.
"""

from rengafs.client.blocking import BlockingDriver
from rengafs.client.connection import Endpoint
from rengafs.client.trio_driver import TrioDriver

__all__ = ["BlockingDriver", "Endpoint", "TrioDriver"]

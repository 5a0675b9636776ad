"""The long line: a process that passes bytes on, each some time after it came.

A process, because work is measured in this one. ``python -m bench.peers.links ADDRESS SECONDS``
prints its own address and passes on until its input ends.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.links import delayed

ROUND_TRIP_SECONDS = 0.02


@contextmanager
def far(address: str) -> Iterator[str]:
    """Give the address at which *address* is 20 ms away."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.peers.links", address, str(ROUND_TRIP_SECONDS)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    try:
        yield process.stdout.readline().strip()
    finally:
        process.stdin.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


if __name__ == "__main__":
    with delayed(sys.argv[1], float(sys.argv[2])) as link:
        print(link.address, flush=True)
        sys.stdin.read()

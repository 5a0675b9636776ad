"""How much of a long test is run: bounded in `make test`, all of it in `make test-full`."""

import os

FULL = os.environ.get("RENGAFS_TEST_FULL", "") not in ("", "0")


def scaled(bounded, full):
    """Choose a number of rounds, files or seconds."""
    return full if FULL else bounded

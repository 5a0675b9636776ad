"""fsspec's own suite for filesystems: bulk copies, gets and puts, globs, exclusive creation."""

import pytest
from fsspec.tests import abstract


class Fixtures(abstract.AbstractFixtures):
    """What the suite asks of a filesystem; `fs` and `fs_path` are this folder's."""

    @pytest.fixture
    def fs(self, renga):
        return renga

    @pytest.fixture
    def fs_path(self, bucket):
        return bucket


class TestCopy(abstract.AbstractCopyTests, Fixtures):
    """Within the service."""


class TestGet(abstract.AbstractGetTests, Fixtures):
    """From the service to the disk."""


class TestPut(abstract.AbstractPutTests, Fixtures):
    """From the disk to the service."""


class TestOpen(abstract.AbstractOpenTests, Fixtures):
    """Opening files."""


class TestPipe(abstract.AbstractPipeTests, Fixtures):
    """Whole contents."""

"""The remote backends on real servers: Swift and its S3, Ceph's S3 and its Swift."""

from collections.abc import Callable, Iterator

import httpx
import pytest
from support.backend_contract import BackendContract, go, in_pieces, keys
from support.rgw import Gateway
from support.stores import backend_of, container, s3_store, shortener, swift_store
from support.swift import Swift

from rengafs.backends.base import HASHED_BYTES, Backend
from rengafs.backends.store import Store
from rengafs.protocol.errors import BackendRefused


class Remote(BackendContract):
    """The suite, on a store that a fixture makes."""

    @pytest.fixture
    def fresh(self) -> Callable[[], Store]:
        """Gives a store; always of the same container."""
        raise NotImplementedError

    @pytest.fixture
    def backend(self, fresh: Callable[[], Store]) -> Iterator[Backend]:
        return backend_of(fresh(), "remote")

    @pytest.fixture
    def damage(self, fresh: Callable[[], Store]) -> Callable[[str], None]:
        return shortener(fresh)


def with_tempurls(server: Swift | Gateway) -> Callable[[], Store]:
    """Return what opens a container by auth v1; its account has the key for TempURL."""
    name = container()
    with httpx.Client(trust_env=False) as client:
        headers = {"x-auth-user": server.user, "x-auth-key": server.key}
        answer = client.get(server.auth_url, headers=headers)
        more = {"x-auth-token": answer.headers["x-auth-token"]}
        more["x-account-meta-temp-url-key"] = "tempurl-key"
        client.post(answer.headers["x-storage-url"], headers=more).raise_for_status()
    return lambda: swift_store(server.auth_url, server.user, server.key, name)


class TestSwift(Remote):
    @pytest.fixture
    def fresh(self, swift: Swift) -> Callable[[], Store]:
        return with_tempurls(swift)


class TestGatewaySwift(Remote):
    """Ceph's Swift API has no manifests to rely on.

    It takes them, but forgets the ranges of segments, does not compare their hashes, and shows
    no raw manifest; of a copy it forgets the range. A read whose segment is lost never ends. So
    blobs of one part are stored, and longer ones refused: Ceph speaks S3, too. Of TempURLs it
    knows those with SHA-1 only, which OpenStack's Swift does not take any more.
    """

    @pytest.fixture
    def fresh(self, gateway: Gateway) -> Callable[[], Store]:
        return with_tempurls(gateway)

    def test_a_long_blob_is_refused_and_leaves_nothing(self, backend: Backend) -> None:
        async def run() -> None:
            with pytest.raises(BackendRefused, match="over 16 MiB"):
                await backend.put(in_pieces(bytes(3 * HASHED_BYTES)))
            assert await keys(backend) == []
            assert await backend.sweep_temporaries(-60) == 0

        go(backend, run)

    test_whoever_has_a_signed_url_reads_the_blob = None
    test_a_long_stream_that_breaks_stores_nothing = None
    test_a_long_blob_is_read_as_it_was_put = None
    test_a_long_composition_is_base_zeros_and_payload = None
    test_equal_compositions_have_equal_hashes = None
    test_a_copy_outlives_its_original = None
    test_a_base_that_was_damaged_is_never_copied_into_new_hashes = None


class TestSwiftS3(Remote):
    @pytest.fixture
    def fresh(self, swift: Swift) -> Callable[[], Store]:
        name = container()
        return lambda: s3_store(swift.url, swift.access_key, swift.secret_key, name)


class TestGatewayS3(Remote):
    @pytest.fixture
    def fresh(self, gateway: Gateway) -> Callable[[], Store]:
        name = container()
        return lambda: s3_store(gateway.url, gateway.access_key, gateway.secret_key, name)

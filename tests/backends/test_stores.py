"""The remote backends on real servers: Swift, its S3, and Ceph's S3."""

from collections.abc import Callable, Iterator

import httpx
import pytest
from support.backend_contract import BackendContract
from support.rgw import Gateway
from support.stores import backend_of, container, s3_store, shortener, swift_store
from support.swift import Swift

from rengafs.backends.base import Backend
from rengafs.backends.store import Store


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


class TestSwift(Remote):
    @pytest.fixture
    def fresh(self, swift: Swift) -> Callable[[], Store]:
        name = container()
        with httpx.Client(trust_env=False) as client:
            headers = {"x-auth-user": swift.user, "x-auth-key": swift.key}
            answer = client.get(swift.auth_url, headers=headers)
            more = {"x-auth-token": answer.headers["x-auth-token"]}
            more["x-account-meta-temp-url-key"] = "tempurl-key"
            client.post(answer.headers["x-storage-url"], headers=more).raise_for_status()
        return lambda: swift_store(swift.auth_url, swift.user, swift.key, name)


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

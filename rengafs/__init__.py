"""rengafs: every bucket a folder, every save a version, any tool.

>>> import rengafs
>>> client = rengafs.Client('https://renga.example.com', token='…')

Importing it loads nothing else: each name is loaded when it is first used.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rengafs.client.sdk.async_client import AsyncClient
    from rengafs.client.sdk.client import Client
    from rengafs.protocol import errors

__version__ = "0.1.0"

__all__ = ["AsyncClient", "Client", "__version__", "errors", "from_env"]


def from_env(environment: "Mapping[str, str] | None" = None) -> "Client":
    """Return a client configured by ``RENGA_ENDPOINT`` and ``RENGA_ACCESS_TOKEN``.

    :param environment: takes the place of the process's own.

    Raises `rengafs.errors.SetupError` where the former is missing.
    """
    from rengafs.client.sdk.client import Client

    return Client.from_env(environment)


def __getattr__(name: str) -> Any:
    if name == "Client":
        from rengafs.client.sdk.client import Client

        return Client
    if name == "AsyncClient":
        from rengafs.client.sdk.async_client import AsyncClient

        return AsyncClient
    if name == "errors":
        from rengafs.protocol import errors

        return errors
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

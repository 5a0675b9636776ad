"""What the shell offers behind a half-typed word: names of services, buckets, paths.

Asked while a person types: a service that does not answer soon offers nothing, and no
service is started for it.
"""

import os
import posixpath
from collections.abc import Iterator
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from rengafs.cli.address import current_settings, meant, token_for
from rengafs.cli.embedded import TOKEN_FILE, listener
from rengafs.cli.paths import find_paths
from rengafs.client import calls
from rengafs.client.access.settings import EMBEDDED
from rengafs.client.blocking import BlockingDriver
from rengafs.client.connection import Endpoint
from rengafs.protocol.errors import NotFound, RengafsError
from rengafs.protocol.records import ROOT

SECONDS = 2.0
MOST = 200
"""More than that is no help."""


def complete_endpoint(
    _ctx: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Offer the services of the configuration."""
    try:
        known = current_settings().endpoints
    except RengafsError:
        return []
    return [
        CompletionItem(name, help=known[name].url if name in known else "of this machine")
        for name in sorted([*known, EMBEDDED])
        if name.startswith(incomplete)
    ]


def complete_path(
    ctx: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Offer what the service has at ``bucket/di…`` or ``bucket@la…``, or else what the disk has."""
    on_disk = [CompletionItem(incomplete, type="file")]
    if incomplete.startswith(("/", ".", "~")):
        return on_disk
    try:
        found = list(_of_service(ctx.params.get("endpoint"), incomplete))
    except RengafsError:
        return on_disk
    return found or on_disk


def complete_bucket(
    ctx: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Offer the buckets of a service's data, as far as the running service tells them."""
    try:
        found = list(_of_service(None, incomplete.partition("/")[0], ctx.params.get("data")))
    except RengafsError:
        return []
    return [CompletionItem(str(item.value).rstrip("/"), remote=True) for item in found]


def _of_service(
    endpoint: str | None, incomplete: str, data: Path | None = None
) -> Iterator[CompletionItem]:
    service = _running(endpoint, data)
    if service is None:
        return
    driver = BlockingDriver(service)
    try:
        yield from _labels(driver, incomplete)
        above, _, start = incomplete.rpartition("/")
        directory = driver.run(calls.path(above)).node.id if above else ROOT
        page = driver.run(calls.entries(directory, after=_before(start), limit=MOST))
    finally:
        driver.close()
    for entry in page.entries:
        if entry.name.startswith(start):
            slash = "/" if entry.node.kind.is_directory else ""
            yield CompletionItem(posixpath.join(above, entry.name) + slash, remote=True)


def _running(endpoint: str | None, data: Path | None) -> Endpoint | None:
    """Return the service that is meant, with its token, if it is there without being started."""
    settings = current_settings()
    address = None if data else meant(endpoint, os.environ, settings).address
    if address is not None:
        token = token_for(address, None, os.environ, settings)
        return None if token is None else Endpoint(address, token.token, patience_seconds=SECONDS)
    paths = find_paths()
    data = (data or paths.data).resolve()
    sock = paths.socket(data)
    if listener(sock) is None:
        return None
    try:
        own = (data / TOKEN_FILE).read_text().strip()
    except OSError:
        return None
    return Endpoint(f"unix:{sock}", own, patience_seconds=SECONDS)


def _labels(driver: BlockingDriver, incomplete: str) -> Iterator[CompletionItem]:
    """Offer the labels of the bucket for what stands behind an ``@``."""
    stem, at, start = incomplete.rpartition("@")
    if not at or not stem or "/" in start:
        return
    try:
        bucket = driver.run(calls.path(stem.partition("/")[0])).node.id
    except NotFound:
        return
    for label in driver.run(calls.labels(bucket)):
        if label.name.startswith(start):
            yield CompletionItem(f"{stem}@{label.name}", remote=True)


def _before(start: str) -> str:
    """Return a name just before all that begin with *start*: pages begin behind a name."""
    return start[:-1] + chr(ord(start[-1]) - 1) if start and ord(start[-1]) > 1 else ""

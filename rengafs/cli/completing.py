"""What the shell offers behind a half-typed word: names of services, buckets, paths.

Asked while a person types: a service that does not answer soon offers nothing, and no
service is started for it.
"""

import os
import posixpath
from collections.abc import Iterator

import click
from click.shell_completion import CompletionItem

from rengafs.cli.address import current_settings, meant, token_for
from rengafs.client import calls
from rengafs.client.access.settings import EMBEDDED
from rengafs.client.blocking import BlockingDriver
from rengafs.client.connection import Endpoint
from rengafs.protocol.errors import RengafsError
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
    """Offer what the service has at ``bucket/di…``, or else what the disk has."""
    on_disk = [CompletionItem(incomplete, type="file")]
    if incomplete.startswith(("/", ".", "~")):
        return on_disk
    try:
        found = list(_of_service(ctx.params.get("endpoint"), incomplete))
    except RengafsError:
        return on_disk
    return found or on_disk


def _of_service(endpoint: str | None, incomplete: str) -> Iterator[CompletionItem]:
    settings = current_settings()
    address = meant(endpoint, os.environ, settings).address
    if address is None:
        return
    token = token_for(address, None, os.environ, settings)
    if token is None:
        return
    above, _, start = incomplete.rpartition("/")
    driver = BlockingDriver(Endpoint(address, token.token, patience_seconds=SECONDS))
    try:
        directory = driver.run(calls.path(above)).node.id if above else ROOT
        page = driver.run(calls.entries(directory, after=_before(start), limit=MOST))
    finally:
        driver.close()
    for entry in page.entries:
        if entry.name.startswith(start):
            slash = "/" if entry.node.kind.is_directory else ""
            yield CompletionItem(posixpath.join(above, entry.name) + slash)


def _before(start: str) -> str:
    """Return a name just before all that begin with *start*: pages begin behind a name."""
    return start[:-1] + chr(ord(start[-1]) - 1) if start and ord(start[-1]) > 1 else ""

"""``rengafs login``: take a token for a service, and keep it where only its user can read it."""

import os
import sys

import click
import httpx
import msgspec

from rengafs.cli import output
from rengafs.cli.address import PROBE_SECONDS, current_settings, probe
from rengafs.cli.asking import json_option
from rengafs.cli.completing import complete_endpoint
from rengafs.cli.exits import Exit, epilog, refuse
from rengafs.cli.options import debug_option
from rengafs.client.access.credentials import Secret, find_store
from rengafs.client.access.devicelogin import Started, log_in
from rengafs.client.access.settings import Settings, add_endpoint
from rengafs.client.blocking import BlockingDriver
from rengafs.client.connection import Endpoint
from rengafs.client.retry import ask_once
from rengafs.protocol import endpoints
from rengafs.protocol.errors import NotFound
from rengafs.protocol.records import Login


class LoggedIn(msgspec.Struct, frozen=True, kw_only=True):
    """A login; never its token."""

    name: str
    """What commands call the service."""
    address: str
    user: str
    kept: str
    """Where the token is."""


@click.command(epilog=epilog(Exit.UNREACHABLE, Exit.REFUSED))
@click.argument("endpoint", metavar="URL|NAME", shell_complete=complete_endpoint)
@click.option("--name", help="What to call the service. [default: the first part of its host]")
@click.option("--default", is_flag=True, help="Mean it wherever no service is named.")
@click.option("--with-token", is_flag=True, help="Read a token, even if the service has logins.")
@json_option
@debug_option
def command(
    endpoint: str, name: str | None, default: bool, with_token: bool, as_json: bool
) -> None:
    """Log in to the service at URL, which then has a NAME for other commands.

    A service with OpenID Connect shows a code to agree to in a browser, on any machine; any
    other wants a token, asked for, or read from standard input. It is kept in the desktop's
    keyring where there is one, else in a file that only you can read.

    \b
      rengafs login https://buckets.example.org
      rengafs login --name institute --default https://buckets.example.org < token
      rengafs mount --endpoint institute ~/buckets
    """
    settings = current_settings()
    address = settings.address(endpoint)
    Endpoint(address).base_url()  # refuses what is no address, before a token is asked for
    store = find_store(settings.file)
    secret = _secret(address, with_token=with_token or not sys.stdin.isatty())
    user = probe(Endpoint(address, secret.token, patience_seconds=PROBE_SECONDS)).user
    store.save(address, secret)
    named = name or _name_of(address, settings)
    add_endpoint(settings.file, named, address, default=default)
    if as_json:
        output.as_json(LoggedIn(name=named, address=address, user=user, kept=store.place))
        return
    output.line(f"logged in to {address} as {user}; the token is in {store.place}")
    output.line(f"use it by: rengafs mount --endpoint {named} DIR")


def _secret(address: str, *, with_token: bool) -> Secret:
    login = Login() if with_token else _ways(address)
    if login.issuer:
        return log_in(login.issuer, login.client_id, login.scope, show=_show)
    if sys.stdin.isatty():
        text = click.prompt("Token", hide_input=True, err=True)
    else:
        text = sys.stdin.read(1 << 16)
    token = str(text).strip()
    if not token:
        raise refuse(Exit.REFUSED, "no token came; make one with rengafs token create")
    return Secret(token=token)


def _ways(address: str) -> Login:
    """Ask the service where people log in."""
    driver = BlockingDriver(Endpoint(address, patience_seconds=PROBE_SECONDS))
    try:
        return endpoints.LOGIN.decode(driver.run(ask_once(endpoints.LOGIN.request())))
    except NotFound:  # a service of before there were logins
        return Login()
    finally:
        driver.close()


def _show(started: Started) -> None:
    output.aside(
        f"open {started.verification_uri_complete or started.verification_uri} in a browser, "
        f"and agree to the code {started.user_code}; waiting …"
    )


def _name_of(address: str, settings: Settings) -> str:
    known = settings.named(address)
    if known is not None:
        return known[0]
    if address.startswith("unix:"):
        stem = os.path.basename(address).partition(".")[0]
    else:
        url = httpx.URL(address)
        stem = url.host.partition(".")[0] if not url.host[:1].isdigit() else f"service-{url.port}"
    taken = settings.endpoints
    return next(n for n in (stem, *(f"{stem}-{i}" for i in range(2, 1000))) if n not in taken)

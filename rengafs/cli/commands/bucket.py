"""``rengafs bucket``: what holds for a whole bucket: who may do what, how much, for how long.

Most of it works on the service's data directly, ``retention`` over the service.
"""

from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from rengafs.cli import output
from rengafs.cli.asking import asking_of_bucket, json_option, service_options
from rengafs.cli.completing import complete_bucket, complete_path
from rengafs.cli.exits import Exit, epilog, refuse
from rengafs.cli.options import debug_option, size
from rengafs.cli.servicedata import begun_options, data_options, serve_options
from rengafs.cli.transfers import counting, transfer
from rengafs.client import calls
from rengafs.protocol.operations import SetRetention

if TYPE_CHECKING:
    from rengafs.catalog.values import Role

EPILOG = epilog(Exit.REFUSED)


@click.group()
def command() -> None:
    """Share buckets among the users of a service."""


@command.command("list", epilog=EPILOG)
@data_options
@json_option
@debug_option
def list_(data: Path | None, catalog: str, as_json: bool) -> None:
    """List the buckets and their members.

    \b
      rengafs bucket list --data /srv/buckets
    """
    from rengafs.service.sharing import list_sharing

    buckets = list_sharing(serve_options(data, catalog))
    if as_json:
        output.as_json(buckets)
        return
    output.table(
        ["id", "bucket", "bytes", "quota", "members"],
        [
            [
                str(bucket.bucket),
                bucket.name,
                str(bucket.all_bytes),
                "" if bucket.quota_bytes is None else str(bucket.quota_bytes),
                ", ".join(f"{name} ({role})" for name, role in bucket.members.items()),
            ]
            for bucket in buckets
        ],
    )


@command.command(epilog=EPILOG)
@click.argument("bucket", shell_complete=complete_bucket)
@click.argument("user")
@click.argument("role", type=click.Choice(["reader", "writer", "owner"]))
@data_options
@debug_option
def grant(bucket: str, user: str, role: str, data: Path | None, catalog: str) -> None:
    """Let USER read BUCKET, write to it too, or own it. BUCKET is a name or an id.

    A reader sees it; a writer changes what is in it; an owner renames and removes it, too.

    \b
      rengafs bucket grant experiments ann writer --data /srv/buckets
    """
    from rengafs.service.sharing import set_role

    set_role(serve_options(data, catalog), bucket, user, cast("Role", role))


@command.command(epilog=EPILOG)
@click.argument("bucket", shell_complete=complete_bucket)
@click.argument("user")
@data_options
@debug_option
def revoke(bucket: str, user: str, data: Path | None, catalog: str) -> None:
    """Hide BUCKET from USER.

    \b
      rengafs bucket revoke experiments ann --data /srv/buckets
    """
    from rengafs.service.sharing import set_role

    set_role(serve_options(data, catalog), bucket, user, None)


@command.command(epilog=EPILOG)
@click.argument("bucket", shell_complete=complete_bucket)
@click.argument("limit", metavar="SIZE|none")
@data_options
@debug_option
def quota(bucket: str, limit: str, data: Path | None, catalog: str) -> None:
    """Let BUCKET hold at most SIZE (like 512M or 10G), past versions included.

    What it holds stays, even if it is more already; saving more fails with "disk quota
    exceeded" until there is room again.

    \b
      rengafs bucket quota experiments 10G --data /srv/buckets
      rengafs bucket quota experiments none --data /srv/buckets
    """
    from rengafs.service.sharing import set_quota

    set_quota(serve_options(data, catalog), bucket, None if limit == "none" else size(limit))


@command.command(epilog=epilog(Exit.UNREACHABLE, Exit.REFUSED, Exit.NOT_MOUNTED))
@click.argument("bucket", shell_complete=complete_path)
@click.argument("rule", required=False)
@service_options
@json_option
@debug_option
def retention(
    bucket: str, rule: str | None, endpoint: str | None, token_file: Path | None, as_json: bool
) -> None:
    """Say how much of its past BUCKET keeps, or show it. Without a rule, it keeps everything.

    RULE names which saves stay: all, daily, weekly, monthly or yearly ones, each for so
    many days, weeks, months or years back from now, the last also for ever. What is
    current, labelled, open or pinned stays in any case, and what was current a day ago.
    Nothing goes before rengafs prune. Only an owner may set it. BUCKET is a directory of a
    mount, or the name of a bucket of a service.

    \b
      rengafs bucket retention ~/buckets/data "all for 30 days, daily for a year, monthly"
      rengafs bucket retention ~/buckets/data
      rengafs bucket retention ~/buckets/data all
    """
    with asking_of_bucket(bucket, endpoint, token_file) as (service, entry):
        assert entry is not None
        if rule is not None:
            operation = SetRetention(bucket=entry.node.id, rule=rule)
            service.run(calls.apply_one(operation, client=service.client))
        told = service.run(calls.retention(entry.node.id))
    if as_json:
        output.as_json(told)
    else:
        output.line(f"{entry.name} keeps: {told.rule}")


@command.command(epilog=epilog(Exit.REFUSED, Exit.UNREACHABLE))
@click.argument("bucket", shell_complete=complete_bucket)
@click.argument("backend")
@data_options
@json_option
@debug_option
def move(bucket: str, backend: str, data: Path | None, catalog: str, as_json: bool) -> None:
    """Move the bytes of BUCKET to BACKEND, its past included.

    Safe while the service runs and the bucket is in use; each blob is compared with its hash.
    If it is interrupted, the same command goes on.

    \b
      rengafs bucket move experiments s3-archive --data /srv/buckets
    """
    from rengafs.service.storage import move_bucket

    with transfer(f"moving {bucket}") as tell:
        moved = move_bucket(
            serve_options(data, catalog),
            bucket,
            backend,
            lambda so_far: tell(so_far.passed, max(so_far.total, so_far.passed)),
        )
    if as_json:
        output.as_json(moved)
    else:
        output.line(f"moved {moved.blobs} blobs of {output.size(moved.size)} to {backend}")
    if moved.failed:
        raise refuse(
            Exit.FAILED, f"{moved.failed} blobs are lost or damaged; see rengafs check --contents"
        )


@command.command(epilog=epilog(Exit.REFUSED, Exit.UNREACHABLE))
@click.argument("backend")
@click.argument("container")
@click.option("--name", metavar="NAME", help="Of the new bucket. [default: the container's]")
@click.option("--owner", metavar="USER", default="", help="Who owns the new bucket.")
@data_options
@json_option
@debug_option
def adopt(
    backend: str,
    container: str,
    name: str | None,
    owner: str,
    data: Path | None,
    catalog: str,
    as_json: bool,
) -> None:
    """Show CONTAINER, a container or bucket of BACKEND's store, as a bucket.

    Its objects become files, and where the store keeps versions, these become their history.
    No byte is copied; what is saved in the bucket goes to the backend, not to CONTAINER.

    \b
      rengafs bucket adopt swift-zurich measurements --owner ann --data /srv/buckets
    """
    from rengafs.service.storage import adopt_container

    with counting(f"adopting {container}", "objects") as tell:
        taken = adopt_container(
            begun_options(data, catalog),
            backend,
            container,
            name=name or container,
            owner=owner,
            told=lambda so_far: tell(so_far.objects),
        )
    if as_json:
        output.as_json(taken)
        return
    output.line(f"{name or container}: {taken.objects} objects, {taken.versions} versions")


@command.command(epilog=epilog(Exit.REFUSED, Exit.UNREACHABLE))
@click.argument("bucket", shell_complete=complete_bucket)
@data_options
@json_option
@debug_option
def refresh(bucket: str, data: Path | None, catalog: str, as_json: bool) -> None:
    """Take over what others changed in the container that BUCKET shows.

    \b
      rengafs bucket refresh measurements --data /srv/buckets
    """
    from rengafs.service.storage import refresh_bucket

    with counting(f"refreshing {bucket}", "objects") as tell:
        taken = refresh_bucket(
            serve_options(data, catalog), bucket, lambda so_far: tell(so_far.objects)
        )
    if as_json:
        output.as_json(taken)
        return
    output.line(f"{taken.objects} objects: {taken.versions} new versions, {taken.deleted} deleted")

"""``rengafs import``: the service fetches a URL into a file."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import click
import msgspec

from rengafs.cli import output
from rengafs.cli.asking import Service, asking, json_option, service_options
from rengafs.cli.completing import complete_path
from rengafs.cli.exits import Exit, epilog, refuse
from rengafs.cli.options import debug_option, size
from rengafs.cli.transfers import transfer
from rengafs.client import calls
from rengafs.protocol.errors import IsADirectory, UnexpectedAnswer, from_problem
from rengafs.protocol.operations import MakeFile, Unlink
from rengafs.protocol.records import Entry, ImportProgress, Kind, Node, Version


@click.command(epilog=epilog(Exit.UNREACHABLE, Exit.REFUSED, Exit.NOT_MOUNTED, Exit.NO_SPACE))
@click.argument("url")
@click.argument("path", shell_complete=complete_path)
@click.option("--max-size", type=size, default="10G", show_default=True, help="Refuse more.")
@service_options
@json_option
@debug_option
def command(
    url: str,
    path: str,
    max_size: int,
    endpoint: str | None,
    token_file: Path | None,
    as_json: bool,
) -> None:
    """Have the service fetch URL into PATH, a file or the directory for it.

    http and https only; from private addresses only if the service allows it. The file's
    attribute user.xdg.origin.url keeps the URL. A file that is there gets a new version.

    \b
      rengafs import https://example.org/measurements.csv ~/buckets/data
    """
    with asking([path], endpoint, token_file) as (service, (where,)):
        goal = where.path
        there = service.find(goal)
        if there is not None and there.node.kind.is_directory:
            goal = f"{goal}/{_name_of(url)}".lstrip("/")
            there = service.find(goal)
        version = _import(service, url, goal, there, max_size)
    if as_json:
        output.as_json(version)
    else:
        output.line(f"imported {version.size} bytes to {goal}")


def _name_of(url: str) -> str:
    name = unquote(urlsplit(url).path.rpartition("/")[2])
    if not name or "/" in name:
        raise refuse(Exit.USAGE, f"{url} says no name for the file; write it behind PATH/")
    return name


def _import(service: Service, url: str, goal: str, there: Entry | None, max_bytes: int) -> Version:
    if there is not None and there.node.kind is not Kind.FILE:
        raise IsADirectory(f"{goal} is a {there.node.kind}; name a file")
    if there is not None:
        return _fetch(service, there.node, url, max_bytes)
    above, _, name = goal.rpartition("/")
    parent = service.run(calls.path(above)).node.id
    operation = MakeFile(parent=parent, name=name)
    made = service.run(calls.apply_one(operation, client=service.client)).node
    assert made is not None, "the protocol promises the file"
    try:
        return _fetch(service, made, url, max_bytes)
    except BaseException:
        # Nothing is left of a file that never came.
        service.run(calls.apply_one(Unlink(parent=parent, name=name), client=service.client))
        raise


def _fetch(service: Service, file: Node, url: str, max_bytes: int) -> Version:
    with transfer("importing") as tell:
        for progress in _progress(service, file, url, max_bytes):
            if progress.problem is not None:
                raise from_problem(progress.problem)
            if progress.version is not None:
                return progress.version
            tell(progress.done, progress.total)
    raise UnexpectedAnswer("the service has not said what became of the import")


def _progress(service: Service, file: Node, url: str, max_bytes: int) -> Iterator[ImportProgress]:
    for line in service.lines(calls.import_url(file.id, url, max_bytes)):
        try:
            yield msgspec.json.decode(line, type=ImportProgress)
        except msgspec.DecodeError as error:
            raise UnexpectedAnswer(f"the service answers no progress ({error})") from None

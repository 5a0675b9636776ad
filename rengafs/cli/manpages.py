"""Manual pages, made from the commands themselves: what ``--help`` says, as troff.

One page a command: ``rengafs(1)``, ``rengafs-mount(1)``, ``rengafs-bucket-grant(1)``. The
wheel installs them; see ``.hatch_build.py``.
"""

import re
from collections.abc import Iterator

import click

from rengafs import __version__

LITERAL = "\b"
"""How click marks a paragraph that keeps its lines: our examples."""


def pages(group: click.Group, name: str = "rengafs") -> Iterator[tuple[str, str]]:
    """Yield file name and text of the page of *group* and of each command below it."""
    ctx = click.Context(group, info_name=name)
    listed = [(one, group.get_command(ctx, one)) for one in group.list_commands(ctx)]
    commands = [(one, command) for one, command in listed if command and not command.hidden]
    yield f"{_dashed(name)}.1", page(group, name, [one for one, _ in commands])
    for one, command in commands:
        below = f"{name} {one}"
        if isinstance(command, click.Group):
            yield from pages(command, below)
        else:
            yield f"{_dashed(below)}.1", page(command, below, [])


def page(command: click.Command, name: str, subcommands: list[str]) -> str:
    """Return the page of one command."""
    ctx = click.Context(command, info_name=name)
    title = _dashed(name)
    synopsis = " ".join(command.collect_usage_pieces(ctx))
    paragraphs = _paragraphs(command.help or "")
    lines = [
        f'.TH "{title.upper()}" "1" "" "rengafs {__version__}" "rengafs"',
        ".SH NAME",
        f"{_escape(title)} \\- {_escape(_summary(paragraphs))}",
        ".SH SYNOPSIS",
        f".B {_escape(name)}",
        _escape(synopsis),
        ".SH DESCRIPTION",
        *_prose(paragraphs),
        *_options(command, ctx),
        *_examples(paragraphs),
    ]
    if command.epilog:
        lines += [".SH EXIT STATUS", _escape(command.epilog.removeprefix("Exit codes: "))]
    lines += [".SH SEE ALSO", _see_also(name, subcommands)]
    return "\n".join(lines) + "\n"


def _options(command: click.Command, ctx: click.Context) -> Iterator[str]:
    records = [one.get_help_record(ctx) for one in command.get_params(ctx)]
    shown = [record for record in records if record is not None]
    if shown:
        yield ".SH OPTIONS"
    for names, text in shown:
        yield from (".TP", f"\\fB{_escape(names)}\\fR", _escape(text))


def _paragraphs(text: str) -> list[str]:
    return [part.strip("\n") for part in re.split(r"\n\s*\n", text.strip()) if part.strip()]


def _summary(paragraphs: list[str]) -> str:
    first = " ".join(paragraphs[0].split()) if paragraphs else ""
    return re.split(r"[.;:]", first)[0]


def _prose(paragraphs: list[str]) -> Iterator[str]:
    for paragraph in paragraphs:
        if LITERAL not in paragraph:
            yield from (".PP", _escape(" ".join(paragraph.split())))


def _examples(paragraphs: list[str]) -> Iterator[str]:
    examples = [paragraph for paragraph in paragraphs if LITERAL in paragraph]
    if examples:
        yield ".SH EXAMPLES"
    for example in examples:
        lines = [line.strip() for line in example.replace(LITERAL, "").splitlines()]
        yield from (".PP", ".nf", ".RS", *(_escape(line) for line in lines if line), ".RE", ".fi")


def _see_also(name: str, subcommands: list[str]) -> str:
    above = name.rpartition(" ")[0]
    others = ([above] if above else []) + [f"{name} {one}" for one in subcommands]
    found = ", ".join(f"\\fB{_escape(_dashed(one))}\\fR(1)" for one in others)
    return found or "\\fBrengafs\\fR(1)"


def _dashed(name: str) -> str:
    return name.replace(" ", "-")


def _escape(text: str) -> str:
    """Return *text* so that troff prints it as it is."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("~", "\\(ti").replace("^", "\\(ha")
    # A line that begins with one of these would be an order to troff.
    return "\n".join(f"\\&{line}" if line[:1] in (".", "'") else line for line in text.split("\n"))

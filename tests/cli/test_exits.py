"""The table of exit codes, and the sentences that errors become."""

import click

from rengafs.cli.exits import Exit, exit_code, refuse
from rengafs.cli.main import explain, rengafs
from rengafs.protocol.errors import Conflict, NoSpace, Unreachable, every_error


def test_every_error_ends_in_a_code_that_is_not_success():
    codes = {error: exit_code(error("text")) for error in every_error()}

    assert Exit.OK not in codes.values()
    assert codes[Unreachable] is Exit.UNREACHABLE
    assert codes[NoSpace] is Exit.NO_SPACE


def test_the_code_that_is_named_wins():
    assert exit_code(refuse(Exit.BUSY, "text")) is Exit.BUSY


def test_an_error_of_ours_is_its_message_on_one_line():
    assert explain(Conflict("one\n  two")) == ("one two", Exit.FAILED)


def test_an_error_of_ours_is_found_in_a_group():
    group = ExceptionGroup("g", [ValueError("x"), ExceptionGroup("h", [Unreachable("nobody")])])

    assert explain(group) == ("nobody", Exit.UNREACHABLE)


def test_an_error_of_the_system_names_its_file():
    assert explain(PermissionError(13, "Permission denied", "/etc/x")) == (
        "Permission denied: /etc/x",
        Exit.REFUSED,
    )


def test_a_defect_is_told_as_one():
    text, code = explain(ZeroDivisionError("division by zero"))

    assert text.startswith("a defect in rengafs: ZeroDivisionError: division by zero;")
    assert code is Exit.FAILED


def test_every_command_says_what_it_is_for_and_how_it_may_end():
    context = click.Context(rengafs)

    for name in rengafs.list_commands(context):
        command = rengafs.get_command(context, name)
        whole = [command] if not isinstance(command, click.Group) else command.commands.values()
        for part in whole:
            assert f"  rengafs {name}" in (part.help or ""), name
            assert (part.epilog or "").startswith("Exit codes: 0 done"), name

"""Every command with every kind of wrong input: one line with the thing and a remedy, one code.

The codes are those of the table in `rengafs.cli.exits`.
"""

import click
from support.commandline import run_all

from rengafs.cli.exits import Exit
from rengafs.cli.main import rengafs

ARGUMENTS = {
    "bucket adopt": ["local", "c"],
    "bucket grant": ["b", "ann", "reader"],
    "bucket list": [],
    "bucket move": ["b", "local"],
    "bucket quota": ["b", "1K"],
    "bucket refresh": ["b"],
    "bucket retention": ["b"],
    "bucket revoke": ["b", "ann"],
    "cache clear": [],
    "cache status": [],
    "cache verify": [],
    "check": [],
    "clone": ["b/one", "b/other"],
    "completion": ["bash"],
    "config show": [],
    "diff": ["b/f"],
    "doctor": [],
    "help": [],
    "import": ["https://example.org/x", "b/x"],
    "label": ["b", "name"],
    "log": ["b/f"],
    "login": ["https://127.0.0.1:1"],
    "logout": ["https://127.0.0.1:1"],
    "ls": ["b"],
    "mount": ["buckets"],
    "pin": ["absent"],
    "prune": [],
    "record": ["true"],
    "restore": ["b/f@2026-01-01"],
    "serve": [],
    "status": [],
    "sweep": [],
    "token create": ["ann"],
    "token list": [],
    "token revoke": ["ann"],
    "umount": ["absent"],
    "undelete": ["b/f"],
    "units": [],
    "unpin": ["absent"],
    "usage": [],
    "warm": ["absent"],
}
"""What a command needs at least."""


def leaves(group=rengafs, above=()):
    """Yield (words, command) of every command that does something, and of no group."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        words = (*above, name)
        if isinstance(command, click.Group):
            yield from leaves(command, words)
        else:
            yield words, command


COMMANDS = dict(leaves())


def having(option):
    """Return the commands that have an option, with what they need."""
    return [
        [*words, *ARGUMENTS[" ".join(words)]]
        for words, command in COMMANDS.items()
        if any(option in parameter.opts for parameter in command.params)
    ]


def lines():
    """Yield (command line, exit code or None for any, what the answer names)."""
    for words in COMMANDS:
        yield [*words, "--no-such"], Exit.USAGE, "--no-such"
    for words in {words[:1] for words in COMMANDS if len(words) > 1}:
        yield [*words], Exit.USAGE, f"rengafs {words[0]}"
        yield [*words, "nonsense"], Exit.USAGE, "nonsense"
    yield from of_a_service()
    yield from on_data()
    yield from with_a_path()
    yield from by_themselves()


def of_a_service():
    for words in having("--endpoint"):
        yield [*words, "--endpoint", "ftp://example.org"], Exit.USAGE, "ftp://example.org"
        yield [*words, "--endpoint", "unix:/absent.sock"], Exit.UNREACHABLE, "/absent.sock"
    for address in ("nobody", "unix:", "http://", "https://u:p@x"):
        named = "user name or password" if "@" in address else address
        for words in (["ls"], ["mount", "buckets"]):
            yield [*words, "--endpoint", address], Exit.USAGE, named
    for words in having("--token-file"):
        line = [*words, "--endpoint", "http://127.0.0.1:1", "--token-file", "/absent"]
        yield line, Exit.USAGE, "/absent"


def on_data():
    for words in having("--data"):
        if words != ["serve"]:
            yield [*words, "--data", "/absent"], Exit.USAGE, "/absent"
        yield [*words, "--data", "served", "--catalog", "foo://x"], Exit.USAGE, "foo"
        yield [*words, "--data", "/dev/null/x"], None, "/dev/null/x"
    for words in (["serve"], ["check"]):
        yield [*words, "--data", "served", "--catalog", "sqlite"], Exit.USAGE, "sqlite"
        line = [*words, "--data", "served", "--catalog", "postgresql://127.0.0.1:1/x"]
        yield line, Exit.UNREACHABLE, "127.0.0.1"


def with_a_path():
    for words in (words for words in having("--cache-dir") if words[0] == "cache"):
        yield [*words, "--cache-dir", "/absent"], Exit.USAGE, "/absent"
        yield [*words, "--cache-dir", "/etc/passwd"], Exit.USAGE, "/etc/passwd"
    for name in ("mount", "pin", "umount", "unpin", "warm", "status"):
        yield [name, "/absent/x"], None, "/absent/x"
    for name in ("log", "ls", "diff", "undelete", "restore", "usage", "prune", "label --list"):
        for path in ("/absent/x", "./absent"):
            yield [*name.split(), path], Exit.NOT_MOUNTED, path
    for path in ("@@@", "@", "b@", "none/x"):
        for name in ("log", "ls", "diff", "undelete"):
            yield [name, "--endpoint", "served", path], Exit.FAILED, path.partition("/")[0]


def by_themselves():
    yield ["login", "ftp://example.org"], Exit.USAGE, "ftp://example.org"
    yield ["login", "nobody"], Exit.USAGE, "nobody"
    yield ["logout", "nobody"], Exit.USAGE, "nobody"
    yield ["serve", "--listen", "nowhere"], Exit.USAGE, "nowhere"
    yield ["serve", "--listen", "no.host.invalid:1"], Exit.USAGE, "no.host.invalid"
    yield ["serve", "--oidc-issuer", "https://x"], Exit.USAGE, "--oidc-audience"
    yield ["serve", "--backends", "/absent"], Exit.USAGE, "/absent"
    yield ["record", "--mount", "/absent", "true"], Exit.NOT_MOUNTED, "/absent"
    yield ["completion", "tcsh"], Exit.USAGE, "tcsh"
    yield ["help", "nothing"], Exit.USAGE, "nothing"


def test_the_table_of_what_commands_need_is_whole():
    assert {" ".join(words) for words in COMMANDS} == set(ARGUMENTS)


def test_what_is_wrong_is_told_in_one_line_with_its_code_for_every_command(home, served, refused):
    address, token = served
    configuration = home.root / ".config" / "rengafs"
    configuration.mkdir(parents=True)
    (configuration / "token").write_text(token)
    (configuration / "config.toml").write_text(
        f"[endpoints.served]\nurl = '{address}'\ntoken-file = 'token'\n"
    )
    cases = list(lines())
    environment = {**home.environment, "RENGA_ACCESS_TOKEN": token}
    done = run_all([line for line, _, _ in cases], environment, home.root)
    traced = run_all([["--debug", *line] for line, _, _ in cases[::7]], environment, home.root)

    for (line, code, named), one in zip(cases, done, strict=True):
        said = refused(one)
        assert named in said, line
        assert "a defect in rengafs" not in said, line
        assert "u:p@" not in said, line
        assert "directory 1" not in said, line  # no inner number
        expected = set(Exit) - {Exit.OK} if code is None else {code}
        assert one.returncode in expected, (line, said)
    for (line, _, _), one in zip(cases[::7], traced, strict=True):
        joined = one.stderr.count("direct cause of the following exception")
        joined += one.stderr.count("another exception occurred")
        assert one.stderr.count("Traceback (most recent") - joined == 1, (line, one.stderr)
    assert home.leftovers() == [*home.processes().values()]  # the service that the test started


def test_the_command_alone_shows_its_help(home):
    (done,) = run_all([[]], home.environment, home.root)

    assert (done.returncode, done.stderr) == (0, "")
    assert "rengafs mount ~/buckets" in done.stdout

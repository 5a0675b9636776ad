"""Two mounts edit one base: both saves are kept, and both authors, and the log, tell of it."""

import json

import pytest
import trio
from support import trouble
from support.services import running_service
from support.trouble import Trouble
from support.writing import eventually, report, saves, sync

from rengafs.fs.remote import Remote
from rengafs.fs.writes.conflicts import Conflicts
from rengafs.protocol.records import Version


@pytest.mark.parametrize("options", [[], ["--write-back"]])
def test_the_log_shows_which_save_met_another(home, options):
    with home.mounted("one", *options) as one, home.mounted("two", *options) as two:
        (one / "data").mkdir()
        file, theirs = one / "data" / "f", two / "data" / "f"
        file.write_bytes(b"base")
        sync(one)
        eventually(theirs.exists)
        with theirs.open("ab") as later:
            later.write(b" two")
            with file.open("ab") as earlier:
                earlier.write(b" one")
            sync(one)
        sync(two)
        eventually(lambda: report(one).get("conflicts"))
        eventually(lambda: report(two).get("conflicts"))

        entries = json.loads(home.run("log", "--json", str(file)).stdout)
        saved = [entry for entry in entries if entry["what"] == "saved"]
        assert [entry.get("conflict", False) for entry in saved] == [True, False, False]
        lines = home.run("log", str(file)).stdout.splitlines()
        assert ["data/f (conflict)" in line for line in lines if " saved " in line] == [
            True,
            False,
            False,
        ]
        assert saves(file) == [b"base", b"base one", b"base two"]


def test_the_feed_goes_on_while_a_save_of_another_is_looked_at(home, monkeypatch):
    monkeypatch.setattr(trouble, "STALL_SECONDS", 600)
    with running_service(listen="127.0.0.1:0") as service:
        token = home.path / "token"
        token.write_text(service.token)
        with Trouble(service.address, "/fs/version/", ["stall"]) as line:
            through, straight = (
                ["--endpoint", address, "--token-file", str(token)]
                for address in (line.address, service.address)
            )
            with home.mounted("one", *through) as one, home.mounted("two", *straight) as two:
                (one / "data").mkdir()
                (one / "data" / "f").write_bytes(b"ours")
                eventually((two / "data" / "f").exists)
                (two / "data" / "g").write_bytes(b"1")
                eventually((one / "data" / "g").exists)
                assert (one / "data" / "g").stat().st_size == 1  # believed while the feed lives

                (two / "data" / "f").write_bytes(b"theirs")
                eventually(lambda: line.met)
                (two / "data" / "g").write_bytes(b"22")

                # A patience of 30 seconds is over later.
                eventually(lambda: (one / "data" / "g").stat().st_size == 2, 20)


async def test_who_hears_of_another_save_before_the_answer_to_the_own_is_told(
    monkeypatch: pytest.MonkeyPatch, nursery
) -> None:
    """No service can be made to answer so late."""

    async def version(_: Remote, number: int) -> Version:
        return made(number, conflict=True)

    def made(number: int, *, conflict: bool = False) -> Version:
        sha256 = "0" * 64
        return Version(
            id=number, file=7, size=1, sha256=sha256, created_ms=1, change=1, conflict=conflict
        )

    monkeypatch.setattr(Remote, "version", version)
    conflicts = Conflicts(Remote.__new__(Remote))
    nursery.start_soon(conflicts.run)
    conflicts.heard(7, 12)
    conflicts.saved(7, made(11), "data/f")
    conflicts.saved(8, made(13), "data/g")

    with trio.fail_after(60):
        while not conflicts.found():
            await trio.sleep(0.01)
    assert [one.name for one in conflicts.found()] == ["data/f"]

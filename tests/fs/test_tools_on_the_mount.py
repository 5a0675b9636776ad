"""Real work by real tools: git, tar, diff, rsync, cp, sqlite, make, zip, dpkg, find, du."""

import hashlib
import os
import sqlite3
import subprocess
from pathlib import Path

import pytest
from support.scale import scaled

ROOT = Path(__file__).parents[2]
PACKED = scaled(["rengafs/fs", "pyproject.toml"], ["rengafs", "tests", "pyproject.toml"])
GIT = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "safe.directory=*"]


def run(*command, cwd: Path | None = None) -> str:
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def repository(tmp_path_factory) -> Path:
    """A local repository of some directories of files, with a history."""
    path = tmp_path_factory.mktemp("origin")
    run(*GIT, "init", "-q", path)
    for number in range(3):
        for index in range(scaled(20, 60)):
            file = path / f"dir{index % 7}" / f"file{index}.txt"
            file.parent.mkdir(exist_ok=True)
            file.write_text(f"{number} {index}\n" * (index + 1))
        run(*GIT, "add", "-A", cwd=path)
        run(*GIT, "commit", "-qm", f"commit {number}", cwd=path)
    return path


def test_git_clones_checks_and_commits(bucket, repository):
    run(*GIT, "clone", "-q", repository, bucket / "clone")
    clone = bucket / "clone"
    run(*GIT, "fsck", "--strict", cwd=clone)
    (clone / "new.txt").write_text("new")
    run(*GIT, "add", "-A", cwd=clone)
    run(*GIT, "commit", "-qm", "on the mount", cwd=clone)
    run(*GIT, "gc", "-q", cwd=clone)
    run(*GIT, "fsck", "--strict", cwd=clone)

    assert run(*GIT, "status", "--porcelain", cwd=clone) == ""
    assert len(run(*GIT, "log", "--oneline", cwd=clone).splitlines()) == 4
    assert ".versions" not in run(*GIT, "ls-files", cwd=clone)


def test_git_keeps_a_second_worktree(bucket, repository):
    clone, second = bucket / "clone", bucket / "second"
    run(*GIT, "clone", "-q", repository, clone)
    run(*GIT, "worktree", "add", "-q", "-b", "other", second, cwd=clone)
    (second / "new.txt").write_text("new")
    run(*GIT, "add", "-A", cwd=second)
    run(*GIT, "commit", "-qm", "in the second worktree", cwd=second)
    run(*GIT, "repack", "-adq", cwd=second)
    run(*GIT, "merge", "-q", "other", cwd=clone)
    run("diff", "-r", "-x", ".git", clone, second)
    run(*GIT, "worktree", "move", second, bucket / "moved", cwd=clone)
    assert run(*GIT, "status", "--porcelain", cwd=bucket / "moved") == ""
    run(*GIT, "worktree", "remove", bucket / "moved", cwd=clone)
    run(*GIT, "gc", "-q", "--prune=now", cwd=clone)
    run(*GIT, "fsck", "--strict", cwd=clone)

    assert os.listdir(bucket) == ["clone"]
    assert len(run(*GIT, "log", "--oneline", cwd=clone).splitlines()) == 4


def test_a_source_tree_unpacks_as_it_was_packed(bucket, tmp_path):
    archive = tmp_path / "tree.tar"
    run("tar", "-C", ROOT, "-cf", archive, "--exclude=__pycache__", *PACKED)
    run("tar", "-C", bucket, "-xf", archive)
    plain = tmp_path / "plain"
    plain.mkdir()
    run("tar", "-C", plain, "-xf", archive)

    run("diff", "-r", plain, bucket)
    again = run("tar", "-C", bucket, "--diff", "-f", archive)
    assert again == ""


def test_rsync_moves_nothing_the_second_time(bucket, repository):
    target = bucket / "copy"
    run("rsync", "-a", "--checksum", f"{repository}/", f"{target}/")
    second = run("rsync", "-a", "--checksum", "--itemize-changes", f"{repository}/", f"{target}/")
    third = run("rsync", "-a", "--itemize-changes", f"{repository}/", f"{target}/")

    assert second == third == ""
    run("diff", "-r", repository, target)


def test_a_large_file_goes_in_and_out_unchanged(bucket, tmp_path):
    source = tmp_path / "source"
    block = os.urandom(16 << 20)
    digest = hashlib.sha256()
    with source.open("wb") as out:
        for index in range(scaled(16, 64)):
            piece = index.to_bytes(8, "big") + block[8:]
            digest.update(piece)
            out.write(piece)
    run("cp", source, bucket / "big")
    run("cp", bucket / "big", tmp_path / "back")

    with (tmp_path / "back").open("rb") as back:
        assert hashlib.file_digest(back, "sha256").hexdigest() == digest.hexdigest()
    assert os.getxattr(bucket / "big", "user.renga.sha256").decode() == digest.hexdigest()


@pytest.mark.parametrize("journal", ["DELETE", "WAL"])
def test_sqlite_keeps_its_database_whole(bucket, journal):
    with sqlite3.connect(bucket / "data.db") as database:
        assert database.execute(f"PRAGMA journal_mode={journal}").fetchone() == (journal.lower(),)
        database.execute("CREATE TABLE t (x)")
        for index in range(50):
            with database:
                database.execute("INSERT INTO t VALUES (?)", (index,))
    database.close()

    with sqlite3.connect(bucket / "data.db") as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert database.execute("SELECT count(*) FROM t").fetchone() == (50,)
    database.close()


def test_sort_writes_over_its_own_input(bucket):
    (bucket / "f").write_text("b\na\n")
    run("sort", "-o", bucket / "f", bucket / "f")

    assert (bucket / "f").read_text() == "a\nb\n"


def test_a_follower_sees_what_another_appends(bucket):
    log = bucket / "log"
    log.write_text("first\n")
    with subprocess.Popen(
        ["tail", "-n", "+1", "-s", "0.1", "-f", log], stdout=subprocess.PIPE, text=True
    ) as tail:
        try:
            assert tail.stdout.readline() == "first\n"
            with log.open("a") as out:
                out.write("second\n")
            assert tail.stdout.readline() == "second\n"
        finally:
            tail.kill()


def test_make_builds_a_c_project_and_builds_it_once(bucket):
    (bucket / "main.c").write_text("int twice(int);\nint main(void) { return twice(21) != 42; }\n")
    (bucket / "twice.c").write_text("int twice(int x) { return 2 * x; }\n")
    (bucket / "Makefile").write_text(
        "program: main.o twice.o stamp\n\tcc -o $@ main.o twice.o\n"
        "%.o: %.c\n\tcc -c -o $@ $<\n"
        "stamp: main.c\n\t: > stamp\n"
    )
    run("make", "-j2", cwd=bucket)
    run(bucket / "program")

    assert "up to date" in run("make", cwd=bucket)
    run("touch", "main.c", cwd=bucket)
    assert run("make", cwd=bucket).count("cc -c") == 1
    assert "up to date" in run("make", cwd=bucket)


def test_archives_pack_and_unpack(bucket, repository, tmp_path):
    run("cp", "-a", repository / "dir1", bucket / "plain")
    run("zip", "-qr", "archive.zip", "plain", cwd=bucket)
    run("zip", "-q", "-d", "archive.zip", "plain/file1.txt", cwd=bucket)  # rewrites it in place
    run("unzip", "-q", "archive.zip", "-d", "out", cwd=bucket)
    (bucket / "plain" / "file1.txt").unlink()
    run("diff", "-r", bucket / "plain", bucket / "out" / "plain")

    control = bucket / "package" / "DEBIAN" / "control"
    control.parent.mkdir(parents=True)
    control.write_text(
        "Package: p\nVersion: 1\nArchitecture: all\nMaintainer: t <t@example.org>\nDescription: d\n"
    )
    run("cp", "-a", bucket / "plain", bucket / "package" / "usr")
    run("dpkg-deb", "-b", bucket / "package", bucket / "p.deb")
    run("dpkg", "-x", bucket / "p.deb", bucket / "unpacked")
    run("diff", "-r", bucket / "plain", bucket / "unpacked" / "usr")


def test_find_and_du_see_what_is_there_and_no_history(bucket):
    for index in range(3):
        directory = bucket / "a" / f"d{index}" / "e"
        directory.mkdir(parents=True)
        for save in range(2):
            (directory / "f").write_bytes(bytes([save]) * 4096)

    assert len(run("find", bucket, "-type", "d").splitlines()) == 8
    assert len(run("find", bucket, "-name", "f", "-size", "4k").splitlines()) == 3
    assert run("find", bucket, "-name", ".versions") == ""
    assert (
        run("du", "-s", "--apparent-size", "--block-size=1", bucket / "a" / "d0" / "e").split()[0]
        == "4096"
    )
    run("find", bucket / "a", "-depth", "-delete")
    assert os.listdir(bucket) == []

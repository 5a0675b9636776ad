"""Programs that people save with: each save is one version, and nothing else is left."""

import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest


def contents(file: Path) -> list[bytes]:
    """Return what history shows for a name, oldest first."""
    return [save.read_bytes() for save in sorted((file.parent / ".versions" / file.name).iterdir())]


def names(directory: Path) -> list[str]:
    """Return the names that have a history; not the page that explains the place."""
    return sorted(set(os.listdir(directory / ".versions")) - {"README.txt"})


def run(*command, cwd: Path, **variables: str) -> str:
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**os.environ, "TERM": "dumb", "LC_ALL": "C.UTF-8", **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


EMACS = """
(progn
  (setq make-backup-files t
        backup-enable-predicate (lambda (name) t)  ; also below /tmp
        backup-by-copying {by_copying}
        create-lockfiles t)
  (find-file "notes.txt")
  (goto-char (point-max))
  (insert "second\\n")
  (do-auto-save)
  (save-buffer)
  (insert "third\\n")
  (do-auto-save)
  (save-buffer))
"""


@pytest.mark.parametrize("by_copying", ["nil", "t"])
def test_each_save_of_emacs_is_one_version(bucket, tmp_path, by_copying):
    file = bucket / "notes.txt"
    file.write_bytes(b"first\n")
    program = EMACS.format(by_copying=by_copying)
    run("emacs", "-Q", "--batch", "--eval", program, cwd=bucket, HOME=str(tmp_path))

    assert contents(file) == [b"first\n", b"first\nsecond\n", b"first\nsecond\nthird\n"]
    assert sorted(os.listdir(bucket)) == ["notes.txt", "notes.txt~"]
    (bucket / "notes.txt~").unlink()
    assert names(bucket) == ["notes.txt"]


@pytest.mark.parametrize("copy", ["yes", "no"])
def test_each_save_of_vim_with_backups_is_one_version(bucket, tmp_path, copy):
    file = bucket / "notes.txt"
    file.write_bytes(b"first\n")
    script = tmp_path / "script"
    script.write_text(
        f"set nocompatible backup swapfile backupskip= backupcopy={copy}\n"
        "call append('$', 'second')\npreserve\nwrite\n"
        "call append('$', 'third')\npreserve\nwrite\nquit\n"
    )
    run("vim", "-es", "-N", "-u", "NONE", "-i", "NONE", "-S", script, "notes.txt", cwd=bucket)

    assert contents(file) == [b"first\n", b"first\nsecond\n", b"first\nsecond\nthird\n"]
    assert sorted(os.listdir(bucket)) == ["notes.txt", "notes.txt~"]
    (bucket / "notes.txt~").unlink()
    assert names(bucket) == ["notes.txt"]


def test_each_document_that_libreoffice_writes_in_place_is_one_version(bucket, tmp_path):
    text, document = bucket / "text.txt", bucket / "text.odt"
    for word in ("first", "second"):
        text.write_text(word)
        run(
            "soffice",
            f"-env:UserInstallation=file://{tmp_path}/profile",
            *("--headless", "--convert-to", "odt", "--outdir", ".", "text.txt"),
            cwd=bucket,
            HOME=str(tmp_path),
        )

    assert sorted(os.listdir(bucket)) == ["text.odt", "text.txt"]
    assert names(bucket) == ["text.odt", "text.txt"]
    first, second = sorted((bucket / ".versions" / document.name).iterdir())
    for save, word in ((first, "first"), (second, "second"), (document, "second")):
        with zipfile.ZipFile(save) as archive:
            assert archive.testzip() is None
            assert f">{word}<" in archive.read("content.xml").decode()


def test_each_picture_that_imagemagick_changes_in_place_is_one_version(bucket):
    (bucket / "a.ppm").write_bytes(b"P6 40 20 255\n" + bytes(range(256)) * 9 + bytes(96))
    run("mogrify", "-format", "png", "a.ppm", cwd=bucket)
    before = (bucket / "a.png").read_bytes()
    run("mogrify", "-rotate", "90", "a.png", cwd=bucket)
    after = (bucket / "a.png").read_bytes()

    assert run("identify", "-format", "%wx%h", "a.png", cwd=bucket) == "20x40"
    assert contents(bucket / "a.png") == [before, after]
    assert names(bucket) == ["a.png", "a.ppm"]


def test_a_film_that_ffmpeg_goes_back_to_at_its_end_is_one_version(bucket):
    source = ("-f", "lavfi", "-i", "testsrc=duration=2:size=160x120:rate=10")
    quiet = ("ffmpeg", "-nostdin", "-loglevel", "error", "-y")
    # faststart reads the file while it writes it, and moves its index to the front.
    run(*quiet, *source, "-movflags", "+faststart", "film.mp4", cwd=bucket)
    run(*quiet, "-i", "film.mp4", "-c", "copy", "film.mkv", cwd=bucket)

    for name in ("film.mp4", "film.mkv"):
        length = ("-show_entries", "format=duration", "-of", "csv=p=0")
        assert float(run("ffprobe", "-v", "error", *length, name, cwd=bucket)) == 2
        assert contents(bucket / name) == [(bucket / name).read_bytes()]
        run(*quiet, "-xerror", "-i", name, "-f", "null", "-", cwd=bucket)
    assert names(bucket) == ["film.mkv", "film.mp4"]


def test_an_archive_that_zip_rewrites_is_one_version_each_time(bucket, tmp_path):
    (tmp_path / "one").write_text("1")
    (tmp_path / "two").write_text("2")
    archive = bucket / "a.zip"
    for name in ("one", "two"):
        run("zip", "-q", archive, name, cwd=tmp_path)

    assert len(contents(archive)) == 2
    run("unzip", "-q", "a.zip", "-d", "out", cwd=bucket)
    assert (bucket / "out" / "two").read_text() == "2"
    shutil.rmtree(bucket / "out")

"""The page on semantics: its examples go as it shows."""

import os
import re
import subprocess
from pathlib import Path

import pytest

import rengafs.fs

PAGE = (Path(rengafs.fs.__file__).parent / "SEMANTICS.md").read_text()
SESSIONS = re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)


def without_moments(text: str) -> str:
    return re.sub(r"\d{4}-\d\d-\d\dT\d{6}\.\d{3}Z(~\d+)?", "MOMENT", text)


@pytest.mark.parametrize("number", range(len(SESSIONS)))
def test_the_session_goes_as_the_page_shows(mount, bucket, number):
    lines = SESSIONS[number].splitlines(keepends=True)
    typed = "".join(line[2:] for line in lines if line.startswith("$ "))
    shown = "".join(line for line in lines if not line.startswith("$ "))
    (mount / "elsewhere").mkdir(exist_ok=True)

    done = subprocess.run(
        ["bash", "-c", typed],
        cwd=bucket,
        env={**os.environ, "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )

    assert without_moments(done.stdout) == without_moments(shown)


def test_the_page_is_printed(home):
    assert home.run("help", "semantics").stdout == PAGE

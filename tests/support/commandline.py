"""Many command lines, each run by the real `main` in a process of its own, forked from one.

To load the program takes a second, and hundreds of wrong command lines would take minutes.
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SECONDS = 300.0

_PROGRAM = """
import importlib, json, os, pkgutil, sys, tempfile
from rengafs.cli import commands
from rengafs.cli.main import main

for module in pkgutil.iter_modules(commands.__path__):
    importlib.import_module(f"{commands.__name__}.{module.name}")
for name in ("storage", "tokens"):  # what commands import when they need it
    importlib.import_module(f"rengafs.service.{name}")
for arguments in json.load(sys.stdin):
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = os.fork()
        if not process:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            sys.stdin = open(0)
            sys.stdout, sys.stderr = open(1, "w"), open(2, "w")
            code = 1
            try:
                main(arguments)
            except SystemExit as end:
                code = end.code or 0
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode())
    print(json.dumps([code, *texts]), flush=True)
"""


@dataclass(frozen=True, slots=True)
class Done:
    """How a command line ended."""

    returncode: int
    stdout: str
    stderr: str


def run_all(
    lines: Sequence[Sequence[str]], environment: Mapping[str, str], cwd: Path
) -> list[Done]:
    """Run ``rengafs LINE`` for each of *lines*, one after another."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", _PROGRAM],
        input=json.dumps([list(line) for line in lines]),
        env=dict(environment),
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [Done(*json.loads(line)) for line in done.stdout.splitlines()]

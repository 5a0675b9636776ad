"""Writers that note what was acknowledged, and what may happen to those they write to."""

import hashlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

SECONDS = 240

_WRITER = """
import hashlib, os, random, sys
root, notes, seed = sys.argv[1], sys.argv[2], int(sys.argv[3])
dice = random.Random(seed)
log = open(notes, "ab", buffering=0)
contents = {}
number = 0
while True:
    number += 1
    name = f"f{dice.randrange(8)}" if dice.random() < 0.6 else f"n{number}"
    body = b"%d.%d|" % (seed, number) * dice.choice([1, 20, 3000, 200_000])
    how = dice.choice(["wb", "wb", "ab", "r+b"]) if name in contents else "wb"
    log.write(b"begin %s\\n" % name.encode())
    with open(os.path.join(root, name), how) as out:
        out.write(body)
    if how == "wb":
        contents[name] = body
    elif how == "ab":
        contents[name] += body
    else:
        contents[name] = body + contents[name][len(body):]
    digest = hashlib.sha256(contents[name]).hexdigest()
    log.write(b"done %s %s\\n" % (name.encode(), digest.encode()))
"""


def eventually(condition, seconds=SECONDS):
    """Wait for *condition*; it must become true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not become true"
        time.sleep(0.02)


def sync(path):
    """Do what ``sync PATH`` does."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def synced(path):
    """Tell whether ``sync PATH`` went well."""
    try:
        sync(path)
    except OSError:
        return False
    return True


def report(mount):
    """Return what a mount says is still to be sent."""
    return json.loads(os.getxattr(mount, "user.renga.report"))


def saves(file):
    """Return the contents of all saves of a name, in order."""
    history = file.parent / ".versions" / file.name
    return [save.read_bytes() for save in sorted(history.iterdir())]


def digest_of(data):
    return hashlib.sha256(data).hexdigest()


def process_of(home, command, mountpoint=None):
    """Return the process of a home that runs ``rengafs COMMAND`` itself."""
    wanted = {command} | ({os.fsencode(mountpoint), b"--foreground"} if mountpoint else set())
    for pid in home.processes():
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if wanted <= set(words) and (command != b"mount" or b"--foreground" in words):
            return pid
    raise AssertionError(f"nobody runs rengafs {command.decode()}")


def kill(pid):
    """End a process as a power cut would, and wait until it has ended."""
    descriptor = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        select.select([descriptor], [], [], SECONDS)
    finally:
        os.close(descriptor)


class Away:
    """The service of a home, while it answers nothing at all."""

    def __init__(self, home):
        self.pid = process_of(home, b"serve")

    def __enter__(self):
        os.kill(self.pid, signal.SIGSTOP)
        return self

    def __exit__(self, *_):
        os.kill(self.pid, signal.SIGCONT)


class Writing:
    """A tool that saves files, and notes each save that was acknowledged."""

    def __init__(self, root, notes, seed):
        self.notes = notes
        command = [sys.executable, "-c", _WRITER, str(root), str(notes), str(seed)]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)

    def acknowledged(self):
        """Return the digests of all saves by name, in order; and the name under way."""
        done, begun = {}, ""
        text = self.notes.read_text() if self.notes.exists() else ""
        for line in text.splitlines():
            word, name, *digest = line.split(" ")
            if word == "begin":
                begun = name
            elif digest:
                done.setdefault(name, []).append(digest[0])
                begun = ""
        return done, begun

    def end(self):
        """Kill it."""
        self.process.kill()
        self.process.wait(SECONDS)


def check_all_is_there(directory, done, begun):
    """Every acknowledged save is there, in order and once; and nothing else is."""
    for name, digests in done.items():
        shown = [digest_of(data) for data in saves(directory / name)]
        known = [digest for digest in shown if digest in digests]
        assert known == digests, f"{name}: {len(known)} of {len(digests)} saves, or not in order"
        if name != begun:
            assert shown == digests, f"{name} has saves that nobody made"
            assert digest_of((directory / name).read_bytes()) == digests[-1]
    assert set(os.listdir(directory)) - set(done) <= {begun}

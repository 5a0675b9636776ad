"""A desktop that nobody sees: X, a window manager and a session bus, and hands to work with.

What is on the screen is asked for as a screen reader asks (see `accessible`), so that a test
clicks what a person would read; pictures of it are for people.
"""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from support.mounts import Home
from support.servers import Processes

Found = TypeVar("Found")

READER = Path(__file__).with_name("accessible.py")
SYSTEM_PYTHON = "/usr/bin/python3"
"""It has gi; the project's environment has not."""
SCREEN = "1100x750x24"
WIDTH, HEIGHT = 550, 600
"""Of the windows: two stand side by side."""
SECONDS = 180.0
ROWS_BELOW = 200
"""Pixels from the head of a list to where it shows nothing."""
NEAR = 30
"""Pixels that the frame of a window may take."""
STEPS = 8
MOTION_SECONDS = 0.1
"""Between steps of the mouse: a drag begins, and is let in, while it moves."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A widget that is showing; x and y are of its middle, in pixels of the screen."""

    role: str
    name: str
    text: str
    x: int
    y: int
    selected: bool
    window: str


class Desktop:
    """What runs on one display, with the environment of one home."""

    def __init__(self, home: Home, environment: dict[str, str], processes: Processes) -> None:
        self._home = home
        self.environment = environment
        self._processes = processes

    def start(self, name: str, *command: object) -> None:
        """Start a program; it ends with the desktop."""
        self._processes.start(name, command, self.environment)

    def run(self, *command: object, check: bool = True) -> str:
        """Run a program to its end, and return what it says."""
        done = subprocess.run(
            [str(word) for word in command],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 0 or not check, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def zombies(self) -> list[str]:
        """Return the programs that have ended, and that a program of this desktop forgot."""
        own, found = self._home.processes(), []
        for process in Path("/proc").glob("[0-9]*/stat"):
            with suppress(FileNotFoundError, ProcessLookupError):
                name, _, rest = process.read_text().rpartition(")")
                state, parent, *_ = rest.split()
                if state == "Z" and int(parent) in own:
                    found.append(name)
        return found

    # --- looking ----------------------------------------------------------------------

    def seen(self) -> list[Seen]:
        """Return all that is showing."""
        lines = self.run(SYSTEM_PYTHON, "-W", "ignore", READER).splitlines()
        return [Seen(**json.loads(line)) for line in lines if line.startswith("{")]

    def find(self, role: str, name: str, window: str = "") -> Seen:
        """Return the widget of a role whose name or text has *name* in it, once it is there.

        Of several it is the one that says least besides.
        """

        def look() -> Seen | None:
            fitting = [
                seen
                for seen in self.seen()
                if seen.role == role
                and window in seen.window
                and (name in seen.name or name in seen.text)
            ]
            return min(fitting, key=lambda seen: len(seen.name + seen.text), default=None)

        return self.until(look, f"a {role} {name!r} in a window {window!r}")

    def below(self, seen: Seen) -> Seen:
        """Return a place some rows below a widget, where a list shows nothing."""
        return replace(seen, y=seen.y + ROWS_BELOW)

    def until(self, look: Callable[[], Found], what: str) -> Found:
        """Return what *look* returns once that is true."""
        deadline = time.monotonic() + SECONDS
        while not (found := look()):
            assert time.monotonic() < deadline, f"never came: {what}\n" + self.told()
            time.sleep(0.1)
        return found

    def told(self) -> str:
        """Return all names and texts on the screen, for a failed test."""
        lines = [f"{it.window}: {it.role} {it.name or it.text}" for it in self.seen()]
        return "\n".join(dict.fromkeys(line for line in lines if not line.endswith(" ")))

    def photograph(self, file: Path) -> Path:
        """Keep what the screen shows as a picture."""
        self.run("import", "-window", "root", file)
        return file

    # --- doing ------------------------------------------------------------------------

    def keys(self, *keys: str) -> None:
        """Press keys, each of which may be a chord, as in ``ctrl+c``."""
        self.run("xdotool", "key", "--clearmodifiers", "--delay", "40", *keys)

    def type(self, text: str) -> None:
        """Type a text."""
        self.run("xdotool", "type", "--delay", "20", text)

    def click(self, on: Seen, *, button: int = 1, times: int = 1) -> None:
        """Click in the middle of a widget."""
        self.run(
            "xdotool", "mousemove", on.x, on.y, "click", "--repeat", times, "--delay", "60", button
        )

    def drag(self, what: Seen, onto: Seen) -> None:
        """Press on a widget, move in steps, and let go."""
        right, down = onto.x - what.x, onto.y - what.y
        steps = [
            (what.x + right * n // STEPS, what.y + down * n // STEPS) for n in range(1, STEPS + 1)
        ]
        pause = ["sleep", MOTION_SECONDS]
        words: list[object] = ["mousemove", what.x, what.y, *pause, "mousedown", 1, *pause]
        for x, y in [*steps, (onto.x + 2, onto.y + 2)]:
            words += ["mousemove", x, y, *pause]
        self.run("xdotool", *words, "sleep", 1, "mouseup", 1)

    def place(self, title: str, x: int, y: int, width: int, height: int) -> None:
        """Wait for a window, put it somewhere, and wait until it is there."""
        self.find("frame", title)
        window, *_ = self.run("xdotool", "search", "--onlyvisible", "--name", f"^{title}$").split()
        self.run("xdotool", "windowsize", window, width, height, "windowmove", window, x, y)
        middle = x + width // 2, y + height // 2

        def is_there() -> bool:
            now = self.find("frame", title)
            return abs(now.x - middle[0]) < NEAR and abs(now.y - middle[1]) < NEAR

        self.until(is_there, f"{title} at {x}, {y}")


class Thunar:
    """The file manager on a desktop. The first window starts it."""

    def __init__(self, desktop: Desktop) -> None:
        self._desktop = desktop

    def open(self, directory: Path, *, left: bool = False) -> str:
        """Open a window on a directory, at the right or at the left; return its title."""
        self._desktop.start("thunar", "thunar", directory)
        title = f"{directory.name} - Thunar"
        self._desktop.place(title, 0 if left else WIDTH, 0, WIDTH - 10, HEIGHT)
        return title

    def quit(self) -> None:
        """End it, with all its windows."""
        self._desktop.run("thunar", "--quit", check=False)


@contextmanager
def running_desktop(home: Home) -> Iterator[Desktop]:
    """Run a desktop in a home, and end all of it: what is left there but mounts, too."""
    logs = home.path / "desktop"
    logs.mkdir()
    processes = Processes(logs)
    environment = {**home.environment, "LC_ALL": "C.UTF-8", "GTK_A11Y": "atspi"}
    try:
        reading, writing = os.pipe()
        with open(reading, "rb") as display:
            try:
                command = [
                    "Xvfb",
                    "-displayfd",
                    writing,
                    "-screen",
                    "0",
                    SCREEN,
                    "-nolisten",
                    "tcp",
                ]
                processes.start("xvfb", command, environment, pass_fds=[writing])
            finally:
                os.close(writing)
            environment["DISPLAY"] = f":{display.readline().decode().strip()}"
        address = f"unix:path={home.path}/run/bus"
        processes.start(
            "bus", ["dbus-daemon", "--session", "--nofork", f"--address={address}"], environment
        )
        environment["DBUS_SESSION_BUS_ADDRESS"] = address
        processes.wait_until((home.path / "run" / "bus").exists, "the session bus")
        processes.start("openbox", ["openbox"], environment)
        yield Desktop(home, environment, processes)
    finally:
        processes.stop()

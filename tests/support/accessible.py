"""Prints what the windows of a desktop show, as JSON. Run by the system's Python, which has gi.

One object a line: the role, name and text of a widget that is showing, the place of its middle
on the screen, and the title of its window.
"""

import json
import sys

import gi

gi.require_version("Atspi", "2.0")
from gi.repository import Atspi, GLib  # noqa: E402 - gi wants the version first

DEEPEST = 40


def text_of(widget):
    """Return the text in a widget, "" where it has none."""
    return Atspi.Text.get_text(widget, 0, -1) if "Text" in widget.get_interfaces() else ""


def tell(widget, window, depth=0):
    """Print a widget, and what is in it."""
    states = widget.get_state_set()
    if depth > DEEPEST or not states.contains(Atspi.StateType.SHOWING):
        return
    placed = "Component" in widget.get_interfaces()
    box = Atspi.Component.get_extents(widget, Atspi.CoordType.SCREEN) if placed else None
    seen = {
        "role": widget.get_role_name(),
        "name": widget.get_name() or "",
        "text": text_of(widget),
        "x": 0 if box is None else box.x + box.width // 2,
        "y": 0 if box is None else box.y + box.height // 2,
        "selected": states.contains(Atspi.StateType.SELECTED),
        "window": window,
    }
    sys.stdout.write(json.dumps(seen) + "\n")
    for index in range(widget.get_child_count()):
        child = widget.get_child_at_index(index)
        if child is not None:
            tell_if_there(child, window, depth + 1)


def tell_if_there(widget, window, depth=0):
    """Print a widget, unless it goes away meanwhile."""
    try:
        tell(widget, window, depth)
    except GLib.Error as error:
        sys.stderr.write(f"{error}\n")


def main():
    """Print all windows of all programs."""
    desktop = Atspi.get_desktop(0)
    for program in (desktop.get_child_at_index(i) for i in range(desktop.get_child_count())):
        for window in (program.get_child_at_index(i) for i in range(program.get_child_count())):
            if window is not None:
                tell_if_there(window, window.get_name() or "")


main()

"""Adds to the wheel what is made from the commands: manual pages and shell completion.

Only where the commands can be imported: `make wheel` builds with what is installed. A build
in isolation has no dependencies, and leaves these files out.
"""

import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

COMPLETION = {
    "bash": "share/bash-completion/completions/rengafs",
    "zsh": "share/zsh/site-functions/_rengafs",
    "fish": "share/fish/vendor_completions.d/rengafs.fish",
}


class CommandFiles(BuildHookInterface):
    """Manual pages and completion."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Make the files, and name where they are to be installed."""
        if version != "standard":
            return
        try:
            from click.shell_completion import get_completion_class

            from rengafs.cli import shells
            from rengafs.cli.main import rengafs
            from rengafs.cli.manpages import pages
        except ImportError as error:
            self.app.display_warning(f"no manual pages and completion in this wheel ({error})")
            return
        shells.set_up()
        self._made = tempfile.TemporaryDirectory()
        made = Path(self._made.name)
        for name, text in pages(rengafs):
            (made / name).write_text(text, encoding="utf-8")
            build_data["shared_data"][str(made / name)] = f"share/man/man1/{name}"
        for shell, target in COMPLETION.items():
            source = get_completion_class(shell)(rengafs, {}, "rengafs", "_RENGAFS_COMPLETE")
            (made / shell).write_text(source.source(), encoding="utf-8")
            build_data["shared_data"][str(made / shell)] = target

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what was made."""
        if hasattr(self, "_made"):
            self._made.cleanup()

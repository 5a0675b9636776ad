"""How shells complete: click's scripts, mended where names are paths rather than words.

No space goes behind a path that goes on (``data/``); names with spaces are quoted as the shell
does it; what stands behind an ``@`` is a part of the word, also for bash, which breaks it there.
"""

import os
from typing import Any

from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ZshComplete,
    add_completion_class,
    split_arg_string,
)

BREAKS = {"@": 0, ":": 1, "=": 1}
"""Where bash breaks words, beside at spaces and quotes (COMP_WORDBREAKS in bash(1)), and how much
of the sign belongs to the word before: readline takes an ``@`` for the beginning of a host."""

_BASH = r"""
%(complete_func)s() {
    local type value response
    response=$(env COMP_LINE="${COMP_LINE:0:COMP_POINT}" COMP_BREAKS="$COMP_WORDBREAKS" \
        %(complete_var)s=bash_complete "$1")
    COMPREPLY=()
    while IFS=',' read -r type value; do
        case $type in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            # Quoted as names of files are.
            path) COMPREPLY+=("$value"); compopt -o filenames ;;
            plain) COMPREPLY+=("$value") ;;
        esac
    done <<< "$response"
    if [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == */ ]]; then
        compopt -o nospace
    fi
}

complete -o nosort -F %(complete_func)s %(prog_name)s
"""


class Bash(BashComplete):
    """The line as it is typed, and answers for the part of the word that bash replaces."""

    source_template = _BASH

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words before the one at the cursor, and what there is of that."""
        line = os.environ["COMP_LINE"]
        words = split_arg_string(line)[1:]
        escaped = line.endswith("\\ ")
        if not words or (line[-1:].isspace() and not escaped):
            return words, ""
        return words[:-1], words[-1]

    def format_completion(self, item: CompletionItem) -> str:
        """Return ``TYPE,VALUE``, the value without what bash takes for words before it."""
        _, typed = self.get_completion_args()
        at = max(typed.rfind(sign) for sign in BREAKS)
        breaks = at >= 0 and typed[at] in os.environ.get("COMP_BREAKS", "")
        kept = at + BREAKS[typed[at]] if breaks else 0
        value = str(item.value)
        if kept and value.startswith(typed[:kept]):
            value = value[kept:]
        return f"{'path' if item.remote else item.type},{value}"


class Zsh(ZshComplete):
    """As click's, but no space behind a path that goes on."""

    source_template = ZshComplete.source_template.replace(
        "        compadd -U -V unsorted -a completions\n",
        "        compadd -U -V unsorted -S '' -a open_completions\n"
        "        compadd -U -V unsorted -a completions\n",
    ).replace(
        '                completions+=("$key")\n',
        '                if [[ "$key" == */ ]]; then\n'
        '                    open_completions+=("$key")\n'
        "                else\n"
        '                    completions+=("$key")\n'
        "                fi\n",
    ).replace(
        "    local -a completions\n", "    local -a completions\n    local -a open_completions\n", 1
    ).replace(
        'if [ -n "$completions" ]; then', "if (( $#completions + $#open_completions )); then"
    )  # fmt: skip


class Fish(FishComplete):
    """As click's, but names may hold commas."""

    source_template = FishComplete.source_template.replace("string split ", "string split -m 1 ")


def set_up() -> None:
    """Have click use these."""
    known: dict[str, Any] = {"bash": Bash, "zsh": Zsh, "fish": Fish}
    for name, kind in known.items():
        add_completion_class(kind, name)

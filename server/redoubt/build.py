"""How this installation was built: interpreted or compiled, and from which revision of the source.

`setup.py` leaves the revision in `revision.txt` beside this module when it builds a wheel; a checkout has
none and is asked what is checked out. `--version`, INFO and the figures of the benchmarks show both, since
they explain a speed.
"""

from __future__ import annotations

import os
from typing import Final

UNKNOWN: Final = "00000000"
SHOWN_DIGITS: Final = 8


def source_revision() -> str:
    """Return the abbreviated commit of the source, zeros if unknown."""
    package = os.path.dirname(os.path.abspath(__file__))
    try:
        return _text(package, "revision.txt")
    except OSError:
        return checked_out(os.path.dirname(os.path.dirname(package)))


def checked_out(root: str) -> str:
    """Return the abbreviated commit that is checked out at a path, zeros if git does not keep it.

    Git's files are read instead of asking git, which the server must not need; see gitrepository-layout(5).
    """
    try:
        directory = os.path.join(root, ".git")
        if os.path.isfile(directory):  # a linked worktree
            directory = os.path.join(root, _text(root, ".git").removeprefix("gitdir: "))
        head = _text(directory, "HEAD")
        if not head.startswith("ref: "):
            return head[:SHOWN_DIGITS]
        name = head.removeprefix("ref: ")
        shared = directory
        if os.path.isfile(os.path.join(directory, "commondir")):
            shared = os.path.join(directory, _text(directory, "commondir"))
        if os.path.isfile(os.path.join(shared, name)):
            return _text(shared, name)[:SHOWN_DIGITS]
        for line in _text(shared, "packed-refs").splitlines():
            if line.endswith(" " + name):
                return line[:SHOWN_DIGITS]
    except OSError:
        pass
    return UNKNOWN


def _text(directory: str, name: str) -> str:
    with open(os.path.join(directory, name), encoding="ascii") as file:
        return file.read().strip()


BUILD: Final = "interpreted" if __file__.endswith((".py", ".pyc")) else "compiled"

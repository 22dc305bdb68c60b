"""The sections of INFO: who registers them, in which order they stand, and the text that they make.

Each part registers a function for the section that it owns; several parts may add to one section, in the
order of registration. The text is Redis's own: `# Section`, then `field:value` lines, sections parted by an
empty line. Monitoring and clients parse it, so names and order follow Redis.

`redoubt.commands.server` renders it for INFO; the sections of the server itself are in
`redoubt.info_sections`. It computes no figure. Source: https://redis.io/docs/latest/commands/info/
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from redoubt.state import ServerState

Fields = list[tuple[str, str | int]]
Section = Callable[["ServerState"], Fields]

# Redis's order; what it calls default, and what only `all` adds.
DEFAULT: Final = (
    "server", "clients", "memory", "persistence", "stats", "replication", "cpu", "modules", "errorstats",
    "cluster", "keyspace",
)  # fmt: skip
ORDER: Final = (*DEFAULT[:7], "modules", "commandstats", *DEFAULT[8:9], "latencystats", *DEFAULT[9:])
_TITLES: Final = {"cpu": "CPU"}

_SECTIONS: Final[dict[str, list[Section]]] = {name: [] for name in ORDER}


def register(section: str, fields: Section) -> None:
    """Add the fields of a function to a section, after those that are already there."""
    assert section in _SECTIONS, section
    _SECTIONS[section].append(fields)


def collect(state: ServerState, section: str) -> Fields:
    """Return the fields of one section."""
    found: Fields = []
    for fields in _SECTIONS[section]:
        found.extend(fields(state))
    return found


def render(state: ServerState, asked: list[str]) -> bytes:
    """Write the sections asked for (lower-case names, `default`, `all`, `everything`), in Redis's order."""
    names = set(asked)
    if not names or "default" in names:
        names.update(DEFAULT)
    if names & {"all", "everything"}:
        names.update(ORDER)
    parts = []
    for section in ORDER:
        if section in names:
            title = _TITLES.get(section, section.capitalize())
            lines = [f"{field}:{value}\r\n" for field, value in collect(state, section)]
            parts.append(f"# {title}\r\n" + "".join(lines))
    return "\r\n".join(parts).encode("utf-8", "surrogateescape")

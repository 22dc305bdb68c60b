"""The reference pages, written from the tables: docs/configuration.md, docs/commands.md, docs/metrics.md.

    python -m redoubt.reference docs

A page is never edited by hand: directives, commands and metrics are documented where they are declared, and
a test compares the pages with what this module writes. It is no part of the running server.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import redoubt.node  # noqa: F401 - every part of a node registers what it has
from redoubt import metrics
from redoubt.commands.declare import ROWS, Row
from redoubt.commands.introspection import subcommands
from redoubt.config import DIRECTIVES, Config
from redoubt.config_kinds import Secret

GENERATED: Final = "<!-- Written by `python -m redoubt.reference docs`; do not edit. -->\n\n"
ABOUT_CONFIGURATION: Final = """\
Directives stand in a file (`redoubt-server redoubt.conf`) or on the command line (`--port 7000`), with the
syntax of redis.conf; the command line wins. *Live* directives may be changed while the server runs
(`CONFIG SET`); the others need a restart. `CONFIG REWRITE` writes the values now in force into the file and
keeps everything else of it; a secret that comes from a file of its own is never written there.

"""
ABOUT_COMMANDS: Final = """\
Names, arguments and replies are those of Redis 7.4; *since* is the version of Redis that brought the command.
`REDOUBT` commands exist only here.
"""
ABOUT_METRICS: Final = """\
`http://HOST:METRICS-PORT/metrics` speaks Prometheus' text format; `?name[]=redis_up&name[]=redis_db_keys`
selects families. `redis_*` names are those of the community's redis_exporter. The same port answers `/livez`
(the process answers) and `/readyz` (role known, dataset loaded, as a replica in sync).

"""


def configuration_page() -> str:
    """Write the page of directives."""
    lines = [
        "# Configuration\n\n",
        GENERATED,
        ABOUT_CONFIGURATION,
        "| directive | value | default | live | what it does |\n|---|---|---|---|---|\n",
    ]
    defaults = Config()
    for name, directive in DIRECTIVES.items():
        if name == directive.alias:
            continue
        is_secret = isinstance(directive.kind, Secret)
        default = "" if is_secret else defaults.show(name)
        also = f" (also `{directive.alias}`)" if directive.alias else ""
        shown = f"`{default}`" if default else "empty"
        live = "yes" if directive.is_mutable else "no"
        doc = directive.doc.replace("|", "\\|")
        lines.append(f"| `{name}`{also} | {directive.kind.form} | {shown} | {live} | {doc} |\n")
    return "".join(lines)


def commands_page() -> str:
    """Write the page of commands, by group."""
    groups: dict[str, list[Row]] = {}
    for row in ROWS.values():
        groups.setdefault(row.documentation.group, []).append(row)
    lines = [
        "# Commands\n\n",
        GENERATED,
        ABOUT_COMMANDS,
    ]
    for group in sorted(groups):
        lines.append(f"\n## {group}\n\n| command | what it does | cost | since |\n|---|---|---|---|\n")
        for row in sorted(groups[group], key=_name):
            nested = sorted(subcommands(row), key=_name)
            lines += [_command_line(each) for each in (nested or [row])]
    return "".join(lines)


def _name(row: Row) -> str:
    return row.name


def _command_line(row: Row) -> str:
    written = row.documentation
    call = f"{row.name.replace('|', ' ').upper()} {_plain(written.usage)}".strip()
    escaped = call.replace("|", "\\|")
    return f"| `{escaped}` | {written.summary} | {written.complexity} | {written.since} |\n"


def _plain(usage: str) -> str:
    """Drop the types of arguments, which only generators read."""
    words = usage
    for kind in (":key", ":integer", ":double", ":pattern", ":unix-time", ":string"):
        words = words.replace(kind, "")
    return words


def metrics_page() -> str:
    """Write the page of metric families."""
    lines = [
        "# Metrics\n\n",
        GENERATED,
        ABOUT_METRICS,
        "| metric | kind | what it says |\n|---|---|---|\n",
    ]
    for name in sorted(metrics.FAMILIES):
        family = metrics.FAMILIES[name]
        lines.append(f"| `{name}` | {family.kind} | {family.doc} |\n")
    return "".join(lines)


PAGES: Final = {
    "configuration.md": configuration_page,
    "commands.md": commands_page,
    "metrics.md": metrics_page,
}


def main(arguments: list[str]) -> int:
    """Write all pages into the folder that the first argument names."""
    folder = Path(arguments[0] if arguments else "docs")
    for name, page in PAGES.items():
        (folder / name).write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Directives of the data files.

Rows of the table of `redoubt.directives.table`; what a row means stands in `redoubt.directives.directive`.
"""

from __future__ import annotations

from typing import Final

from redoubt.config_kinds import Choice, FileName, SavePoints, Text, YesNo
from redoubt.directives.directive import Directive

ROWS: Final[list[Directive]] = [
    Directive("dir", Text(), "Directory of the data files.", is_mutable=False),
    Directive("dbfilename", FileName(), "Name of the snapshot file.", is_protected=True),
    Directive(
        "save",
        SavePoints(),
        "When to write a snapshot: after so many seconds if so many keys changed; `` for never.",
    ),
    Directive("rdbcompression", YesNo(), "Compress long strings in snapshots (LZF)."),
    Directive("rdbchecksum", YesNo(), "End snapshots with a checksum, and verify it.", is_mutable=False),
    Directive("stop-writes-on-bgsave-error", YesNo(), "Refuse writes while the last snapshot failed."),
    Directive(
        "sanitize-dump-payload",
        Choice("no", "yes", "clients"),
        "Whose packed values are checked entry by entry: nobody's, of files and clients, of clients.",
    ),
    Directive(
        "snapshot-mode",
        Choice("fork", "forkless"),
        "Who writes a snapshot while commands go on: a forked child, or the server itself, slice by slice.",
    ),
    Directive(
        "rdb-save-incremental-fsync",
        YesNo(),
        "Sync a snapshot every 4 MiB while it is written, so that the disk is not flooded at its end.",
    ),
    Directive("rdb-del-sync-files", YesNo(), "No effect: full copies to replicas leave no files."),
    Directive("appendonly", Choice("no"), "Only `no`: there is no append-only file."),
]

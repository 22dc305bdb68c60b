"""Directives of the data files.

Rows of the table of `redoubt.directives.table`; what a row means stands in `redoubt.directives.directive`.
"""

from __future__ import annotations

from typing import Final

from redoubt.config_kinds import Choice, FileName, Integer, Memory, SavePoints, Text, YesNo
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
    # The append-only file
    Directive("appendonly", Choice("no", "yes"), "Log every change in the append-only file."),
    Directive("appendfilename", FileName(), "First part of its files' names.", is_mutable=False),
    Directive("appenddirname", FileName(), "Directory of its files, in `dir`.", is_mutable=False),
    Directive(
        "appendfsync",
        Choice("always", "everysec", "no"),
        "When what was logged is made durable: before each reply, once a second, or when the system likes.",
    ),
    Directive(
        "no-appendfsync-on-rewrite", YesNo(), "Do not sync every second while a file is being written."
    ),
    Directive(
        "auto-aof-rewrite-percentage",
        Integer(0),
        "Rewrite the files when they have grown by so much since the last time; 0 for never.",
    ),
    Directive("auto-aof-rewrite-min-size", Memory(), "Do not rewrite smaller files by oneself."),
    Directive("aof-load-truncated", YesNo(), "Start although the last file ends in the middle of a command."),
    Directive("aof-use-rdb-preamble", YesNo(), "Begin the files with a snapshot instead of commands."),
    Directive("aof-timestamp-enabled", YesNo(), "Note the time in the files, to go back to."),
    Directive("aof-rewrite-incremental-fsync", YesNo(), "Sync every few MiB while the files are rewritten."),
]

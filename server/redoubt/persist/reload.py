"""DEBUG RELOAD: the dataset through the file and back, in a server that runs.

By default it is saved, dropped, and loaded again; NOSAVE takes the file as it lies there, NOFLUSH keeps what
is in memory, and then a key of the file replaces its namesake (MERGE). Data commands are refused with
LOADING meanwhile. Nothing of it is propagated, and the place in the replication history stays. A file that
cannot be loaded leaves what was loaded up to there, as in Redis; this is a tool of tests.

Begun by `redoubt.commands.debug`. Source: DEBUG HELP of Redis.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from redoubt.interfaces import FileJob, ReadFile
from redoubt.persist.load import DatasetLoader
from redoubt.persist.rdb_format import CorruptFile
from redoubt.persist.rdb_read import RdbReader
from redoubt.session import GATE_LOADING

if TYPE_CHECKING:
    from redoubt.persist.dump_file import DumpFile

log = logging.getLogger("redoubt")

ITEMS_PER_STEP: Final = 10_000


class Reload(FileJob):
    """One reload; `done` of its own `report` is told of the outcome."""

    def __init__(self, dump: DumpFile, report: FileJob, keeps_data: bool) -> None:
        self.dump = dump
        self.report = report
        self.keeps_data = keeps_data
        self.is_loading = False
        self.error = ""
        state = dump.state
        self.loader = DatasetLoader(state.keyspaces, 0)
        self.loader.replaces = keeps_data
        config = state.config
        databases = len(state.keyspaces)
        self.reader = RdbReader(dump.path(), self.loader, databases, config.proto_max_bulk_len, state.limits)

    def load(self) -> None:
        """Begin to read the file, without saving before."""
        state = self.dump.state
        state.set_gate(GATE_LOADING, True)
        state.effects.append(ReadFile(self, self.dump.path()))
        self.is_loading = True

    def chunk(self, data: bytes, now_ms: int) -> None:
        """Load one piece of the file; the first one finds the dataset emptied."""
        self.empty()
        if self.error or self.reader.is_done:
            return
        self.reader.feed(data)
        try:
            while self.reader.advance(ITEMS_PER_STEP):
                pass
        except CorruptFile as corrupt:
            self.error = str(corrupt)

    def done(self, error: str, now_ms: int) -> None:
        """Take the end of the save, which lets the load begin, or that of the load."""
        if not self.is_loading:
            if error:
                self.report.done(error, now_ms)
            else:
                self.load()
            return
        self.empty()
        state = self.dump.state
        state.set_gate(GATE_LOADING, False)
        self.dump.changes_saved = self.dump.changes_made()
        self.report.done(error or self.error or self.completed(), now_ms)

    def empty(self) -> None:
        """Drop the dataset, once, unless it is to be kept."""
        if not self.keeps_data:
            self.keeps_data = True
            for keyspace in self.dump.state.keyspaces:
                keyspace.flush()

    def completed(self) -> str:
        """Check that the file was whole, and take over its functions; return what is wrong, if anything."""
        try:
            self.reader.finish()
        except CorruptFile as corrupt:
            return str(corrupt)
        log.warning("DB reloaded by DEBUG RELOAD")
        return self.dump.state.scripting.install_libraries(self.loader.functions)

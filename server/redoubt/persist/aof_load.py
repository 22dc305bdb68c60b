"""Loads the append-only file at the start: the base, then the increments, through the dispatcher.

One file after the other is read in slices, so that clients are told that the server is loading. A base is RDB
or commands; older files are RDB with commands behind. The commands run as a master's do on a replica:
without gates and replies, and nothing expires meanwhile, or what was written to a key after its time would
be a key without one. Annotations say where in the replication history an increment stands (`aof_place`).

A file that ends in the middle of a command or a transaction is the trace of a crash, if it is the last one:
with `aof-load-truncated` its tail is cut off. Everything else that is wrong ends the process: half a dataset
is never served.

Begun by `redoubt.persist.append_log`. Source: Redis `src/aof.c` (loadAppendOnlyFiles).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from redoubt.interfaces import Exit, FileJob, ReadFile
from redoubt.persist.aof_manifest import Manifest, ManifestEntry, read_manifest
from redoubt.persist.aof_place import MARK, read_place
from redoubt.persist.load import DatasetLoader
from redoubt.persist.rdb_format import CorruptFile
from redoubt.persist.rdb_read import RdbReader
from redoubt.resp.replies import ErrorReply, ProtocolError
from redoubt.resp.requests import ASTERISK, RequestParser
from redoubt.session import GATE_LOADING, Session

if TYPE_CHECKING:
    from redoubt.persist.append_log import AppendLog

log = logging.getLogger("redoubt")

MISSING: Final = "No such file or directory"
MAGICS: Final = (b"REDIS", b"VALKEY")
MAGIC_BYTES_MAX: Final = 6
ITEMS_PER_STEP: Final = 10_000
HASH_SIGN: Final = 0x23
# How the history says under which config epoch what follows was written (see replication.replica).
EPOCH_MARK: Final = b"redoubt-epoch:"
SPECIAL: Final = frozenset((b"REPLCONF", b"replconf", b"PING", b"ping", b"MULTI", b"multi", b"EXEC", b"exec"))


class LogLoad(FileJob):
    """The loading of one dataset; see the module's docstring."""

    def __init__(self, owner: AppendLog, now_ms: int) -> None:
        self.owner = owner
        self.state = owner.state
        self.started_ms = now_ms
        self.manifest = Manifest(self.state.config.appendfilename)
        self.keys_loaded = 0
        self.total_bytes = 0
        self.loaded_bytes = 0
        # The last increment, which goes on growing, and how much of it is sound.
        self.increment: ManifestEntry | None = None
        self.increment_bytes = 0
        self.has_failed = False
        self._manifest_text: list[bytes] = []
        self._is_reading_manifest = True
        self._names: list[str] = []  # of the files to come
        self._path = ""
        self._fields: dict[bytes, bytes] = {}
        self._offset = -1  # in the history, as far as it is known
        self._commands: CommandFile | None = None
        self._snapshot: RdbReader | None = None
        self._loader = DatasetLoader(self.state.keyspaces, 0)
        self._first_bytes = b""

    def begin(self) -> None:
        """Begin with the manifest; until everything is loaded data commands are refused."""
        self.state.set_gate(GATE_LOADING, True)
        self.state.effects.append(ReadFile(self, self.owner.manifest_path()))

    def place(self) -> dict[bytes, bytes]:
        """Return what the files say of their place in the history, in the words of a snapshot."""
        fields = dict(self._fields)
        if self._offset >= 0:
            fields[b"repl-offset"] = b"%d" % self._offset
        return fields

    # What is read.

    def began(self, size_bytes: int) -> None:
        """Count the files of the dataset."""
        if not self._is_reading_manifest:
            self.total_bytes += size_bytes

    def chunk(self, data: bytes, now_ms: int) -> None:
        """Take a piece of the manifest or of the file under way."""
        if self._is_reading_manifest:
            self._manifest_text.append(data)
        elif not self.has_failed:
            self.loaded_bytes += len(data)
            try:
                self._take(data)
            except CorruptFile as corrupt:
                self.fail(str(corrupt))

    def done(self, error: str, now_ms: int) -> None:
        """Go on with the next file, or end."""
        if self.has_failed:
            return
        if self._is_reading_manifest:
            self._manifest_read(error, now_ms)
            return
        if error:
            self.fail(f"The AOF file {self._path} cannot be read: {error}")
            return
        try:
            self._end_file()
        except CorruptFile as corrupt:
            self.fail(str(corrupt))
            return
        self._next_file(now_ms)

    def _manifest_read(self, error: str, now_ms: int) -> None:
        self._is_reading_manifest = False
        if error:
            if MISSING in error:
                self._without_manifest()
            else:
                self.fail(f"The AOF manifest {self.owner.manifest_path()} cannot be read: {error}")
            return
        try:
            text = b"".join(self._manifest_text)
            self.manifest = read_manifest(self.owner.manifest_path(), self.manifest.file_name, text)
        except CorruptFile as corrupt:
            self.fail(str(corrupt))
            return
        self._names = [f"{self.owner.directory()}/{name}" for name in self.manifest.file_names()]
        if self.manifest.increments:
            self.increment = self.manifest.increments[-1]
        self._next_file(now_ms)

    def _without_manifest(self) -> None:
        """Look for the one file of Redis up to 6.2."""
        self.state.effects.append(ReadFile(OldFile(self), self.old_path()))

    def old_path(self) -> str:
        """Return where the one file of Redis up to 6.2 lies."""
        return f"{self.state.config.dir}/{self.state.config.appendfilename}"

    def _next_file(self, now_ms: int) -> None:
        if not self._names:
            self._end(now_ms)
            return
        self._path = self._names.pop(0)
        self._first_bytes = b""
        self._commands = self._snapshot = None
        self.state.effects.append(ReadFile(self, self._path))

    def _take(self, data: bytes) -> None:
        if self._commands is None and self._snapshot is None:
            data = self._first_bytes + data
            if len(data) < MAGIC_BYTES_MAX and any(magic.startswith(data[:5]) for magic in MAGICS):
                self._first_bytes = data
                return
            if data.startswith(MAGICS):
                self._begin_snapshot()
            else:
                self._commands = CommandFile(self, self._path, 0)
        if self._snapshot is not None:
            self._snapshot.feed(data)
            while self._snapshot.advance(ITEMS_PER_STEP):
                pass
            if self._snapshot.is_done:
                self._end_snapshot()
        elif self._commands is not None:
            self._commands.take(data)

    def _begin_snapshot(self) -> None:
        state = self.state
        self._snapshot = RdbReader(
            self._path, self._loader, len(state.keyspaces), state.config.proto_max_bulk_len, state.limits
        )

    def _end_snapshot(self) -> None:
        """Take over what the snapshot said, and run the commands behind it, if there are any."""
        reader = self._snapshot
        assert reader is not None
        self._snapshot = None
        complaint = self.state.scripting.install_libraries(self._loader.functions)
        if complaint:
            raise CorruptFile(self._path, reader.offset(), "sound function libraries", complaint)
        self.keys_loaded += self._loader.keys_loaded
        self._fields = dict(self._loader.fields)
        self._offset = int(self._fields.get(b"repl-offset", b"-1"))
        self._commands = CommandFile(self, self._path, reader.offset())
        rest = reader.rest()
        if rest:
            self._commands.take(rest)

    def _end_file(self) -> None:
        if self._first_bytes and self._commands is None and self._snapshot is None:
            self._commands = CommandFile(self, self._path, 0)
            self._commands.take(self._first_bytes)
        if self._snapshot is not None:
            self._snapshot.finish()
        file = self._commands
        is_last = not self._names
        if file is None:
            return
        if not file.is_whole():
            if not is_last or self.increment is None:
                raise CorruptFile(self._path, file.sound_bytes, "a whole command", "the end of the file")
            self._cut_tail(file)
        if is_last and self.increment is not None:
            self.increment_bytes = file.sound_bytes
            self.loaded_bytes -= file.read_bytes - file.sound_bytes
            self.total_bytes -= file.read_bytes - file.sound_bytes

    def _cut_tail(self, file: CommandFile) -> None:
        tail_bytes = file.read_bytes - file.sound_bytes
        if not self.state.config.aof_load_truncated:
            raise CorruptFile(
                self._path, file.sound_bytes, "a whole command",
                f"the end of the file, {tail_bytes} bytes later. You can make a backup of your AOF file and "
                "run redis-check-aof --fix on the manifest, or set aof-load-truncated to yes and start again",
            )  # fmt: skip
        log.warning("!!! Warning: short read while loading the AOF file %s !!!", self._path)
        log.warning("AOF loaded anyway because aof-load-truncated is enabled: %d bytes cut off", tail_bytes)

    def _end(self, now_ms: int) -> None:
        log.info("DB loaded from append only file: %d ms", now_ms - self.started_ms)
        self.state.set_gate(GATE_LOADING, False)
        self.owner.loaded(self, now_ms)

    def take_place(self, line: bytes) -> None:
        """Take an annotation."""
        if not line.startswith(MARK):
            return
        fields = read_place(line)
        if fields is not None:
            self._fields = fields
            self._offset = int(fields.get(b"repl-offset", b"-1"))

    def take_epoch(self, epoch: bytes) -> None:
        """Take the config epoch under which what follows was written."""
        if epoch.isdigit():
            self._fields[b"redoubt-epoch"] = epoch

    def count(self, size_bytes: int) -> None:
        """Count bytes of the history that have been applied."""
        if self._offset >= 0:
            self._offset += size_bytes

    def select(self, database: int) -> None:
        """Take note of the database that the history is in."""
        self._fields[b"repl-stream-db"] = b"%d" % database

    def fail(self, reason: str) -> None:
        """End the process: what is on disk must not be overwritten by what little was loaded."""
        self.has_failed = True
        log.critical("Fatal error loading the DB, check server logs. Exiting. %s", reason)
        self.state.effects.append(Exit(1))

    # The one file of older versions.

    def old_file_read(self, pieces: list[bytes], now_ms: int) -> None:
        """Load the one file of Redis up to 6.2; the first rewrite makes a manifest of it."""
        self._path = self.old_path()
        log.info("Loading %s, an append only file without a manifest", self._path)
        try:
            for data in pieces:
                self.total_bytes += len(data)
                self.loaded_bytes += len(data)
                self._take(data)
            self._end_file()
        except CorruptFile as corrupt:
            self.fail(str(corrupt))
            return
        self.state.set_gate(GATE_LOADING, False)
        self.owner.loaded_old(self, now_ms)


class OldFile(FileJob):
    """The one file of Redis up to 6.2, if it is there."""

    def __init__(self, load: LogLoad) -> None:
        self.load = load
        self.pieces: list[bytes] = []

    def chunk(self, data: bytes, now_ms: int) -> None:
        """Keep a piece."""
        self.pieces.append(data)

    def done(self, error: str, now_ms: int) -> None:
        """Load it, or leave the start to the snapshot file."""
        if not error:
            self.load.old_file_read(self.pieces, now_ms)
        elif MISSING in error:
            self.load.owner.nothing_found(now_ms)
        else:
            self.load.fail(f"The AOF file {self.load.old_path()} cannot be read: {error}")


class CommandFile:
    """The commands of one file, which may begin behind a snapshot."""

    def __init__(self, load: LogLoad, path: str, start: int) -> None:
        self.load = load
        self.path = path
        # Where in the file the commands begin, how much has been read, and up to where it is sound.
        self.start = start
        self.read_bytes = start
        self.sound_bytes = start
        state = load.state
        self.parser = RequestParser(state.config.proto_max_bulk_len)
        self.session = Session(state, 0, self.parser, "aof", "", is_master_link=True)
        self.session.now_ms = 0  # nothing expires while the log is replayed
        self.session.is_unpropagated = True
        self._transaction: list[list[bytes]] | None = None

    def is_whole(self) -> bool:
        """Say whether everything that was read made whole commands and transactions."""
        return self.sound_bytes == self.read_bytes

    def take(self, data: bytes) -> None:
        """Run what has arrived whole; raises CorruptFile."""
        self.read_bytes += len(data)
        parser = self.parser
        parser.feed(data)
        consumed = parser.consumed_bytes()
        try:
            while True:
                self._expect_command()
                argv = parser.next()
                if argv is None:
                    break
                size_bytes = parser.consumed_bytes() - consumed
                consumed += size_bytes
                if argv[0][:1] == b"#":
                    self.load.take_place(b" ".join(argv))
                else:
                    self.load.count(size_bytes)
                    self._run(argv)
                if self._transaction is None:
                    self.sound_bytes = self.start + consumed
        except ProtocolError as error:
            found = error.text.decode("latin-1")
            raise CorruptFile(self.path, self.start + consumed, "a command", found) from None

    def _expect_command(self) -> None:
        """A file holds arrays and annotations, and none of the lines that a person may type."""
        parser = self.parser
        if parser.arguments_missing or parser.position >= len(parser.buffer):
            return
        first = parser.buffer[parser.position]
        if first not in (ASTERISK, HASH_SIGN):
            at = self.start + parser.consumed_bytes()
            raise CorruptFile(self.path, at, "a command, which begins with *", f"the byte {first}")

    def _run(self, argv: list[bytes]) -> None:
        if argv[0] in SPECIAL and self._run_special(argv):
            return
        if self._transaction is not None:
            self._transaction.append(argv)
            return
        reply = self.load.state.dispatcher.execute(self.session, argv)
        if isinstance(reply, ErrorReply) and reply.text.startswith(b"ERR unknown command"):
            at = self.start + self.parser.consumed_bytes()
            raise CorruptFile(self.path, at, "a known command", repr(argv[0][:64]))
        if argv[0].upper() == b"SELECT":
            self.load.select(self.session.database)

    def _run_special(self, argv: list[bytes]) -> bool:
        """Take what is no change of data; say whether that is done."""
        name = argv[0].upper()
        if name == b"PING":
            if len(argv) > 1 and argv[1].startswith(EPOCH_MARK):
                self.load.take_epoch(argv[1][len(EPOCH_MARK) :])
        elif name == b"MULTI":
            self._transaction = []
        elif name == b"EXEC":
            commands, self._transaction = self._transaction or [], None
            for command in commands:
                self._run(command)
        return True

"""The incremental reader of RDB: fed with pieces of a file or of a full sync, it hands entries to a sink.

It is a push parser without any input of its own: `feed` takes bytes, `advance` parses a bounded number of
items from them, so that a loop turn stays short whatever arrives. It accepts versions 1 to 12 with the magic
REDIS and version 80 with VALKEY, verifies the checksum, and stops at the first thing it does not know with
CorruptFile(path, offset, what was expected): a file is loaded whole or not at all. What follows the end of
the RDB part stays with the reader and is asked for by `rest` (a full sync continues with commands).

Called by the loader of dump.rdb and by the replica. It decides nothing about expired or foreign keys, nor
about the hints of LRU and LFU; the sink does.

Source: Redis `src/rdb.c` (rdbLoadRioWithLoadingCtx), `src/rdb.h`; Valkey 9 for version 80.
"""

from __future__ import annotations

from mypy_extensions import mypyc_attr

from redoubt.data.limits import Limits
from redoubt.data.text import Value
from redoubt.persist.rdb_format import (
    CHECKSUM_VERSION_MIN,
    OP_AUX,
    OP_END,
    OP_EXPIRE_MS,
    OP_EXPIRE_S,
    OP_FREQUENCY,
    OP_FUNCTION,
    OP_FUNCTION_PRERELEASE,
    OP_IDLE,
    OP_MODULE_AUX,
    OP_RESIZE,
    OP_SELECT,
    OP_SLOT_IMPORT,
    OP_SLOT_INFO,
    REDIS_VERSION_MAX,
    TYPE_MODULE,
    TYPE_MODULE_PRERELEASE,
    VALKEY_VERSION_MAX,
    VALKEY_VERSION_MIN,
    module_name,
)
from redoubt.persist.rdb_source import TEXT_BYTES_MAX, RdbSource, Underrun
from redoubt.persist.rdb_types import READERS
from redoubt.persist.rdb_value import ValueReader

MAGIC_BYTES = 9  # "REDIS0010", "VALKEY080"


@mypyc_attr(allow_interpreted_subclasses=True)
class RdbSink:
    """Takes what a reader finds, in the order of the stream. The loader subclasses it."""

    def field(self, name: bytes, text: bytes) -> None:
        """Take an auxiliary field."""

    def resize(self, database: int, key_count: int, expiry_count: int) -> None:
        """Take note of how many keys will come."""

    def use(self, idle_s: int, frequency: int) -> None:
        """Take note of the next key's use: seconds idle, or the logarithmic counter; -1: not said."""

    def entry(self, database: int, key: bytes, value: Value, expires_ms: int) -> None:
        """Take one key; `expires_ms`: absolute, 0 for none."""
        raise AssertionError

    def function(self, library: bytes) -> None:
        """Take the source of a function library."""


class RdbReader:
    """Reads one RDB stream; see the module's docstring."""

    def __init__(
        self,
        path: str,
        sink: RdbSink,
        databases: int = 1 << 31,
        text_bytes_max: int = TEXT_BYTES_MAX,
        limits: Limits | None = None,
    ) -> None:
        self.is_done = False
        self.version = 0
        self._source = RdbSource(path, text_bytes_max, limits)
        self._sink = sink
        self._databases = databases
        self._database = 0
        self._expires_ms = 0
        self._key = b""
        # The value under way, if its key has been read.
        self._value_reader: ValueReader | None = None
        self._has_ended = False

    def feed(self, data: bytes) -> None:
        """Take the next piece of the stream."""
        self._source.feed(data)

    def advance(self, items_max: int) -> bool:
        """Parse at most `items_max` items; say whether more could be parsed at once. Raises CorruptFile."""
        source = self._source
        while not self.is_done:
            if items_max <= 0:
                return True
            items_max -= 1
            try:
                self._item()
            except Underrun:
                source.rewind()
                if not source.gather():
                    return False
            except IndexError:
                # Of a pack that was believed without a look at its entries.
                raise source.corrupt("a sound value", "one that ends too early") from None
            else:
                source.commit()
        return False

    def rest(self) -> bytes:
        """Take away what follows the RDB stream."""
        return self._source.rest()

    def offset(self) -> int:
        """Return how many bytes of the stream have been parsed."""
        return self._source.offset()

    def finish(self) -> None:
        """Take note that nothing more will be fed. Raises CorruptFile if the stream is not complete."""
        if not self.is_done:
            raise self._source.corrupt("more bytes", "the end of the file")

    def _item(self) -> None:
        if self._value_reader is not None:
            self._value(self._value_reader)
        elif self._has_ended:
            self._checksum()
        elif self.version == 0:
            self._magic()
        else:
            code = self._source.byte()
            reader = READERS.get(code)
            if reader is None:
                self._opcode(code)
                return
            self._key = self._source.text()
            self._source.commit()
            self._value_reader = reader()
            self._value(self._value_reader)

    def _value(self, reader: ValueReader) -> None:
        value = reader.read(self._source)
        self._sink.entry(self._database, self._key, value, self._expires_ms)
        self._value_reader = None
        self._expires_ms = 0

    def _magic(self) -> None:
        magic = self._source.take(MAGIC_BYTES)
        if magic.startswith(b"REDIS"):
            digits, version_min, version_max = magic[5:], 1, REDIS_VERSION_MAX
        elif magic.startswith(b"VALKEY"):
            digits, version_min, version_max = magic[6:], VALKEY_VERSION_MIN, VALKEY_VERSION_MAX
        else:
            raise self._source.corrupt("the magic REDIS or VALKEY", repr(magic))
        version = int(digits) if digits.isdigit() else 0
        if not version_min <= version <= version_max:
            expected = f"an RDB version from {version_min} to {version_max}"
            raise self._source.corrupt(expected, digits.decode("latin-1"))
        self.version = self._source.version = version

    def _opcode(self, code: int) -> None:
        source = self._source
        if code == OP_EXPIRE_MS:
            self._expires_ms = source.little(8, True)
        elif code == OP_EXPIRE_S:
            self._expires_ms = source.little(4, True) * 1000
        elif code == OP_SELECT:
            self._database = source.length()
            if self._database >= self._databases:
                expected = f"a database below {self._databases} (directive databases)"
                raise source.corrupt(expected, str(self._database))
        elif code == OP_RESIZE:
            key_count = source.length()
            self._sink.resize(self._database, key_count, source.length())
        elif code == OP_AUX:
            name = source.text()
            self._sink.field(name, source.text())
        elif code == OP_IDLE:
            self._sink.use(source.length(), -1)
        elif code == OP_FREQUENCY:
            self._sink.use(-1, source.byte())
        elif code == OP_SLOT_INFO:
            for _ in range(3):
                source.length()
        elif code == OP_FUNCTION:
            self._sink.function(source.text())
        elif code == OP_SLOT_IMPORT and self.version >= VALKEY_VERSION_MIN:
            source.text()
            for _ in range(source.length()):
                source.length()
                source.length()
        elif code == OP_END:
            self._has_ended = True
        else:
            self._refuse(code)

    def _refuse(self, code: int) -> None:
        source = self._source
        if code == OP_MODULE_AUX:
            name = module_name(source.length())
            found = f"AUX module data I can't load: no matching module {name!r}"
            raise source.corrupt("data without modules", found)
        if code in (TYPE_MODULE, TYPE_MODULE_PRERELEASE):
            key = source.text()
            name = module_name(source.length())
            found = f"module data I can't load: no matching module type {name!r} (key {key!r})"
            raise source.corrupt("a value of a known type", found)
        if code == OP_FUNCTION_PRERELEASE:
            raise source.corrupt("functions in the format of Redis 7.0", "those of a release candidate")
        raise source.corrupt("an opcode or a value of a known type", f"the byte {code}")

    def _checksum(self) -> None:
        source = self._source
        computed = source.checksum()
        if self.version >= CHECKSUM_VERSION_MIN:
            stored = source.little(8)
            if stored not in (0, computed):  # 0: written with rdbchecksum no
                raise source.corrupt(f"the checksum {computed:016x}", f"{stored:016x}")
        self.is_done = True

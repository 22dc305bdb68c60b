"""The manifest of the append-only file: which files make up the dataset, in which order.

    file appendonly.aof.2.base.rdb seq 2 type b
    file appendonly.aof.3.incr.aof seq 3 type i

One base (a snapshot, or commands), then the increments in the order of their numbers. Files of the type h are
what a rewrite has replaced; they are listed until they have been removed, so that a crash leaves none behind.
The manifest is replaced as a whole, and nothing is part of the dataset that it does not name.

Read and written by `redoubt.persist.append_log`; it reads no files itself.
Source: Redis `src/aof.c` (multi-part AOF), whose texts the errors follow.
"""

from __future__ import annotations

from typing import Final

from redoubt.persist.rdb_format import CorruptFile
from redoubt.resp.inline import split_words

BASE: Final = "b"
HISTORY: Final = "h"
INCREMENT: Final = "i"
LINE_BYTES_MAX: Final = 1024
# Characters that make a name need quotes.
PLAIN: Final = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-+=@,:")


class ManifestEntry:
    """One file of the dataset."""

    def __init__(self, name: str, sequence: int, kind: str) -> None:
        self.name = name
        self.sequence = sequence
        self.kind = kind

    def line(self) -> bytes:
        """Return its line of the manifest."""
        name = self.name.encode("utf-8", "surrogateescape")
        if not all(letter in PLAIN for letter in name):
            escaped = name.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
            name = b'"' + escaped + b'"'
        return b"file %s seq %d type %s\n" % (name, self.sequence, self.kind.encode())


class Manifest:
    """The files of one dataset; see the module's docstring."""

    def __init__(self, file_name: str) -> None:
        self.file_name = file_name  # `appendfilename`
        self.base: ManifestEntry | None = None
        self.increments: list[ManifestEntry] = []
        self.history: list[ManifestEntry] = []
        self.base_sequence = 0
        self.increment_sequence = 0

    def text(self) -> bytes:
        """Return the manifest as it stands in its file."""
        base = [] if self.base is None else [self.base]
        return b"".join([entry.line() for entry in (*base, *self.history, *self.increments)])

    def next_base(self, is_snapshot: bool) -> ManifestEntry:
        """Name the next base; it is part of the dataset only when it has been put in place."""
        self.base_sequence += 1
        ending = "rdb" if is_snapshot else "aof"
        name = f"{self.file_name}.{self.base_sequence}.base.{ending}"
        return ManifestEntry(name, self.base_sequence, BASE)

    def next_increment(self) -> ManifestEntry:
        """Name the next increment; the caller adds it."""
        self.increment_sequence += 1
        name = f"{self.file_name}.{self.increment_sequence}.incr.aof"
        return ManifestEntry(name, self.increment_sequence, INCREMENT)

    def rebase(self, base: ManifestEntry, first: ManifestEntry) -> None:
        """Let the dataset begin with a new base, which holds everything before the increment `first`."""
        replaced = [entry for entry in self.increments if entry.sequence < first.sequence]
        if self.base is not None:
            replaced.insert(0, self.base)
        self.history += [ManifestEntry(entry.name, entry.sequence, HISTORY) for entry in replaced]
        self.base = base
        self.increments = [entry for entry in self.increments if entry.sequence >= first.sequence]
        if first not in self.increments:
            self.increments.append(first)

    def file_names(self) -> list[str]:
        """List what is loaded, in order."""
        base = [] if self.base is None else [self.base]
        return [entry.name for entry in (*base, *self.increments)]


def read_manifest(path: str, file_name: str, text: bytes) -> Manifest:
    """Parse a manifest; raises CorruptFile with the line that is wrong."""
    manifest = Manifest(file_name)
    offset = 0
    for line in text.split(b"\n"):
        if line and not line.startswith(b"#"):
            _take_line(manifest, path, offset, line)
        offset += len(line) + 1
    if manifest.base is None and not manifest.increments:
        raise CorruptFile(path, 0, "a list of files", "an empty AOF manifest")
    return manifest


def _take_line(manifest: Manifest, path: str, offset: int, line: bytes) -> None:
    expected = "`file NAME seq NUMBER type b|h|i`"
    words = split_words(line) if len(line) <= LINE_BYTES_MAX else None
    if words is None or len(words) < 6 or len(words) % 2:
        raise CorruptFile(path, offset, expected, repr(line[:100]))
    facts = dict(zip(words[::2], words[1::2], strict=True))
    name = facts.get(b"file", b"").decode("utf-8", "surrogateescape")
    digits = facts.get(b"seq", b"")
    kind = facts.get(b"type", b"").decode("latin-1")
    if not name or not digits.isdigit() or int(digits) == 0 or kind not in (BASE, HISTORY, INCREMENT):
        raise CorruptFile(path, offset, expected, repr(line[:100]))
    if "/" in name:
        raise CorruptFile(path, offset, "the name of a file", f"the path {name}")
    entry = ManifestEntry(name, int(digits), kind)
    if kind == BASE:
        if manifest.base is not None:
            raise CorruptFile(path, offset, "one base file", "a second one")
        manifest.base = entry
        manifest.base_sequence = entry.sequence
    elif kind == HISTORY:
        manifest.history.append(entry)
    else:
        if entry.sequence <= manifest.increment_sequence:
            raise CorruptFile(path, offset, "growing sequence numbers", str(entry.sequence))
        manifest.increments.append(entry)
        manifest.increment_sequence = entry.sequence

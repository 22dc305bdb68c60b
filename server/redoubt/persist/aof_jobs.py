"""The operations on files that the append-only file has under way, each with what it has to say at its end.

Made and told by `redoubt.persist.append_log`, which decides everything.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from redoubt.interfaces import FileJob

if TYPE_CHECKING:
    from redoubt.persist.aof_manifest import Manifest, ManifestEntry
    from redoubt.persist.append_log import AppendLog


class Append(FileJob):
    """One write to the current increment."""

    def __init__(
        self,
        owner: AppendLog,
        entry: ManifestEntry,
        at: int,
        chunks: list[bytes],
        offset: int,
        is_synced: bool,
    ) -> None:
        self.owner = owner
        self.entry = entry
        self.at = at
        self.chunks = chunks
        self.size_bytes = sum([len(chunk) for chunk in chunks])
        self.offset = offset
        self.is_synced = is_synced

    def done(self, error: str, now_ms: int) -> None:
        """Pass the outcome on."""
        self.owner.appended(self, error, now_ms)


class Sync(FileJob):
    """One sync of the current increment, off the loop."""

    def __init__(self, owner: AppendLog, offset: int) -> None:
        self.owner = owner
        self.offset = offset

    def done(self, error: str, now_ms: int) -> None:
        """Pass the outcome on."""
        self.owner.synced(self.offset, error, now_ms)


class Creation(FileJob):
    """The creation of an increment that follows another one."""

    def __init__(self, owner: AppendLog, before: ManifestEntry | None) -> None:
        self.owner = owner
        self.before = before

    def done(self, error: str, now_ms: int) -> None:
        """Pass the outcome on."""
        self.owner.created(self.before, error, now_ms)


class Closing(FileJob):
    """The sync and the close of an increment that another one follows."""

    def __init__(self, owner: AppendLog, entry: ManifestEntry) -> None:
        self.owner = owner
        self.entry = entry

    def done(self, error: str, now_ms: int) -> None:
        """Pass the outcome on."""
        self.owner.closed(self.entry, error)


class Attempt(FileJob):
    """Something that a new base heals if it fails."""

    def __init__(self, owner: AppendLog, what: str) -> None:
        self.owner = owner
        self.what = what

    def done(self, error: str, now_ms: int) -> None:
        """Have everything written anew after a failure."""
        if error:
            self.owner.damaged(self.what, error)


class SavedManifest(FileJob):
    """The manifest is on its way to disk: as it is when its turn comes, after the writes before it."""

    def __init__(self, owner: AppendLog, manifest: Manifest) -> None:
        self.owner = owner
        self.manifest = manifest
        self.history: list[ManifestEntry] = []

    def chunks(self) -> Iterator[bytes]:
        """Yield the manifest."""
        self.history = list(self.manifest.history)
        yield self.manifest.text()

    def done(self, error: str, now_ms: int) -> None:
        """Pass the outcome on."""
        self.owner.manifest_saved(self.history, error, now_ms)

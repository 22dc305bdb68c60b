"""A disk that loses its power: what was synced stays, of the rest some may, and the last write may be torn.

Writes go to a cache. A sync makes a file's content durable; a new file's name, and a rename, are durable when
the runtime would have synced the directory. `fail_power` leaves of each file what is durable and any part of
what was appended since, which is what file systems promise. Errors can be planned, too: `fails_at` is the
number of the operation that the disk refuses, and for how many it goes on doing so.
"""

from __future__ import annotations

from random import Random

from redoubt.interfaces import AppendFile, CloseFile, Effect, RemoveFile, SaveFile, SyncFile, WriteFile
from tests.redoubt.harness import Harness


class PowerDisk:
    """What is durable of the files of one server, beside what its process sees in `files`."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.files: dict[str, bytes] = {}
        self.durable: dict[str, bytes] = {}

    def sync(self, path: str) -> None:
        """Make one file durable as it is now."""
        if path in self.files:
            self.durable[path] = self.files[path]

    def after_power_loss(self) -> dict[str, bytes]:
        """Return the files that the next process finds."""
        found: dict[str, bytes] = {}
        for path, durable in self.durable.items():
            cached = self.files.get(path, durable)
            if cached.startswith(durable):
                # Any part of what was appended may have reached the disk, its last page torn.
                kept = self.random.randint(len(durable), len(cached))
                found[path] = cached[:kept]
            else:
                found[path] = durable
        return found


class PowerHarness(Harness):
    """One server on such a disk."""

    def __init__(self, *words: str, random: Random, files: dict[str, bytes] | None = None) -> None:
        self.random = random
        self.disk = PowerDisk(random)
        self.disk.files = dict(files or {})
        self.disk.durable = dict(files or {})
        # How many operations the disk goes on refusing.
        self.refusals = 0
        # Syncs in a thread that have not come to their end.
        self.syncing: list[SyncFile] = []
        super().__init__(*words, files=self.disk.files, seed=random.randint(0, 1 << 30))

    def fulfil(self, effect: Effect) -> None:
        """Do what the node wishes, and note what is durable then."""
        if isinstance(effect, (AppendFile, SaveFile, WriteFile, SyncFile)) and self.refusals:
            self.refusals -= 1
            self.disk_error = "Input/output error"
            if isinstance(effect, AppendFile) and effect.chunks and self.random.random() < 0.5:
                whole = b"".join(effect.chunks)
                before = self.files.get(effect.path, b"")[: effect.at]
                self.files[effect.path] = before + whole[: self.random.randint(0, len(whole))]
            super().fulfil(effect)
            self.disk_error = ""
            return
        if isinstance(effect, SyncFile):
            self.syncing.append(effect)
            return
        super().fulfil(effect)
        if isinstance(effect, AppendFile) and (effect.is_synced or effect.at == 0):
            # A new file is created with its name synced; its content only if that is wished for.
            if effect.is_synced:
                self.disk.sync(effect.path)
            else:
                self.disk.durable.setdefault(effect.path, b"")
        elif isinstance(effect, (SaveFile, CloseFile)) or (isinstance(effect, WriteFile) and effect.is_last):
            self.disk.sync(effect.path)
        elif isinstance(effect, RemoveFile) and not effect.is_temporary:
            self.disk.durable.pop(effect.path, None)

    def end_syncs(self) -> None:
        """Let the syncs that run in a thread come to their end."""
        running, self.syncing = self.syncing, []
        for effect in running:
            self.disk.sync(effect.path)
            effect.job.done("", self.now_ms)
        self.turn()

    def fail_power(self) -> dict[str, bytes]:
        """Return what the next process finds."""
        return self.disk.after_power_loss()

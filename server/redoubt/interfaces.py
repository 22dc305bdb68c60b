"""The seams between the parts of one server: byte streams, effects, and what a part may ask of another.

The node is a pure machine: bytes and clock readings go in, bytes and effects come out. This module names
what crosses its edges. A `Link` is one byte stream; its `LinkOwner` receives what arrives on it. An effect
is a wish that only the runtime can fulfil (dial, listen, write a file, exit); it carries the object that is
told of the outcome. The hooks at the end are what the lower layers call of the replication and the cluster
without importing them: the layers above subclass them.

Everything here is called by the node, the runtime (`redoubt.runtime`) and the simulation (`tests/sim`).
Nothing here knows sockets, files, clocks or commands.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from mypy_extensions import mypyc_attr

# The order in which the dirty links of one loop turn are written. Replicas come before clients: a client
# that has seen its acknowledgement must find its write on a replica after any kill of the master.
LANE_REPLICA: Final = 0
LANE_BUS: Final = 1
LANE_CLIENT: Final = 2
LANES: Final = 3

# Kinds of listeners that the node may ask for.
LISTEN_CLIENT: Final = 0
LISTEN_BUS: Final = 1


@mypyc_attr(allow_interpreted_subclasses=True)
class LinkOwner:
    """Receives what happens on its links. Subclassed by the dispatcher, the bus and the replica."""

    def opened(self, link: Link, now_ms: int) -> None:
        """Take note that a dialled link is connected; `link.peer` and `link.local` are now known."""

    def failed(self, link: Link, is_refused: bool, now_ms: int) -> None:
        """Take note that a dialled link could not be connected; refused means: the kernel said so at once."""

    def received(self, link: Link, data: bytes, now_ms: int) -> None:
        """Take bytes that arrived; any split of the stream is possible."""
        raise AssertionError(f"{type(self).__name__} reads nothing")

    def drained(self, link: Link, now_ms: int) -> None:
        """Take note that the kernel has taken everything of what was unsent for a while."""

    def closed(self, link: Link, now_ms: int) -> None:
        """Take note that the stream has ended, whoever ended it. Called once, also after a Close effect."""


class Link:
    """One byte stream: a client, a replica, a bus peer, or our link to a master.

    Whoever writes appends to `out` and calls `ServerState.mark_dirty(link)`; the runtime writes the whole
    list once at the end of the loop turn, lane by lane, and clears it.
    """

    def __init__(self, owner: LinkOwner, lane: int, peer: str = "", local: str = "") -> None:
        self.owner = owner
        self.lane = lane
        self.peer = peer  # "host:port" of the other side
        self.local = local  # "host:port" of our side
        self.out: list[bytes] = []
        self.is_dirty = False
        # Close as soon as `out` has been handed to the kernel.
        self.closes_after_flush = False
        # The stream has ended or a Close effect is under way: nothing more is read or written.
        self.is_closed = False
        # Bytes handed over but never sent: the runtime's buffer and the kernel's (SIOCOUTQNSD), sampled after
        # each write that was partial, each write to a replica, and at every tick.
        self.unsent_bytes = 0
        # Set by the receiver to make the runtime stop reading (a blocked or throttled client).
        self.is_paused = False
        # The runtime's own handle for this stream; opaque to the node.
        self.handle: object | None = None


class Effect:
    """A wish of the node that the runtime fulfils, in the order in which effects were appended."""


class Dial(Effect):
    """Connect `link` to host:port from our announce address; then `owner.opened` or `owner.failed`."""

    def __init__(self, link: Link, host: str, port: int, timeout_ms: int) -> None:
        self.link = link
        self.host = host
        self.port = port
        self.timeout_ms = timeout_ms


class Close(Effect):
    """Close the stream now, dropping what is unwritten; `owner.closed` follows."""

    def __init__(self, link: Link) -> None:
        self.link = link


class OpenListener(Effect):
    """Accept connections of this kind from now on (idempotent)."""

    def __init__(self, kind: int) -> None:
        self.kind = kind


class CloseListener(Effect):
    """Refuse connections of this kind from now on; existing links stay (idempotent)."""

    def __init__(self, kind: int) -> None:
        self.kind = kind


@mypyc_attr(allow_interpreted_subclasses=True)
class FileJob:
    """The one who asked for a file operation; told of the outcome by `Node.finished`."""

    def began(self, size_bytes: int) -> None:
        """Take note of the size of the file that is about to be read."""

    def chunk(self, data: bytes, now_ms: int) -> None:
        """Take the next piece of a file that is being read."""

    def done(self, error: str, now_ms: int) -> None:
        """Take note of the end; `error` is empty on success, else the operating system's text."""


class SaveFile(Effect):
    """Replace the file at `path` by `chunks`: temporary file, fsync, rename, fsync of the directory.

    Done synchronously, before anything of this loop turn is sent: a vote must not leave before the file
    that remembers it is durable. `chunks` may be a generator: one chunk at a time is held in memory.
    syncs_early: also sync every few MiB, so that the disk is not flooded at the end.
    """

    def __init__(
        self,
        job: FileJob,
        path: str,
        chunks: Iterable[bytes],
        is_synced: bool = True,
        syncs_early: bool = False,
    ) -> None:
        self.job = job
        self.path = path
        self.chunks = chunks
        self.is_synced = is_synced
        self.syncs_early = syncs_early


class WriteFile(Effect):
    """Append `chunks` to the temporary file that will become `path`; the first one of a path begins it anew.

    With `is_last` the file is then synced and renamed, off the loop, since that may take seconds; `job.done`
    follows. An error is told at once by `job.done`; what comes for that path afterwards begins a new file.
    syncs_early: also sync every few MiB, in a thread.
    """

    def __init__(
        self, job: FileJob, path: str, chunks: list[bytes], is_last: bool, syncs_early: bool = False
    ) -> None:
        self.job = job
        self.path = path
        self.chunks = chunks
        self.is_last = is_last
        self.syncs_early = syncs_early


@mypyc_attr(allow_interpreted_subclasses=True)
class ForkJob(FileJob):
    """The one who asked for a file written by a forked child; `done` is told of the outcome, as always."""

    def chunks(self) -> Iterator[bytes]:
        """Return what is to be written, in pieces. Called in the child, which has all data as they were."""
        raise AssertionError

    def keys_written(self) -> int:
        """Return how far the child has come. Called in the child."""
        return 0

    def forked(self, duration_us: int) -> None:
        """Take note that there is a child, and how long the fork took."""

    def progressed(self, keys_written: int, private_bytes: int, now_ms: int) -> None:
        """Take note of how far the child has come, and how many bytes it no longer shares with us."""


class ForkSave(Effect):
    """Fork a child that replaces the file at `path` by `job.chunks()`; the loop goes on meanwhile.

    The file takes its name only when the child has ended well and is still wanted.
    """

    def __init__(self, job: ForkJob, path: str, syncs_early: bool = False) -> None:
        self.job = job
        self.path = path
        self.syncs_early = syncs_early


class KillFork(Effect):
    """Kill the child that writes the file at `path`, if there is one; nobody is told of its end."""

    def __init__(self, path: str) -> None:
        self.path = path


class RemoveFile(Effect):
    """Remove the file at `path`, or only the temporary file that would have become it; it need not exist."""

    def __init__(self, path: str, is_temporary: bool = False) -> None:
        self.path = path
        self.is_temporary = is_temporary


class ReadFile(Effect):
    """Read the file at `path` in pieces, one piece a loop turn, into `job.chunk`, then `job.done`."""

    def __init__(self, job: FileJob, path: str) -> None:
        self.job = job
        self.path = path


class AppendFile(Effect):
    """Write `chunks` at the end of the file at `path`, which is `at` bytes long, and stays open.

    What lies behind `at` is cut off first: the remains of a write that failed. `at` 0 makes a new file, and
    its directory. With `is_synced` the bytes are durable when `job.done` is told of the outcome, at once.
    """

    def __init__(self, job: FileJob, path: str, at: int, chunks: list[bytes], is_synced: bool) -> None:
        self.job = job
        self.path = path
        self.at = at
        self.chunks = chunks
        self.is_synced = is_synced


class SyncFile(Effect):
    """Make durable what has been appended to the file at `path`, off the loop; `job.done` follows."""

    def __init__(self, job: FileJob, path: str) -> None:
        self.job = job
        self.path = path


class CloseFile(Effect):
    """Make durable what has been appended to the file at `path`, at once, and close it."""

    def __init__(self, job: FileJob, path: str) -> None:
        self.job = job
        self.path = path


class FindFiles(Effect):
    """Tell `job.chunk` the name of each file in `directory` that begins with `prefix`, then `job.done`."""

    def __init__(self, job: FileJob, directory: str, prefix: str) -> None:
        self.job = job
        self.directory = directory
        self.prefix = prefix


class Sleep(Effect):
    """Block the whole loop (DEBUG SLEEP)."""

    def __init__(self, duration_ms: int) -> None:
        self.duration_ms = duration_ms


class Exit(Effect):
    """End the process after everything dirty has been flushed."""

    def __init__(self, code: int) -> None:
        self.code = code

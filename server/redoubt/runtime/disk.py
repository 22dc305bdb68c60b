"""Files: replaced durably, written in pieces, read in slices.

A file of ours is never changed in place. It is written beside its name, synced, renamed over it, and the
directory is synced: after a power loss there is the old file or the new one, whole. `save` does all of it at
once, since a vote waits for it; `PieceWriter` takes a long file piece by piece and syncs it in a thread.

The loop calls it when the node wishes so; errors go back as the operating system's text. Nothing here knows
what the files hold. Source of the order of steps: the rename rules of POSIX and fsync(2).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable
from typing import Final

# One slice per loop turn: about a millisecond from the page cache.
READ_BYTES: Final = 1024 * 1024
# Redis: REDIS_AUTOSYNC_BYTES, so much may wait for the disk while a long file is written.
UNSYNCED_BYTES_MAX: Final = 4 * 1024 * 1024


def temporary_path(path: str) -> str:
    """Return where a file is written before it takes its name."""
    return f"{path}.temp-{os.getpid()}"


def save(path: str, chunks: Iterable[bytes], is_synced: bool, syncs_early: bool = False) -> str:
    """Replace a file as a whole; return the error text, empty on success."""
    temporary = temporary_path(path)
    unsynced_bytes = 0
    try:
        with open(temporary, "wb") as file:
            for chunk in chunks:
                file.write(chunk)
                unsynced_bytes += len(chunk)
                if syncs_early and unsynced_bytes >= UNSYNCED_BYTES_MAX:
                    file.flush()
                    os.fdatasync(file.fileno())
                    unsynced_bytes = 0
            file.flush()
            if is_synced:
                os.fsync(file.fileno())
        os.replace(temporary, path)
        if is_synced:
            sync_directory(path)
    except OSError as error:
        remove(temporary)
        return error_text(error)
    return ""


def put_in_place(temporary: str, path: str) -> str:
    """Give a file that is written and synced its name; return the error text, empty on success."""
    try:
        os.replace(temporary, path)
        sync_directory(path)
    except OSError as error:
        remove(temporary)
        return error_text(error)
    return ""


def sync_directory(path: str) -> None:
    """Make the renaming of a file durable."""
    directory = os.open(os.path.dirname(path) or ".", os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def remove(path: str) -> None:
    """Remove a file that need not exist."""
    try:
        os.unlink(path)
    except OSError:
        pass


def names(directory: str, prefix: str) -> list[bytes]:
    """Return the names of the files in a directory that begin with `prefix`, in order."""
    try:
        return sorted(os.fsencode(name) for name in os.listdir(directory) if name.startswith(prefix))
    except OSError:
        return []


def error_text(error: OSError) -> str:
    """Return what the operating system says of an error."""
    return error.strerror or str(error)


class AppendedFile:
    """A file that only grows, and stays open."""

    def __init__(self, path: str, at: int) -> None:
        """Open the file and cut off what lies behind `at`; at 0 it and its directory may be new."""
        if at == 0:
            os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        flags = os.O_WRONLY | (os.O_CREAT if at == 0 else 0)
        self.descriptor = os.open(path, flags | os.O_CLOEXEC, 0o644)
        self.size = at
        try:
            present = os.fstat(self.descriptor).st_size
            if present < at:
                raise OSError(errno.EIO, f"the file has {present} bytes, {at} were written")
            os.ftruncate(self.descriptor, at)
            os.lseek(self.descriptor, at, os.SEEK_SET)
            if at == 0:
                sync_directory(path)
        except OSError:
            os.close(self.descriptor)
            raise

    def append(self, chunks: list[bytes]) -> None:
        """Write all of it; raises OSError, and the caller opens the file anew then."""
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        written = 0
        while written < len(data):
            written += os.write(self.descriptor, data[written:] if written else data)
        self.size += written

    def sync(self) -> None:
        """Make it durable; raises OSError."""
        os.fdatasync(self.descriptor)

    def sync_copy(self) -> Callable[[], str]:
        """Return a call that makes it durable from another thread and returns the error text, if any."""
        copy = os.dup(self.descriptor)

        def work() -> str:
            try:
                os.fdatasync(copy)
            except OSError as error:
                return error_text(error)
            finally:
                os.close(copy)
            return ""

        return work

    def close(self) -> None:
        """Close it."""
        os.close(self.descriptor)


class PieceWriter:
    """A file that is written over many loop turns and then takes its name."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.temporary = temporary_path(path)
        self.file = open(self.temporary, "wb")  # noqa: SIM115 - open across many loop turns
        self.unsynced_bytes = 0
        self.is_syncing = False

    def append(self, chunks: list[bytes]) -> None:
        """Write pieces; raises OSError."""
        for chunk in chunks:
            self.file.write(chunk)
            self.unsynced_bytes += len(chunk)

    def wants_sync(self) -> bool:
        """Say whether much is written and not synced, and no early sync is under way."""
        return self.unsynced_bytes >= UNSYNCED_BYTES_MAX and not self.is_syncing

    def sync_early(self) -> None:
        """Sync what is written so far, through a descriptor of its own. Called in a thread."""
        try:
            descriptor = os.open(self.temporary, os.O_RDONLY)
        except OSError:
            return  # given up meanwhile; the sync at the end tells of errors
        try:
            os.fdatasync(descriptor)
        except OSError:
            pass
        finally:
            os.close(descriptor)

    def finish(self) -> str:
        """Sync and rename; return the error text, empty on success. Slow: called in a thread."""
        try:
            self.file.flush()
            os.fsync(self.file.fileno())
            self.file.close()
            os.replace(self.temporary, self.path)
            sync_directory(self.path)
        except OSError as error:
            self.abandon()
            return error_text(error)
        return ""

    def abandon(self) -> None:
        """Remove what has been written."""
        try:
            self.file.close()
        except OSError:
            pass
        remove(self.temporary)

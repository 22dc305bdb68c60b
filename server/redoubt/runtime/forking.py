"""Forked children that write a file while the server goes on: begun, listened to, reaped, killed.

A child keeps its output, a pipe to us and the standard streams, and nothing else: no listener, no client, no
signal handler of ours, no loop. It never returns into the code that forked it, collects no garbage (that
would touch every object), and ends by `_exit`. Through the pipe it says how many keys it has written and how
many bytes of memory it no longer shares. We rename its file when it has ended well, so that a child that is
killed, or outlives us, leaves the old file in place.

The loop calls it for the effects `ForkSave` and `KillFork`; their job says what is written.
Source: Redis `src/server.c` (redisFork), `src/childinfo.c`; fork(2); Python's `os.fork`.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import time
from collections.abc import Callable
from typing import Final

from redoubt.interfaces import ForkJob, ForkSave
from redoubt.runtime import disk

log = logging.getLogger("redoubt")

# Counting a child's own pages walks through its page tables: some ms for a GiB, so not at every chunk.
REPORT_SECONDS: Final = 1.0
PIPE_BYTES: Final = 4096
FIRST_DESCRIPTOR: Final = 3
DESCRIPTORS_MAX: Final = 1 << 20
NEWLINE: Final = "\n"
WRITTEN: Final = b"written"
PROGRESS: Final = b"progress"


class Child:
    """One child as the parent sees it."""

    def __init__(self, pid: int, pipe: int, job: ForkJob, path: str, temporary: str) -> None:
        self.pid = pid
        self.pipe = pipe
        self.job = job
        self.path = path
        self.temporary = temporary
        # What has arrived of a line.
        self.heard = b""
        self.error = ""
        self.has_written = False
        self.is_killed = False


class Children:
    """All children of a process."""

    def __init__(self, loop: asyncio.AbstractEventLoop, begin_turn: Callable[[], int]) -> None:
        self.loop = loop
        # Called before a job is told something; returns the clock reading of the turn.
        self.begin_turn = begin_turn
        self.running: dict[int, Child] = {}  # by pid
        self.begun = 0
        self.tasks: set[asyncio.Task[None]] = set()

    def begin(self, effect: ForkSave, now_ms: int) -> None:
        """Fork a child, or tell the job at once that it cannot be."""
        # Of its own: one that was killed a moment ago may still have to be removed.
        self.begun += 1
        temporary = f"{disk.temporary_path(effect.path)}-{self.begun}"
        began = time.perf_counter_ns()
        try:
            output = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        except OSError as error:
            effect.job.done(disk.error_text(error), now_ms)
            return
        reading, writing = os.pipe()
        # What exists now is not looked at by the collector of either process, which would unshare its pages.
        gc.freeze()
        try:
            pid = os.fork()
        except OSError as error:
            for descriptor in (output, reading, writing):
                os.close(descriptor)
            disk.remove(temporary)
            effect.job.done(f"fork: {disk.error_text(error)}", now_ms)
            return
        if pid == 0:
            write_and_exit(effect, output, writing)
        os.close(output)
        os.close(writing)
        os.set_blocking(reading, False)
        effect.job.forked((time.perf_counter_ns() - began) // 1000)
        child = Child(pid, reading, effect.job, effect.path, temporary)
        self.running[pid] = child
        self.loop.add_reader(reading, self.listen, child)
        log.info("Background saving started by pid %d", pid)

    def kill(self, path: str) -> None:
        """Kill the child that writes the file at `path`, if there is one; its job hears nothing more."""
        for child in self.running.values():
            if child.path == path and not child.is_killed:
                child.is_killed = True
                os.kill(child.pid, signal.SIGKILL)

    def kill_all(self) -> None:
        """Kill every child, since nobody will give its file the name any more; init reaps it after us."""
        for child in list(self.running.values()):
            self.kill(child.path)
            disk.remove(child.temporary)

    def listen(self, child: Child) -> None:
        """Take what a child says; the end of the pipe is its end."""
        try:
            data = os.read(child.pipe, PIPE_BYTES)
        except BlockingIOError:
            return
        if not data:
            self.loop.remove_reader(child.pipe)
            os.close(child.pipe)
            task = self.loop.create_task(self.reap(child))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
            return
        *lines, child.heard = (child.heard + data).split(b"\n")
        now_ms = self.begin_turn()
        for line in lines:
            word, _, rest = line.partition(b" ")
            if word in (PROGRESS, WRITTEN):
                keys, _, private = rest.partition(b" ")
                if not child.is_killed:
                    child.job.progressed(int(keys), int(private), now_ms)
                child.has_written = word == WRITTEN
            else:
                child.error = rest.decode("utf-8", "replace")

    async def reap(self, child: Child) -> None:
        """Wait for a child's end off the loop, give its file the name, and tell the job."""
        status = await self.loop.run_in_executor(None, waited, child.pid)
        error = child.error
        if os.WIFSIGNALED(status):
            error = f"terminated by signal {os.WTERMSIG(status)}"
        elif not error and (status != 0 or not child.has_written):
            error = f"the child ended with status {os.waitstatus_to_exitcode(status)}"
        if child.is_killed or error:
            disk.remove(child.temporary)
        else:
            error = await self.loop.run_in_executor(None, disk.put_in_place, child.temporary, child.path)
        del self.running[child.pid]
        if not child.is_killed:
            child.job.done(error, self.begin_turn())


def waited(pid: int) -> int:
    """Wait for a child; return its status. Called in a thread."""
    return os.waitpid(pid, 0)[1]


def write_and_exit(effect: ForkSave, output: int, pipe: int) -> None:
    """Be the child: write the file, say how it went, and end."""
    code = 1
    try:
        gc.disable()
        become_quiet(output, pipe)
        write(effect, output, pipe)
        code = 0
    except OSError as error:
        say(pipe, "error", disk.error_text(error))
    except BaseException as error:
        # Nothing may return into the loop of the parent.
        say(pipe, "error", f"{type(error).__name__}: {error}")
    finally:
        os._exit(code)


def become_quiet(output: int, pipe: int) -> None:
    """Let go of everything that is the parent's: its signals and its descriptors."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal it comes to the whole group
    first = FIRST_DESCRIPTOR
    for kept in sorted((output, pipe)):
        os.closerange(first, kept)
        first = kept + 1
    os.closerange(first, DESCRIPTORS_MAX)


def write(effect: ForkSave, output: int, pipe: int) -> None:
    """Write and sync the file, and report; raises OSError."""
    parent = os.getppid()
    reported = time.monotonic()
    unsynced_bytes = 0
    job = effect.job
    for chunk in job.chunks():
        write_all(output, chunk)
        unsynced_bytes += len(chunk)
        if effect.syncs_early and unsynced_bytes >= disk.UNSYNCED_BYTES_MAX:
            os.fdatasync(output)
            unsynced_bytes = 0
        if time.monotonic() - reported >= REPORT_SECONDS:
            reported = time.monotonic()
            if os.getppid() != parent:
                raise OSError("the server is gone")
            say(pipe, "progress", f"{job.keys_written()} {private_bytes()}")
    os.fsync(output)
    os.close(output)
    say(pipe, "written", f"{job.keys_written()} {private_bytes()}")


def write_all(output: int, data: bytes) -> None:
    """Write bytes to the last one; raises OSError."""
    view = memoryview(data)
    while view:
        written = os.write(output, view)  # not inside the slice: mypyc would evaluate it twice
        view = view[written:]


def say(pipe: int, word: str, rest: str) -> None:
    """Send one line to the parent, if there still is one."""
    try:
        os.write(pipe, f"{word} {rest.replace(NEWLINE, ' ')}\n".encode())
    except OSError:
        pass


def private_bytes() -> int:
    """Return how much memory this process shares with nobody; 0 where the kernel does not tell."""
    try:
        with open("/proc/self/smaps_rollup", encoding="ascii") as file:
            for line in file:
                if line.startswith("Private_Dirty:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0

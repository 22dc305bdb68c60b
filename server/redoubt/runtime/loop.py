"""The process around a node: the uvloop event loop, the loop turn, the tick, and the effects.

A turn begins with the first thing that happens after the loop has slept (bytes, a tick, an ended stream),
when the clock is read once, and ends after everything that was ready has been handed to the node: then
the effects are fulfilled in order, and the dirty links are written, replicas before the bus before clients.
So a client never sees the reply to a write that is not already on its way to the replicas, and each stream
costs one write per turn however many commands it brought. Last, the next tick is brought forward if the turn
left the node with a wish for a sooner one: an election or a handover does not wait for the regular tick.

`redoubt.main` makes the one `Runtime`; the streams call `begin_turn`. Nothing here decides anything about
data or protocols.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from redoubt.config import ConfigError
from redoubt.interfaces import (
    LANE_CLIENT,
    LANE_REPLICA,
    LISTEN_BUS,
    LISTEN_CLIENT,
    AppendFile,
    Close,
    CloseFile,
    CloseListener,
    Dial,
    Effect,
    Exit,
    FileJob,
    FindFiles,
    ForkSave,
    KillFork,
    Link,
    OpenListener,
    ReadFile,
    RemoveFile,
    SaveFile,
    Sleep,
    SyncFile,
    WriteFile,
)
from redoubt.runtime import busy, disk, health, network
from redoubt.runtime.clock import Clock
from redoubt.runtime.forking import Children
from redoubt.runtime.plain_transport import PlainTransport
from redoubt.runtime.stream import Stream

if TYPE_CHECKING:
    from redoubt.node import Node

log = logging.getLogger("redoubt")

BUS_PORT_OFFSET: Final = 10000  # Redis: CLUSTER_PORT_INCR
# Only the youngest generation is collected by itself, in small portions: 2,000 containers take about 1 ms,
# since the entries of each are looked at. What outlives that is not looked at again: the object graph is
# acyclic by construction, and thirty thousand containers take 30 ms, a million 96.
GC_THRESHOLDS: Final = (2_000, 1_000_000, 1_000_000)
# A fault that repeats at every tick must not fill the disk with its traces.
FAULTS_LOGGED_MAX: Final = 100


def clock_us() -> int:
    """Read a clock for durations, in microseconds."""
    return time.perf_counter_ns() // 1000


class Runtime:
    """One process around one node; see the module's docstring."""

    def __init__(self, node: Node, loop: asyncio.AbstractEventLoop, clock: Clock) -> None:
        self.node = node
        self.loop = loop
        self.clock = clock
        self.config = node.state.config
        self.statistics = node.state.statistics
        self.now_ms = self.clock.now_ms()
        self.is_in_turn = False
        self.exit_code = -1
        self.is_serving = False
        self.faults = 0
        self.tick_timer: asyncio.TimerHandle | None = None
        self.tick_due_ms = 0
        self.streams: dict[int, Stream] = {}  # by descriptor
        self.paused: dict[int, Stream] = {}
        self.servers: dict[int, list[asyncio.Server]] = {}
        self.sockets: dict[int, list[socket.socket]] = {}  # the listening ones, by kind
        self.health_servers: list[asyncio.Server] = []
        self.health_sockets: list[socket.socket] = []
        self.health_port: health.HealthPort | None = None
        self.writers: dict[str, disk.PieceWriter] = {}
        self.appended: dict[str, disk.AppendedFile] = {}  # by path
        self.tasks: set[asyncio.Task[None]] = set()
        self.children = Children(loop, self.begin_turn)

    # The life of the process.

    def start(self, nodes_conf: bytes) -> None:
        """Start the node; raises ListenError if an address cannot be listened on."""
        for signal_number in (signal.SIGTERM, signal.SIGINT):
            self.loop.add_signal_handler(signal_number, self.asked_to_end, signal_number)
        self.loop.add_signal_handler(signal.SIGHUP, self.asked_to_reload)
        self.open_health_port()
        self.node.start(nodes_conf, self.begin_turn())
        self.end_turn()
        self.is_serving = True
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        self.tick()

    def run(self) -> int:
        """Serve until the node exits; return the exit code."""
        if self.exit_code < 0:
            self.loop.run_forever()
        self.children.kill_all()
        return self.exit_code

    def asked_to_end(self, signal_number: int) -> None:
        """Begin a shutdown as SHUTDOWN would; a second SIGINT ends the process at once."""
        log.warning("Received %s scheduling shutdown...", signal.Signals(signal_number).name)
        began = self.node.begin_shutdown(None, False, False, self.begin_turn())
        if not began and signal_number == signal.SIGINT:
            log.warning("You insist... exiting now.")
            self.node.exit_now(1)

    def asked_to_reload(self) -> None:
        """Read the files of secrets again, after an orchestrator has changed them."""
        try:
            self.config.reload_secrets()
            log.info("The files of secrets have been read again")
        except ConfigError as error:
            log.warning("The secrets stay as they were: %s: %s", error.name, error.text)

    # The loop turn.

    def begin_turn(self) -> int:
        """Return the clock reading of the present turn, beginning one if there is none."""
        if not self.is_in_turn:
            self.is_in_turn = True
            self.now_ms = self.clock.now_ms()
            self.loop.call_soon(self.end_turn)
        return self.now_ms

    def end_turn(self) -> None:
        """Fulfil the effects in order, then write everything dirty, replicas before clients."""
        node = self.node
        state = node.state
        try:
            effects = node.take_effects()
            while effects:
                for effect in effects:
                    self.fulfil(effect)
                effects = node.take_effects()
        except network.ListenError:
            if not self.is_serving:
                raise
            self.fault("listening")
        except Exception:
            self.fault("the end of a turn")
        finally:
            self.is_in_turn = False
        self.write_history()
        lanes = state.dirty_lanes
        is_held = state.replication.holds_replies()
        for lane in range(len(lanes)):
            if lane == LANE_CLIENT and is_held:
                continue
            links = lanes[lane]
            if links:
                lanes[lane] = []
                for link in links:
                    link.is_dirty = False
                    handle = link.handle
                    if isinstance(handle, Stream):
                        handle.flush()
        if self.paused:
            self.resume_reading()
        if self.exit_code >= 0:
            self.loop.stop()
        elif state.effects or (node.wants_turn() and not is_held):
            self.begin_turn()
        if node.next_tick_ms() < self.tick_due_ms:
            self.plan_tick()

    def write_history(self) -> None:
        """Give what was written to the append-only file and to the replicas' links, which go out after it."""
        state = self.node.state
        state.replication.before_flush(self.now_ms)
        if state.log.is_dirty:
            state.log.flush(self.now_ms)
            self.fulfil_early()

    def resume_reading(self) -> None:
        """Read again from those whose links are no longer paused."""
        for descriptor, stream in list(self.paused.items()):
            link = stream.link
            if link is not None and not link.is_paused:
                del self.paused[descriptor]
                stream.resume_reading()

    def tick(self) -> None:
        """Let the node do what time demands, and come back when it wishes."""
        now_ms = self.begin_turn()
        for stream in self.streams.values():
            link = stream.link
            if link is not None and (link.lane == LANE_REPLICA or stream.is_backed_up):
                stream.sample()
        try:
            self.node.tick(now_ms)
        except Exception:
            self.fault("a tick")
        self.plan_tick()

    def plan_tick(self) -> None:
        """Come back for the next tick when the node wishes, instead of what was planned before."""
        if self.tick_timer is not None:
            self.tick_timer.cancel()
        self.tick_due_ms = self.node.next_tick_ms()
        delay_ms = max(self.tick_due_ms - self.clock.now_ms(), 1)
        self.tick_timer = self.loop.call_later(delay_ms / 1000, self.tick)

    def fault(self, where: str) -> None:
        """Log a fault of ours that was caught at an edge, and go on: the rest of the server still serves."""
        self.faults += 1
        if self.faults <= FAULTS_LOGGED_MAX:
            log.exception("Fault %d, in %s; please report it", self.faults, where)

    # The effects.

    def fulfil_early(self) -> None:
        """Do what the node has wished so far, from within a turn: no client is let go on."""
        state = self.node.state
        try:
            while state.effects:
                effects, state.effects = state.effects, []
                for effect in effects:
                    self.fulfil(effect)
        except Exception:
            self.fault("the middle of a turn")

    def fulfil(self, effect: Effect) -> None:
        """Do what the node wishes."""
        if isinstance(effect, SaveFile):
            error = disk.save(effect.path, effect.chunks, effect.is_synced, effect.syncs_early)
            effect.job.done(error, self.now_ms)
        elif isinstance(effect, Dial):
            self.spawn(network.dial(self, effect))
        elif isinstance(effect, Close):
            self.close(effect.link)
        elif isinstance(effect, WriteFile):
            self.write_piece(effect)
        elif isinstance(effect, ForkSave):
            self.children.begin(effect, self.now_ms)
        elif isinstance(effect, KillFork):
            self.children.kill(effect.path)
        elif isinstance(effect, ReadFile):
            self.spawn(self.read_file(effect.job, effect.path))
        elif isinstance(effect, AppendFile):
            self.append_file(effect)
        elif isinstance(effect, SyncFile):
            self.sync_file(effect)
        elif isinstance(effect, CloseFile):
            self.close_file(effect)
        elif isinstance(effect, RemoveFile):
            self.remove_file(effect.path, effect.is_temporary)
        elif isinstance(effect, FindFiles):
            for name in disk.names(effect.directory, effect.prefix):
                effect.job.chunk(name, self.now_ms)
            effect.job.done("", self.now_ms)
        elif isinstance(effect, OpenListener):
            self.open_listener(effect.kind)
        elif isinstance(effect, CloseListener):
            self.sockets.pop(effect.kind, None)
            for server in self.servers.pop(effect.kind, []):
                server.close()
        elif isinstance(effect, Sleep):
            time.sleep(effect.duration_ms / 1000)
        else:
            assert isinstance(effect, Exit), effect
            self.exit_code = effect.code

    def spawn(self, work: Any) -> None:
        """Run a coroutine in the background, keeping it alive."""
        task = self.loop.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def close(self, link: Link) -> None:
        """Close a link at once; one that is still being dialled is closed when the dial ends."""
        handle = link.handle
        if isinstance(handle, Stream):
            handle.abort()

    def write_piece(self, effect: WriteFile) -> None:
        """Append to the file that is being written, and finish it in a thread after the last piece."""
        try:
            writer = self.writers.get(effect.path)
            if writer is None:
                writer = disk.PieceWriter(effect.path)
                self.writers[effect.path] = writer
            writer.append(effect.chunks)
            if effect.syncs_early and writer.wants_sync():
                self.spawn(self.sync_piece(writer))
        except OSError as error:
            failed = self.writers.pop(effect.path, None)
            if failed is not None:
                failed.abandon()
            effect.job.done(disk.error_text(error), self.now_ms)
            return
        if effect.is_last:
            del self.writers[effect.path]
            self.spawn(self.finish_file(effect.job, writer))

    async def sync_piece(self, writer: disk.PieceWriter) -> None:
        """Sync a file that is being written, off the loop."""
        writer.is_syncing = True
        writer.unsynced_bytes = 0
        await self.loop.run_in_executor(None, writer.sync_early)
        writer.is_syncing = False

    def append_file(self, effect: AppendFile) -> None:
        """Write at the end of a file, and sync it if that is asked for; after an error it is opened anew."""
        path = effect.path
        try:
            file = self.appended.get(path)
            if file is not None and file.size != effect.at:
                self.appended.pop(path).close()
                file = None
            if file is None:
                file = disk.AppendedFile(path, effect.at)
                self.appended[path] = file
            if effect.chunks:
                file.append(effect.chunks)
            if effect.is_synced:
                file.sync()
        except OSError as error:
            failed = self.appended.pop(path, None)
            if failed is not None:
                failed.close()
            effect.job.done(disk.error_text(error), self.now_ms)
            return
        effect.job.done("", self.now_ms)

    def sync_file(self, effect: SyncFile) -> None:
        """Make an appended file durable in a thread."""
        file = self.appended.get(effect.path)
        if file is None:
            effect.job.done("", self.now_ms)
        else:
            self.spawn(self.finish_sync(effect.job, file.sync_copy()))

    async def finish_sync(self, job: FileJob, work: Callable[[], str]) -> None:
        """Sync off the loop, then tell the job."""
        error = await self.loop.run_in_executor(None, work)
        job.done(error, self.begin_turn())

    def close_file(self, effect: CloseFile) -> None:
        """Make an appended file durable and close it."""
        file = self.appended.pop(effect.path, None)
        error = ""
        if file is not None:
            try:
                file.sync()
            except OSError as failure:
                error = disk.error_text(failure)
            file.close()
        effect.job.done(error, self.now_ms)

    async def finish_file(self, job: FileJob, writer: disk.PieceWriter) -> None:
        """Sync and rename off the loop, then tell the job."""
        error = await self.loop.run_in_executor(None, writer.finish)
        job.done(error, self.begin_turn())

    def remove_file(self, path: str, is_temporary: bool) -> None:
        """Remove what was being written to become a file, and the file itself unless only that is meant."""
        writer = self.writers.pop(path, None)
        if writer is not None:
            writer.abandon()
        if not is_temporary:
            disk.remove(path)

    async def read_file(self, job: FileJob, path: str) -> None:
        """Hand a file to its job slice by slice, with a loop turn between two slices."""
        try:
            with open(path, "rb") as file:
                job.began(os.fstat(file.fileno()).st_size)
                while data := file.read(disk.READ_BYTES):
                    job.chunk(data, self.begin_turn())
                    await asyncio.sleep(0)
        except OSError as error:
            job.done(disk.error_text(error), self.begin_turn())
            return
        job.done("", self.begin_turn())

    def listening(self, kind: int) -> list[socket.socket]:
        """Return the listening sockets of a kind."""
        return self.sockets.get(kind, [])

    def adopt(self, stream: Stream, plain: PlainTransport) -> None:
        """Let the loop take over a socket that was accepted while a script was busy."""
        make: Callable[[], Any] = busy.Adoption(stream, plain).itself
        self.spawn(self.loop.connect_accepted_socket(make, plain.client))

    def open_health_port(self) -> None:
        """Serve /metrics, /livez and /readyz if there is a port for it; raises ListenError."""
        config = self.config
        if not config.metrics_port:
            return
        port = self.health_port = health.HealthPort(self.node.state, self.loop, self.clock.now_ms)
        self.health_sockets = network.open_sockets(config.bind, config.metrics_port, config.tcp_backlog)
        for listener in self.health_sockets:
            self.health_servers.append(complete(self.loop.create_server(port.make, sock=listener)))

    def open_listener(self, kind: int) -> None:
        """Listen for clients or for the bus; raises ListenError."""
        if kind in self.servers:
            return
        config = self.config
        port = config.port
        if kind == LISTEN_BUS:
            port = config.cluster_port or config.port + BUS_PORT_OFFSET
        sockets = network.open_sockets(config.bind, port, config.tcp_backlog) if port else []
        if kind == LISTEN_CLIENT and config.unixsocket:
            sockets.append(network.unix_socket(config.unixsocket, config.unixsocketperm, config.tcp_backlog))
        self.servers[kind] = []
        self.sockets[kind] = sockets
        for listener in sockets:
            make: Callable[[], Any] = Acceptor(self, kind).make
            # create_server only registers the socket, so one step of the coroutine completes it.
            self.servers[kind].append(complete(self.loop.create_server(make, sock=listener)))


class Acceptor:
    """Makes the stream of each connection that a listener accepts."""

    def __init__(self, runtime: Runtime, kind: int) -> None:
        self.runtime = runtime
        self.kind = kind

    def make(self) -> Stream:
        """Make the stream of a new connection."""
        return Stream(self.runtime, None, self.kind)


def complete(work: Any) -> Any:
    """Run a coroutine that never really waits, from within the loop."""
    try:
        work.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("the coroutine waited")

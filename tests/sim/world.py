"""A whole cluster in one process: several Nodes on a fake network, fake disks and one fake clock.

The world drives exactly the seam that the runtime drives (`Node.accepted`, `opened`, `received`, `closed`,
`tick`, `take_effects`, the dirty lanes), so that what is proved here is the product's own code. Every source
of chance is one seeded `Random`: a seed reproduces a run to the last byte. Time is whole milliseconds and
only moves when nothing is left to do at the present one.

Faults are methods: `kill` (SIGKILL: what was handed to the kernel is still delivered, then the streams end
and new connections are refused), `start` (the container is back, same address, same disk), `lose_disk`,
`freeze` and `thaw` (SIGSTOP: the kernel acknowledges, nobody reads), `cut` and `heal` (a partition: bytes are
held back as TCP would retransmit them; dials time out).

The idea is FoundationDB's simulation and TigerBeetle's simulator; see `test_*.py` beside this module for the
properties.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from random import Random

from redoubt.config import Config
from redoubt.interfaces import (
    LANE_CLIENT,
    LISTEN_BUS,
    LISTEN_CLIENT,
    AppendFile,
    Close,
    CloseFile,
    CloseListener,
    Dial,
    Effect,
    Exit,
    FindFiles,
    Link,
    OpenListener,
    ReadFile,
    RemoveFile,
    SaveFile,
    Sleep,
    SyncFile,
    WriteFile,
)
from redoubt.node import TICK_MS, Node

CLIENT_PORT = 6379
BUS_PORT = 16379
# One way; a switch in one rack stays below, a zone crossing reaches it.
LATENCY_MS_MAX = 2


class Stream:
    """One direction pair of a TCP connection between two hosts, or between a test's client and a host."""

    def __init__(self, near: End, far: End) -> None:
        self.ends = (near, far)
        near.other, far.other = far, near


class End:
    """One end of a stream: the host's link, or a test client's inbox."""

    def __init__(self, host: Host | None, link: Link | None) -> None:
        self.host = host
        self.link = link
        self.incarnation = host.incarnation if host else 0
        self.inbox = b""  # what a test client has received
        # Called when something has arrived for a test client, or its stream has ended.
        self.on_arrival: Callable[[], None] | None = None
        self.is_closed = False
        self.deliver_ms = 0  # when the last byte or the end arrives: streams are first in, first out
        self.other: End

    def is_alive(self) -> bool:
        """Say whether the process that opened this end still runs."""
        return self.host is None or (self.host.node is not None and self.host.incarnation == self.incarnation)


class Host:
    """One address: a disk that survives, and at most one process."""

    def __init__(self, address: str, config: dict[str, str]) -> None:
        self.address = address
        self.config = config
        self.disk: dict[str, bytes] = {}
        # Temporary files: they do not outlive the process.
        self.drafts: dict[str, bytes] = {}
        self.node: Node | None = None
        self.incarnation = 0
        self.listening: set[int] = set()
        self.ends: list[End] = []
        self.is_frozen = False
        self.tickers = 0  # a tick that is planned anew, or thawing, makes the one planned before void
        self.tick_due_ms = 0
        self.deferred: list[Callable[[], None]] = []
        self.exit_code: int | None = None
        # How often a process of this host has written to a stream, and at which of these it is to be killed:
        # in the middle of its turn, with everything before written and nothing from there on.
        self.sends = 0
        self.dies_at_send = -1
        self.is_dying = False


class World:
    """The hosts, the network between them, and the clock."""

    def __init__(self, seed: int, start_ms: int = 1_700_000_000_000) -> None:
        self.random = Random(seed)
        self.now_ms = start_ms
        self.hosts: dict[str, Host] = {}
        # Every disk that can still be started from, also while nothing is mounted.
        self.disks: list[dict[str, bytes]] = []
        self.cuts: set[frozenset[str]] = set()
        self.held: list[tuple[frozenset[str], Callable[[], None]]] = []
        # Pairs whose packets take this much longer than others.
        self.delays_ms: dict[frozenset[str], int] = {}
        # Counts what arrived anywhere: moments at which something may go wrong.
        self.deliveries = 0
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._sequence = 0
        # The processes that had a turn during the present event: nobody else can have changed.
        self.turned: dict[str, Host] = {}
        # Called with the world after every event: the invariants that must never break, not even briefly.
        self.watchers: list[Callable[[World], None]] = []
        # Told of each process that is about to end without being asked, and of each that has ended.
        self.kill_listeners: list[Callable[[Host], None]] = []
        self.exit_listeners: list[Callable[[Host], None]] = []

    # -- hosts and faults

    def add(self, address: str, **config: str) -> Host:
        """Create a host and start its process; directive names are given with underscores."""
        host = self.place(address, {name.replace("_", "-"): value for name, value in config.items()}, {})
        self.start(address)
        return host

    def place(self, address: str, directives: dict[str, str], disk: dict[str, bytes]) -> Host:
        """Create a host with a disk, on which nothing runs yet."""
        host = Host(address, directives)
        host.disk = disk
        self.hosts[address] = host
        if not any(known is disk for known in self.disks):
            self.disks.append(disk)
        return host

    def discard(self, disk: dict[str, bytes]) -> None:
        """Take a disk away for ever."""
        self.disks = [known for known in self.disks if known is not disk]

    def start(self, address: str) -> None:
        """Start the process of a host on whatever its disk holds."""
        host = self.hosts[address]
        assert host.node is None, f"{address} runs already"
        host.incarnation += 1
        host.exit_code = None
        host.is_frozen = False
        config = Config()
        directives = {
            "cluster-enabled": "yes",
            "cluster-announce-ip": address,
            "port": str(CLIENT_PORT),
            "cluster-port": str(BUS_PORT),
            "save": "",
            **host.config,
        }
        config.assign([(name, value.split() or [""]) for name, value in directives.items()], is_start=True)
        host.listening = set()
        host.drafts = {}
        host.is_dying = False
        host.node = Node(config, Random(self.random.getrandbits(64)), self.now_ms)
        host.node.start(host.disk.get(config.cluster_config_file, b""), self.now_ms)
        self._turn(host)
        self._schedule_tick(host)

    def kill(self, address: str) -> None:
        """End the process as SIGKILL does: unflushed replies are gone, sent bytes still arrive."""
        host = self.hosts[address]
        for listener in self.kill_listeners:
            listener(host)
        host.node = None
        host.listening = set()
        host.deferred = []
        ends, host.ends = host.ends, []
        for end in ends:
            self._end_stream(end)
        for listener in self.exit_listeners:
            listener(host)

    def terminate(self, address: str) -> None:
        """Ask the process to end (SIGTERM)."""
        host = self.hosts[address]
        incarnation = host.incarnation

        def deliver() -> None:
            if host.node is None or host.incarnation != incarnation:
                return
            if host.is_frozen:
                host.deferred.append(deliver)
                return
            host.node.begin_shutdown(None, False, False, self.now_ms)
            self._turn(host)

        self.after(0, deliver)

    def vanish(self, address: str) -> None:
        """Take a host away with its machine: no stream ends, no connection is refused, nothing answers."""
        host = self.hosts.pop(address)
        host.node = None
        host.listening = set()
        host.ends = []

    def lose_disk(self, address: str) -> None:
        """Forget every file of a host (a pod without a volume that was replaced)."""
        self.hosts[address].disk.clear()

    def freeze(self, address: str) -> None:
        """Stop the process without ending it (SIGSTOP); its kernel goes on accepting."""
        self.hosts[address].is_frozen = True

    def thaw(self, address: str) -> None:
        """Let a frozen process go on; what arrived meanwhile is handed over now."""
        host = self.hosts[address]
        host.is_frozen = False
        deferred, host.deferred = host.deferred, []
        for event in deferred:
            self.after(0, event)
        self._schedule_tick(host)

    def cut(self, first: str, second: str) -> None:
        """Partition two hosts from one another."""
        self.cuts.add(frozenset((first, second)))

    def heal(self) -> None:
        """End every partition; what was held back is delivered."""
        self.cuts.clear()
        held, self.held = self.held, []
        for _pair, event in held:
            self.after(0, event)

    # -- time

    def after(self, delay_ms: int, event: Callable[[], None]) -> None:
        """Have `event` happen `delay_ms` from now."""
        self._sequence += 1
        heapq.heappush(self._queue, (self.now_ms + delay_ms, self._sequence, event))

    def run(self, duration_ms: int) -> None:
        """Let the world go on for a time."""
        self._run_until_ms(self.now_ms + duration_ms, lambda: False)

    def run_until(self, condition: Callable[[], bool], limit_ms: int, what: str = "") -> int:
        """Let the world go on until the condition holds; return the milliseconds that passed."""
        began_ms = self.now_ms
        if not self._run_until_ms(self.now_ms + limit_ms, condition):
            raise AssertionError(f"not within {limit_ms} ms: {what or condition}")
        return self.now_ms - began_ms

    def _run_until_ms(self, end_ms: int, condition: Callable[[], bool]) -> bool:
        while not condition():
            if not self._queue or self._queue[0][0] > end_ms:
                self.now_ms = end_ms
                return condition()
            self.now_ms, _, event = heapq.heappop(self._queue)
            self.turned.clear()
            event()
            for watcher in self.watchers:
                watcher(self)
        return True

    def _schedule_tick(self, host: Host, due_ms: int = 0) -> None:
        incarnation = host.incarnation
        host.tickers += 1
        ticker = host.tickers
        host.tick_due_ms = max(due_ms, self.now_ms + 1)

        def tick() -> None:
            if host.node is None or host.incarnation != incarnation or host.is_frozen:
                return
            if host.tickers != ticker:
                return
            host.node.tick(self.now_ms)
            host.tick_due_ms = self.now_ms + TICK_MS + 1
            self._turn(host)

        self.after(host.tick_due_ms - self.now_ms, tick)

    # -- one loop turn of one process

    def _on(self, end: End, event: Callable[[Node, Link], None]) -> None:
        """Hand something to the process at this end, now or when it thaws, and finish its loop turn."""
        host = end.host
        assert host is not None

        def act() -> None:
            # The link of a connection that a frozen process has not accepted yet is made before this runs.
            if end.is_alive() and host.node is not None and end.link is not None and not end.is_closed:
                event(host.node, end.link)
                self._turn(host)

        if host.is_frozen:
            host.deferred.append(act)
        else:
            act()

    def _turn(self, host: Host) -> None:
        """Do what the runtime does at the end of a loop turn: effects in order, then the lanes."""
        node = host.node
        if node is None:
            return
        self.turned[host.address] = host
        effects = node.take_effects()
        while effects:
            for effect in effects:
                self._fulfil(host, node, effect)
            effects = node.take_effects()
        if host.node is not node:
            return
        node.state.replication.before_flush(self.now_ms)
        is_held = node.state.replication.holds_replies()
        self._flush(host, node, is_held)
        if host.exit_code is not None or host.is_dying:
            self.kill(host.address)
            return
        if node.next_tick_ms() < host.tick_due_ms:
            self._schedule_tick(host, node.next_tick_ms())
        if node.state.effects or (node.wants_turn() and not is_held):
            self._after_turn(host)

    def _after_turn(self, host: Host) -> None:
        """Begin another loop turn at once, if the process still runs then."""
        incarnation = host.incarnation

        def begin() -> None:
            if host.incarnation == incarnation and not host.is_frozen:
                self._turn(host)

        self.after(0, begin)

    def _flush(self, host: Host, node: Node, is_held: bool) -> None:
        for number, lane in enumerate(node.state.dirty_lanes):
            if number == LANE_CLIENT and is_held:
                continue
            links, lane[:] = list(lane), []
            for link in links:
                link.is_dirty = False
                data = b"".join(link.out)
                link.out.clear()
                end = link.handle
                if isinstance(end, End) and not end.is_closed:
                    if data:
                        self._send(end, data)
                    if link.closes_after_flush:
                        self._close(end)

    def _fulfil(self, host: Host, node: Node, effect: Effect) -> None:
        if isinstance(effect, SaveFile):
            host.disk[effect.path] = b"".join(effect.chunks)
            effect.job.done("", self.now_ms)
        elif isinstance(effect, WriteFile):
            host.drafts[effect.path] = host.drafts.get(effect.path, b"") + b"".join(effect.chunks)
            if effect.is_last:
                host.disk[effect.path] = host.drafts.pop(effect.path)
                effect.job.done("", self.now_ms)
        elif isinstance(effect, AppendFile):
            host.disk[effect.path] = b"".join((host.disk.get(effect.path, b"")[: effect.at], *effect.chunks))
            effect.job.done("", self.now_ms)
        elif isinstance(effect, (SyncFile, CloseFile)):
            effect.job.done("", self.now_ms)
        elif isinstance(effect, FindFiles):
            start = f"{effect.directory}/{effect.prefix}"
            for path in sorted(path for path in host.disk if path.startswith(start)):
                effect.job.chunk(path.rpartition("/")[2].encode(), self.now_ms)
            effect.job.done("", self.now_ms)
        elif isinstance(effect, RemoveFile):
            host.drafts.pop(effect.path, None)
            if not effect.is_temporary:
                host.disk.pop(effect.path, None)
        elif isinstance(effect, Dial):
            self._dial(host, effect)
        elif isinstance(effect, Close):
            if isinstance(effect.link.handle, End):
                self._close(effect.link.handle)
            else:
                effect.link.owner.closed(effect.link, self.now_ms)
        elif isinstance(effect, OpenListener):
            host.listening.add(effect.kind)
        elif isinstance(effect, CloseListener):
            host.listening.discard(effect.kind)
        elif isinstance(effect, ReadFile):
            data = host.disk.get(effect.path)
            if data:
                effect.job.chunk(data, self.now_ms)
            effect.job.done("" if data is not None else "No such file or directory", self.now_ms)
        elif isinstance(effect, Sleep):
            host.is_frozen = True
            self.after(effect.duration_ms, lambda: self.thaw(host.address))
        else:
            assert isinstance(effect, Exit), effect
            host.exit_code = effect.code

    # -- the network

    def _latency_ms(self) -> int:
        return self.random.randint(0, LATENCY_MS_MAX)

    def _across(self, near: End, far: End, event: Callable[[], None]) -> None:
        """Deliver an event to the far end in order, or hold it back while the hosts are partitioned."""
        delay_ms = self.delays_ms.get(self._pair(near, far), 0) if self.delays_ms else 0
        far.deliver_ms = max(far.deliver_ms, self.now_ms + self._latency_ms() + delay_ms)

        def arrive() -> None:
            pair = self._pair(near, far)
            if pair in self.cuts:
                self.held.append((pair, event))
            else:
                event()

        self.after(far.deliver_ms - self.now_ms, arrive)

    @staticmethod
    def _pair(near: End, far: End) -> frozenset[str]:
        return frozenset(end.host.address if end.host else "client" for end in (near, far))

    def _send(self, near: End, data: bytes) -> None:
        far = near.other
        if near.host is not None and self._is_dying(near.host):
            return

        def arrive() -> None:
            self.deliveries += 1
            if far.host is None:
                far.inbox += data
                if far.on_arrival is not None:
                    far.on_arrival()
            elif far.is_alive():
                self._on(far, lambda node, link: node.received(link, data, self.now_ms))

        self._across(near, far, arrive)

    @staticmethod
    def _is_dying(host: Host) -> bool:
        """Count a write of a process, and say whether it is killed before this one."""
        host.sends += 1
        if host.sends == host.dies_at_send:
            host.is_dying = True
        return host.is_dying

    def _close(self, end: End) -> None:
        """Close one end ourselves: our owner is told, the other end learns after what was sent."""
        if end.is_closed:
            return
        host, link = end.host, end.link
        self._end_stream(end)
        if host is not None and link is not None and end in host.ends:
            host.ends.remove(end)
        if host is not None and link is not None and host.node is not None and end.is_alive():
            host.node.closed(link, self.now_ms)

    def _end_stream(self, end: End) -> None:
        end.is_closed = True
        far = end.other

        def arrive() -> None:
            if far.is_closed:
                return
            if far.host is None:
                far.is_closed = True
                if far.on_arrival is not None:
                    far.on_arrival()
                return

            def tell(node: Node, link: Link) -> None:
                far.is_closed = True
                if far.host is not None and far in far.host.ends:
                    far.host.ends.remove(far)
                node.closed(link, self.now_ms)

            self._on(far, tell)

        self._across(end, far, arrive)

    def _dial(self, host: Host, dial: Dial) -> None:
        incarnation = host.incarnation
        target = self.hosts.get(dial.host)
        kind = {CLIENT_PORT: LISTEN_CLIENT, BUS_PORT: LISTEN_BUS}.get(dial.port)
        pair = frozenset((host.address, dial.host))

        def fail(is_refused: bool) -> None:
            if host.node is not None and host.incarnation == incarnation and not dial.link.is_closed:
                dial.link.is_closed = True
                host.node.failed(dial.link, is_refused, self.now_ms)
                self._turn(host)

        def connect() -> None:
            if host.node is None or host.incarnation != incarnation or dial.link.is_closed:
                return
            if target is None or pair in self.cuts:
                self.after(dial.timeout_ms, lambda: fail(False))
            elif kind is None or kind not in target.listening or target.node is None:
                self.after(self._latency_ms(), lambda: fail(True))
            else:
                self._connect(host, target, kind, dial.link)

        self.after(self._latency_ms(), connect)

    def _connect(self, host: Host, target: Host, kind: int, link: Link) -> None:
        near, far = End(host, link), End(target, None)
        Stream(near, far)
        port = 30_000 + self.random.randrange(30_000)
        self._accept(target, far, kind, f"{host.address}:{port}")
        link.peer = f"{target.address}:{CLIENT_PORT if kind == LISTEN_CLIENT else BUS_PORT}"
        link.local = f"{host.address}:{port}"
        link.handle = near
        host.ends.append(near)
        self._on(near, lambda node, dialled: node.opened(dialled, self.now_ms))

    def _accept(self, target: Host, far: End, kind: int, peer: str) -> None:
        def accept() -> None:
            if target.node is None or not far.is_alive():
                return
            local = f"{target.address}:{CLIENT_PORT if kind == LISTEN_CLIENT else BUS_PORT}"
            far.link = target.node.accepted(kind, peer, local, self.now_ms)
            far.link.handle = far
            target.ends.append(far)
            self._turn(target)

        if target.is_frozen:
            target.deferred.append(accept)
        else:
            accept()

    # -- clients of the tests

    def connect(self, address: str) -> End | None:
        """Open a client connection to a host; None if it is refused."""
        target = self.hosts.get(address)
        if target is None or target.node is None or LISTEN_CLIENT not in target.listening:
            return None
        near, far = End(None, None), End(target, None)
        Stream(near, far)
        self._accept(target, far, LISTEN_CLIENT, "10.9.9.9:40000")
        return near

    def hang_up(self, client: End) -> None:
        """Close a client's connection."""
        self._close(client)

    def send(self, client: End, data: bytes) -> None:
        """Send bytes on a client's connection."""
        if not client.is_closed:
            self._send(client, data)

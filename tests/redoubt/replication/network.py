"""Several nodes without processes, joined by links that a test can cut: the ground of these tests."""

from __future__ import annotations

from redoubt.replication.roles import Replication
from tests.redoubt.harness import Client, Harness


class Cable:
    """One connection between two nodes, dialled by `source`."""

    def __init__(self, source: Harness, link_client: Client, target: Harness, target_client: Client) -> None:
        self.ends = [(source, link_client), (target, target_client)]
        # While set, nothing gets through in either direction.
        self.is_stuck = False

    def pump(self) -> bool:
        """Carry what each side has sent to the other; say whether there was anything."""
        if self.is_stuck:
            return False
        moved = False
        for (_, end), (harness, other) in (self.ends, self.ends[::-1]):
            data, end.received = end.received, b""
            if data and not other.is_closed:
                moved = True
                harness.node.received(other.link, data, harness.now_ms)
                harness.turn()
        return moved

    def cut(self) -> None:
        """End the connection as a lost peer does."""
        for harness, end in self.ends:
            if not end.is_closed:
                harness.end(end)
                harness.turn()

    def is_over(self) -> bool:
        """Say whether a side has closed."""
        return any(end.is_closed for _, end in self.ends)


class Network:
    """Nodes by port; who dials a port without a node is refused."""

    def __init__(self) -> None:
        self.nodes: dict[int, Harness] = {}
        self.cables: list[Cable] = []
        # Nodes started so far: each draws other names for its histories.
        self.started = 0
        # Ports that refuse for now.
        self.closed: set[int] = set()

    def add(self, port: int, *words: str, files: dict[str, bytes] | None = None) -> Harness:
        """Start a node."""
        options = ("--port", str(port), "--repl-diskless-sync-delay", "0", *words)
        self.started += 1
        node = Harness(*options, files=files, seed=self.started)
        if self.nodes:
            clock_ms = max(other.now_ms for other in self.nodes.values())
            node.advance(max(0, clock_ms - node.now_ms))
        self.nodes[port] = node
        return node

    def kill(self, port: int) -> None:
        """End a node: its connections end, its port refuses."""
        dead = self.nodes.pop(port)
        for cable in self.cables:
            if any(harness is dead for harness, _ in cable.ends):
                cable.cut()
        self.cables = [cable for cable in self.cables if not cable.is_over()]

    def run(self, duration_ms: int) -> None:
        """Let time pass everywhere, carrying what is sent."""
        for _ in range(duration_ms // 10):
            for node in list(self.nodes.values()):
                node.advance(10)
            self.settle()

    def settle(self) -> None:
        """Carry everything until it is quiet."""
        moved = True
        while moved:
            moved = False
            for node in list(self.nodes.values()):
                moved = self._connect(node) or moved
            for cable in list(self.cables):
                moved = cable.pump() or moved
                if cable.is_over() and not cable.is_stuck:
                    cable.cut()
                    self.cables.remove(cable)
                    moved = True

    def _connect(self, source: Harness) -> bool:
        dials, source.dials = source.dials, []
        for dial in dials:
            target = self.nodes.get(dial.port)
            if target is None or dial.port in self.closed:
                source.node.failed(dial.link, True, source.now_ms)
                source.turn()
                continue
            accepted = target.connect(f"127.0.0.1:{40000 + len(self.cables)}")
            end = Client(source, dial.link)
            dial.link.handle = end
            self.cables.append(Cable(source, end, target, accepted))
            source.node.opened(dial.link, source.now_ms)
            source.turn()
        return bool(dials)


def replication_of(node: Harness) -> Replication:
    """Return a node's replication."""
    replication = node.node.state.replication
    assert isinstance(replication, Replication)
    return replication


def follow(network: Network, replica: Harness, port: int) -> None:
    """Make a node the replica of another one and wait until it is in sync."""
    replica.connect().ask("REPLICAOF", "127.0.0.1", port)
    network.run(500)
    assert replication_of(replica).link_is_up, replication_of(replica).link.stage


def dataset(node: Harness) -> dict[tuple[int, bytes], tuple[bytes, int]]:
    """Return everything a node holds: (database, key) -> (text, expiry)."""
    from redoubt.data.text import text_bytes

    return {
        (keyspace.database, key): (text_bytes(keyspace.get(key) or b""), keyspace.expire_at(key))
        for keyspace in node.node.state.keyspaces
        for key in keyspace.all_keys()
    }

"""A harness whose propagated commands can be looked at: what a replica or a log would be told."""

from __future__ import annotations

from redoubt.hooks import ReplicationHook
from tests.redoubt.harness import Client, Harness


class Propagation(ReplicationHook):
    """A replication that writes down what it is fed, as one line a command."""

    def __init__(self) -> None:
        super().__init__()
        self.is_feeding = True
        self.lines: list[str] = []

    def feed(self, database: int, argv: list[bytes]) -> None:
        """Write down one command; database 0 goes without saying."""
        line = b" ".join(argv).decode("latin-1")
        self.lines.append(line if database == 0 else f"{database}: {line}")


class Recorded:
    """One node with one client; `propagates` runs a command and returns what was fed."""

    def __init__(self, *words: str) -> None:
        self.harness = Harness(*words)
        self.propagation = Propagation()
        self.harness.node.state.replication = self.propagation
        self.client: Client = self.harness.connect()

    def ask(self, line: str) -> object:
        """Run one command, whose words stand in one line."""
        return self.client.ask(*line.split())

    def propagates(self, line: str) -> list[str]:
        """Run one command; return the lines that it had propagated."""
        self.propagation.lines.clear()
        self.ask(line)
        return list(self.propagation.lines)

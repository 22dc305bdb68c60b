"""Latency under half load, beside redis-server: what clients wait while the server has time to spare.

    python -m bench.latency [--seconds 10] [--only compiled] [--write docs/benchmarks.md]

The rate is half of what redis-server reaches without pipelining, measured at the beginning, and the same for
all. Commands are sent by the clock, not when the one before is answered, so that a pause of the server is
seen by all commands that were due meanwhile; a latency counts from when its command was due. Meanwhile the
housekeeping is kept busy: every fourth command is a new key, every fourth expires within two seconds, and the
metrics page is fetched twice a second. The client is Python, whose own delays meet all servers alike; how
late it sent stands beside.
"""

from __future__ import annotations

import argparse
import random
import select
import socket
import subprocess
import sys
import time
from collections import deque
from pathlib import Path
from typing import Final

from bench.ports import free_port
from bench.report import machine, replace_section
from bench.server import Server, commands, measure
from bench.workloads import KEYS, KEYS_FORM, encoded

TITLE: Final = "Latency under half load"
CONNECTIONS: Final = 8
# Commands are due in portions, one portion for one connection in turn.
PORTION: Final = 5
SCRAPER: Final = """
import time, urllib.request
while True:
    urllib.request.urlopen("http://127.0.0.1:%d/metrics").read()
    time.sleep(0.5)
"""


class Connection:
    """One client connection, and when the commands were due whose replies are still to come."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.due = deque[float]()
        self.replies_left = 0

    def send(self, data: bytes, due_s: float) -> None:
        """Send a portion."""
        self.socket.send(data)
        self.due.append(due_s)

    def receive(self, latencies_s: list[float]) -> None:
        """Take what has arrived; every reply is one line."""
        now_s = time.perf_counter()
        self.replies_left += self.socket.recv(65536).count(b"\n")
        while self.replies_left >= PORTION:
            self.replies_left -= PORTION
            latencies_s.append(now_s - self.due.popleft())


class Figures:
    """What one run saw."""

    def __init__(self, latencies_s: list[float], late_s: list[float]) -> None:
        self.latencies_s = sorted(latencies_s)
        self.late_s = sorted(late_s)

    def row(self, name: str) -> str:
        """Write a row of the table, in milliseconds."""
        shares = (0.5, 0.99, 0.999)
        cells = [f"{percentile(self.latencies_s, share) * 1000:.3f}" for share in shares]
        cells.append(f"{self.latencies_s[-1] * 1000:.2f}")
        cells.append(f"{percentile(self.late_s, 0.999) * 1000:.3f}, {self.late_s[-1] * 1000:.2f}")
        return f"| {name} | " + " | ".join(cells) + " |"


def percentile(ordered: list[float], share: float) -> float:
    """Return the value below which this share of the ordered values lies."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def portions() -> list[bytes]:
    """Make portions of commands: writes, reads, new keys, keys that expire soon."""
    draw = random.Random(1)
    made = []
    for number in range(20_000):
        words: list[list[bytes]] = []
        for _ in range(PORTION):
            key = b"key:%012d" % draw.randrange(KEYS)
            kind = draw.randrange(4)
            if kind == 0:
                words.append([b"SET", b"new:%d:%d" % (number, draw.randrange(1 << 40)), b"value"])
            elif kind == 1:
                words.append([b"SET", b"short:" + key, b"value", b"PX", b"%d" % draw.randrange(200, 2000)])
            elif kind == 2:
                words.append([b"SET", key, b"value"])
            else:
                words.append([b"EXISTS", key])
        made.append(b"".join(encoded(one) for one in words))
    return made


def drive(port: int, rate: float, seconds: float, data: list[bytes]) -> Figures:
    """Send portions by the clock for some seconds."""
    connections = [Connection(port) for _ in range(CONNECTIONS)]
    poll = select.epoll()
    by_descriptor = {connection.socket.fileno(): connection for connection in connections}
    for descriptor in by_descriptor:
        poll.register(descriptor, select.EPOLLIN)
    latencies_s: list[float] = []
    late_s: list[float] = []
    pause_s = PORTION / rate
    began_s = time.perf_counter()
    sent = 0
    while (due_s := began_s + sent * pause_s) < began_s + seconds:
        now_s = time.perf_counter()
        if now_s >= due_s:
            late_s.append(now_s - due_s)
            connections[sent % CONNECTIONS].send(data[sent % len(data)], due_s)
            sent += 1
            timeout_s = 0.0
        else:
            timeout_s = due_s - now_s if due_s - now_s > 0.001 else 0.0
        for descriptor, _ in poll.poll(timeout_s):
            by_descriptor[descriptor].receive(latencies_s)
    deadline_s = time.perf_counter() + 10
    while any(connection.due for connection in connections) and time.perf_counter() < deadline_s:
        for descriptor, _ in poll.poll(0.1):
            by_descriptor[descriptor].receive(latencies_s)
    for connection in connections:
        connection.socket.close()
    return Figures(latencies_s, late_s)


def run(name: str, command: list[str], rate: float, seconds: float, data: list[bytes]) -> Figures:
    """Measure one server, with a scraper beside it if it has a metrics page."""
    scraper: subprocess.Popen[bytes] | None = None
    metrics_port = free_port()
    if name != "redis-server":
        command = [*command, "--metrics-port", str(metrics_port)]
    server = Server(name, command, is_cluster=False)
    try:
        if name != "redis-server":
            scraper = subprocess.Popen([sys.executable, "-c", SCRAPER % metrics_port])
        return drive(server.port, rate, seconds, data)
    finally:
        if scraper is not None:
            scraper.kill()
            scraper.wait()
        server.stop()


def reference_rate(command: list[str]) -> float:
    """Return how many SET a second a server reaches without pipelining."""
    server = Server("redis-server", command, is_cluster=False)
    try:
        return max(measure(server, KEYS_FORM["set"], [], 1, 100_000).rate for _ in range(2))
    finally:
        server.stop()


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description="Compare latencies under half load with redis-server's.")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--only", default="compiled", help="interpreted, compiled; redis-server always runs")
    parser.add_argument(
        "--write", type=Path, help="put the table into this file, in the place of the last one"
    )
    options = parser.parse_args()
    servers = commands(options.only.split(","))
    rate = reference_rate(servers["redis-server"]) / 2
    data = portions()
    lines = [
        f"`python -m bench.latency --seconds {options.seconds:g}`, {time.strftime('%Y-%m-%d')}:",
        f"{machine()}. {rate:,.0f} commands/s, half of redis-server's most without pipelining,",
        f"{CONNECTIONS} connections, sent by the clock in portions of {PORTION}: milliseconds from when a",
        "portion was due until it was answered. A quarter of the commands makes new keys, a quarter expires",
        "within two seconds; Redoubt's metrics page is fetched twice a second meanwhile. The longest pauses",
        "of its own housekeeping, without what the machine adds, are in the section on pauses.",
        "",
        "| | p50 | p99 | p99.9 | longest | the client was late: p99.9, longest |",
        "|---|---|---|---|---|---|",
    ]
    for name, command in servers.items():
        lines.append(run(name, command, rate, options.seconds, data).row(name))
        print(lines[-1], flush=True)
    if options.write:
        replace_section(options.write, TITLE, "\n".join(lines))


if __name__ == "__main__":
    main()

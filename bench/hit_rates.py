"""Hit rates beside redis-server: the same traces under each policy of maxmemory.

    python -m bench.hit_rates [--share 1.0] [--only compiled] [--policies allkeys-lru,...] [--write FILE]

A trace is a cache at work: GET a key, and SET it if it is not there. What is fair: both servers must be able
to hold the same share of the keys. A key takes more bytes here than in Redis (docs/memory.md), so the same
maxmemory would compare the layouts and not the policies. Each server is therefore first filled with as many
keys as the cache is to hold, and what it then counts against maxmemory becomes its maxmemory; as the tables
of both change while keys come and go, it is set anew twice while the trace warms the cache up. How many keys
it holds at the end of the trace stands beside the hit rate.

A fifth of each trace warms the cache up and is not counted. The volatile policies get keys that all expire,
at random times far in the future, so that nothing expires by itself. Traces are drawn with fixed seeds.
"""

from __future__ import annotations

import argparse
import socket
import time
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import BinaryIO, Final

from bench.report import machine, replace_section
from bench.server import Server, commands
from bench.workloads import encoded

TITLE: Final = "Hit rates beside redis-server"
KEYS: Final = 50_000
CAPACITY: Final = 10_000
ACCESSES: Final = 150_000
VALUE: Final = b"x" * 100
# So many accesses are sent at once; what was missed in them is stored afterwards, by both servers alike.
PIPELINE: Final = 50
POLICIES: Final = (
    "allkeys-lru", "allkeys-lfu", "allkeys-random", "volatile-lru", "volatile-lfu", "volatile-random",
    "volatile-ttl",
)  # fmt: skip
TRACES: Final = ("Zipf 0.8", "Zipf 1.0", "Zipf 1.2", "Zipf 1.0 with scans", "Zipf 1.0, drifting")
GOAL_POINTS: Final = 1.0


def zipf(exponent: float, count: int, random: Random) -> list[int]:
    """Draw ranks from 0 with a probability of 1 / (rank + 1) ** exponent."""
    sums = list(accumulate(1 / (rank + 1) ** exponent for rank in range(KEYS)))
    return random.choices(range(KEYS), cum_weights=sums, k=count)


def trace(name: str, count: int) -> list[int]:
    """Return the numbers of the keys that are asked for, in order."""
    random = Random(42)
    ranks = zipf(float(name[5:8]), count, random)
    if name.endswith("with scans"):
        # A tenth of the accesses are runs over keys that nobody asks for again.
        next_key = KEYS
        for first in range(0, count - 1000, 10_000):
            for place in range(first, first + 1000):
                ranks[place] = next_key
                next_key += 1
    if name.endswith("drifting"):
        # What is popular moves through the keys, once around half of them.
        return [(rank + place * (KEYS // 2) // count) % KEYS for place, rank in enumerate(ranks)]
    order = list(range(2 * KEYS + count))
    random.shuffle(order)
    return [order[rank] for rank in ranks]


class Cache:
    """A connection to a server that is used as a cache."""

    def __init__(self, server: Server, is_volatile: bool) -> None:
        self.connection = socket.create_connection(("127.0.0.1", server.port))
        self.replies: BinaryIO = self.connection.makefile("rb")
        self.is_volatile = is_volatile
        self.random = Random(5)
        self.limit = 0
        self.empty_bytes = 0  # what the server counts without any keys

    def ask(self, words: list[list[bytes]]) -> list[bytes | None]:
        """Run a pipeline."""
        self.connection.sendall(b"".join(map(encoded, words)))
        return [self.reply() for _ in words]

    def reply(self) -> bytes | None:
        """Read one reply; an error ends the measurement."""
        line = self.replies.readline()
        if line[:1] != b"$":
            if line[:1] == b"-" or not line:
                raise SystemExit(f"the server answered {line!r}")
            return line[1:-2]
        length = int(line[1:])
        return None if length < 0 else self.replies.read(length + 2)[:-2]

    def storing(self, key: bytes) -> list[bytes]:
        """Return the command that stores a key."""
        words = [b"SET", key, VALUE]
        if self.is_volatile:
            words += [b"PX", b"%d" % (10_000_000 + int(self.random.random() * 90_000_000))]
        return words

    def counted_bytes(self) -> int:
        """Return what the server compares with maxmemory."""
        fields = dict(
            line.split(b":", 1)
            for line in (self.ask([[b"INFO", b"memory"]])[0] or b"").split(b"\r\n")
            if b":" in line
        )
        return int(fields[b"used_memory"]) - int(fields[b"mem_not_counted_for_evict"])

    def hits(self, keys: list[int]) -> int:
        """Play a trace; return how many of its keys were there."""
        hits = 0
        for first in range(0, len(keys), PIPELINE):
            names = [b"key:%08d" % number for number in keys[first : first + PIPELINE]]
            found = self.ask([[b"GET", name] for name in names])
            missed = dict.fromkeys(name for name, value in zip(names, found, strict=True) if value is None)
            hits += sum(value is not None for value in found)
            if missed:
                self.ask([self.storing(name) for name in missed])
        return hits

    def fit(self, capacity: int) -> None:
        """Correct maxmemory, if the cache is full, by what it holds instead of `capacity` keys."""
        time.sleep(0.3)
        fields = self.ask([[b"INFO", b"stats"]])[0] or b""
        held = int(self.ask([[b"DBSIZE"]])[0] or b"0")
        if b"evicted_keys:0\r\n" in fields:
            return
        # Only what grows with the keys is scaled.
        self.limit += (self.limit - self.empty_bytes) * (capacity - held) // held
        self.ask([[b"CONFIG", b"SET", b"maxmemory", b"%d" % self.limit]])

    def set_up(self, policy: str, capacity: int) -> None:
        """Fill the server with so many keys that nobody asks for, and give it no more room than that."""
        self.ask(
            [[b"CONFIG", b"SET", b"maxmemory", b"0", b"maxmemory-policy", policy.encode()], [b"FLUSHALL"]]
        )
        self.ask([[b"CONFIG", b"RESETSTAT"]])
        time.sleep(0.3)
        self.empty_bytes = self.counted_bytes()
        for first in range(0, capacity, PIPELINE):
            self.ask([self.storing(b"old:%08d" % number) for number in range(first, first + PIPELINE)])
        time.sleep(0.3)  # what the server counts is measured by its ticks
        self.limit = self.counted_bytes()
        self.ask([[b"CONFIG", b"SET", b"maxmemory", b"%d" % self.limit]])


def measure(server: Server, policy: str, keys: list[int], capacity: int) -> tuple[float, int]:
    """Play a trace; return the hit rate in percent, and how many keys are there at the end."""
    cache = Cache(server, policy.startswith("volatile"))
    try:
        cache.set_up(policy, capacity)
        warming = len(keys) // 5
        for part in range(3):
            cache.hits(keys[part * warming // 3 : (part + 1) * warming // 3])
            cache.fit(capacity)
        hits = cache.hits(keys[warming:])
        return 100 * hits / (len(keys) - warming), int(cache.ask([[b"DBSIZE"]])[0] or b"0")
    finally:
        cache.connection.close()


def table(options: argparse.Namespace) -> str:
    """Play everything and write the section."""
    servers = {name: Server(name, line, False) for name, line in commands(options.only.split(",")).items()}
    count = int(ACCESSES * options.share)
    lines = [
        f"`python -m bench.hit_rates`, {time.strftime('%Y-%m-%d')}: {machine()}.",
        f"Percent of {count * 4 // 5:,} accesses to {KEYS:,} keys that a cache of {CAPACITY:,} keys could",
        "answer, and in brackets how many keys it held at the end. Each server has the maxmemory that it",
        "takes to hold as many keys.",
        f"The goal is redis-server's rate less {GOAL_POINTS:g} point, or better.",
        "",
        "| policy | trace | " + " | ".join(servers) + " | difference | |",
        "|---" * (len(servers) + 4) + "|",
    ]
    print("\n".join(lines[-2:]), flush=True)
    try:
        for policy in options.policies.split(","):
            for name in TRACES:
                keys = trace(name, count)
                found = [measure(server, policy, keys, CAPACITY) for server in servers.values()]
                difference = found[-1][0] - found[0][0]
                cells = [f"{rate:.1f} ({held:,})" for rate, held in found]
                verdict = "met" if difference >= -GOAL_POINTS else "**missed**"
                lines.append(
                    f"| {policy} | {name} | " + " | ".join(cells) + f" | {difference:+.1f} | {verdict} |"
                )
                print(lines[-1], flush=True)
    finally:
        for server in servers.values():
            server.stop()
    return "\n".join(lines)


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description="Compare the hit rates of the eviction policies.")
    parser.add_argument("--share", type=float, default=1.0, help="part of the full length of the traces")
    parser.add_argument("--only", default="compiled", help="interpreted, compiled; redis-server always runs")
    parser.add_argument("--policies", default=",".join(POLICIES), help="which policies")
    parser.add_argument("--write", type=Path, help="replace the table in this file")
    options = parser.parse_args()
    section = table(options)
    if options.write:
        replace_section(options.write, TITLE, section)


if __name__ == "__main__":
    main()

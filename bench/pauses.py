"""How long our own housekeeping keeps clients waiting, between the sockets: one figure for each kind.

    python -m bench.pauses [--keys 1000000] [--write docs/benchmarks.md]

A node without a process is filled, key by key, while every step is timed on the processor's clock, so that
what else the machine does meanwhile does not count: single inserts while the directory of keys grows, ticks
while hundreds of thousands of keys are due at once, collections of young objects with the thresholds of the
real process, and the slices in which the metrics page is made. The longest of each kind is printed; none may
take 5 ms. Run it by the interpreter of `.venv-compiled`.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time
from pathlib import Path
from typing import Final

from bench.hot_path import START_MS, start, take
from bench.report import Report
from redoubt import metrics
from redoubt.build import BUILD
from redoubt.interfaces import LISTEN_CLIENT, Link
from redoubt.node import Node
from redoubt.resp.replies import encode_command
from redoubt.runtime.health import SLICE_S_MAX
from redoubt.runtime.loop import GC_THRESHOLDS

PAUSE_MS_MAX: Final = 5.0
# The time to live of the keys that are all due at once.
LIFETIME_MS: Final = 50_000


class Pauses:
    """The durations of one kind of work, in milliseconds."""

    def __init__(self) -> None:
        self.durations_ms: list[float] = []
        self.began_ns = 0

    def begin(self) -> None:
        """Start the clock."""
        self.began_ns = time.thread_time_ns()

    def end(self) -> None:
        """Stop the clock."""
        self.durations_ms.append((time.thread_time_ns() - self.began_ns) / 1e6)

    def summary(self) -> str:
        """Say how many there were, and the longest."""
        if not self.durations_ms:
            return "none"
        longest = max(self.durations_ms)
        verdict = "" if longest < PAUSE_MS_MAX else " - TOO LONG"
        median = statistics.median(self.durations_ms)
        return f"{len(self.durations_ms):,}, median {median:.3f} ms, longest {longest:.2f} ms{verdict}"


def growth(node: Node, link: Link, keys: int, collections: Pauses) -> Pauses:
    """Insert keys, every second one with a time to live, every fourth a hash; return how long each took."""
    inserts = Pauses()
    for number in range(keys):
        words = [b"SET", b"key:%012d" % number, b"value:%d" % number]
        if number % 4 == 0:
            words = [b"HSET", b"key:%012d" % number, b"field", b"value:%d" % number]
        if number % 2:
            words += [b"PX", b"%d" % LIFETIME_MS]
        data = encode_command(words)
        collected = len(collections.durations_ms)
        inserts.begin()
        take(node, link, data, START_MS)
        inserts.end()
        if len(collections.durations_ms) > collected:
            inserts.durations_ms.pop()  # counted on its own
    return inserts


def expiry(node: Node) -> Pauses:
    """Let half of all keys be due at once; return how long each tick took until they are gone."""
    ticks = Pauses()
    now_ms = START_MS + LIFETIME_MS + 1
    keyspace = node.state.keyspaces[0]
    while keyspace.expiring_count:
        ticks.begin()
        node.tick(now_ms)
        ticks.end()
        now_ms = max(now_ms + 1, node.next_tick_ms())
    return ticks


def scrape(node: Node) -> Pauses:
    """Make the metrics page a hundred times; return how long each slice took."""
    slices = Pauses()
    for _ in range(100):
        slices.begin()
        for _ in metrics.render(node.state, set()):
            if time.thread_time_ns() - slices.began_ns >= SLICE_S_MAX * 1e9:
                slices.end()
                slices.begin()
        slices.end()
    return slices


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Time the server's own housekeeping.")
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--write", type=Path, help="put the figures into this file, in the place of the last")
    options = parser.parse_args()
    report = Report("Pauses of our own housekeeping", options.write)
    report.say(f"python -m bench.pauses --keys {options.keys}, {BUILD}; processor time")
    node = start(argparse.Namespace(maxmemory="0", cluster=False))
    link = node.accepted(LISTEN_CLIENT, "127.0.0.1:50000", "127.0.0.1:6379", START_MS)
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    collections = Pauses()
    gc.callbacks.append(lambda phase, _: collections.begin() if phase == "start" else collections.end())
    report.say(f"directory growth, single inserts: {growth(node, link, options.keys, collections).summary()}")
    report.say(f"expiry cycle, ticks with half of the keys due at once: {expiry(node).summary()}")
    report.say(f"metrics scrape, slices: {scrape(node).summary()}")
    report.say(f"garbage collector, collections during all of this: {collections.summary()}")
    report.close()


if __name__ == "__main__":
    main()

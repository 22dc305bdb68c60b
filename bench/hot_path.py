"""What one command costs between the socket and the socket, without either: parser, dispatch, data, encoder.

    python -m bench.hot_path [--batch 16] [--form keys|one] [--tests set,get] [--cluster] [--json]

A node without a process gets prepared batches of bytes; the time from `received` to the joined reply is
divided by the number of commands. The figure is processor time, the least of many repetitions: noise only
ever adds. The commands are those of `bench.workloads`; keys that are popped from are filled before. Run it by
the interpreter of `.venv` and by that of `.venv-compiled` to see both builds.
"""

from __future__ import annotations

import argparse
import json
import time
from random import Random

from bench.workloads import FORMS, KEYS, RANDOM, Workload, batches
from redoubt.build import BUILD
from redoubt.config import Config
from redoubt.interfaces import LISTEN_CLIENT, Link
from redoubt.node import Node
from redoubt.resp.replies import encode_command

BATCHES = 400
REPETITIONS = 25
START_MS = 1_700_000_000_000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--form", choices=list(FORMS), default="keys")
    parser.add_argument("--tests", default="ping,set,get,incr,mset")
    parser.add_argument("--cluster", action="store_true")
    parser.add_argument("--maxmemory", default="0")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    figures: dict[str, float] = {}
    for test in options.tests.split(","):
        if options.cluster and test == "mset":
            continue
        node = start(options)
        link = node.accepted(LISTEN_CLIENT, "127.0.0.1:50000", "127.0.0.1:6379", START_MS)
        if options.cluster:
            serve_all_slots(node, link)
        figures[test.upper()] = measure(node, link, FORMS[options.form][test], options.batch)
    if options.json:
        print(json.dumps({"build": BUILD, "batch": options.batch, "ns": figures}))
    else:
        shown = "  ".join(f"{name} {nanoseconds:.0f}" for name, nanoseconds in figures.items())
        print(f"{BUILD}, {options.batch} per batch, ns per command: {shown}")


def start(options: argparse.Namespace) -> Node:
    """Make a node that waits for no file and no network."""
    config = Config()
    pairs = [("save", [""]), ("maxmemory", [options.maxmemory])]
    if options.cluster:
        pairs.append(("cluster-enabled", ["yes"]))
    config.assign(pairs, is_start=True)
    node = Node(config, Random(1), START_MS)
    node.start(b"", START_MS)
    for effect in node.take_effects():
        job = getattr(effect, "job", None)
        if job is not None:
            job.done("No such file or directory" if "Read" in type(effect).__name__ else "", START_MS)
    return node


def serve_all_slots(node: Node, link: Link) -> None:
    """Make the node the owner of every slot."""
    node.received(link, b"CLUSTER ADDSLOTSRANGE 0 16383\r\n", START_MS)
    for step in range(100):
        node.tick(START_MS + 100 * step)
        for effect in node.take_effects():
            job = getattr(effect, "job", None)
            if job is not None:
                job.done("", START_MS)
    node.received(link, b"GET somekey\r\n", START_MS + 10_000)
    assert link.out[-1] == b"$-1\r\n", link.out
    link.out.clear()


def measure(node: Node, link: Link, work: Workload, batch: int) -> float:
    """Return the nanoseconds of one command."""
    draw = Random(1)
    count = BATCHES * batch

    def words() -> list[bytes]:
        return [word.replace(RANDOM, f"{draw.randrange(KEYS):012d}").encode() for word in work.words]

    now_ms = START_MS + 10_000
    if work.filling is not None:
        for part in batches(work.filling(count * REPETITIONS)):
            take(node, link, part.data, now_ms)
    best = 0.0
    for _ in range(REPETITIONS):
        pieces = [b"".join(encode_command(words()) for _ in range(batch)) for _ in range(BATCHES)]
        began_ns = time.process_time_ns()
        for data in pieces:
            take(node, link, data, now_ms)
        took = (time.process_time_ns() - began_ns) / count
        best = took if best == 0 or took < best else best
    return best


def take(node: Node, link: Link, data: bytes, now_ms: int) -> bytes:
    """Hand bytes to the node and return the replies, as one loop turn does."""
    node.received(link, data, now_ms)
    replies = b"".join(link.out)
    link.out.clear()
    link.is_dirty = False
    node.state.dirty_lanes[link.lane].clear()
    return replies


if __name__ == "__main__":
    main()

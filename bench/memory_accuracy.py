"""How true used_memory is: its growth beside the growth of the resident memory, type by type.

    python -m bench.memory_accuracy [--share 1.0] [--only compiled,interpreted] [--write docs/benchmarks.md]

Every shape runs in a process of its own: a node without sockets, fed with encoded commands, whose resident
memory is read before and after. Each shape is measured three times: after its inserts, after it has been
written once more (other values, of other lengths where that is possible), and after every second key has been
deleted. The last is no test of the sums: pages that are only half empty cannot be given back, and what lies
between the two figures then is what INFO calls fragmentation.

The state of a process beside the data (free lists, arenas begun) is the same for each shape and some hundred
KiB; so a shape must be large enough for that not to matter.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Final

from bench.report import machine, replace_section
from redoubt.config import Config
from redoubt.data.memory import used_memory
from redoubt.interfaces import LISTEN_CLIENT
from redoubt.node import Node
from redoubt.resp.replies import encode_command
from redoubt.runtime.process import RunningProcess

TITLE: Final = "How true used_memory is"
ROOT: Final = Path(__file__).resolve().parent.parent
INTERPRETERS: Final = {
    "compiled": ROOT / ".venv-compiled/bin/python",
    "interpreted": ROOT / ".venv/bin/python",
}
START_MS: Final = 1_700_000_000_000
LATER_MS: Final = 1_900_000_000_000
BATCH: Final = 100
TOLERANCE: Final = 0.15

Words = list[bytes]


class Shape:
    """Data of one type and encoding: so many steps, each some commands."""

    def __init__(self, name: str, count: int, step: Callable[[int, int], list[Words]]) -> None:
        self.name = name
        self.count = count
        self.step = step


def strings(length: int) -> Callable[[int, int], list[Words]]:
    """Make strings of one length, and then of twice that."""
    return lambda number, turn: [[b"SET", b"key:%012d" % number, b"x" * (length * (1 + turn))]]


def expiring(number: int, turn: int) -> list[Words]:
    """Make a string with a time to live."""
    due = b"%d" % (LATER_MS + number + turn)
    return [[b"SET", b"key:%012d" % number, b"value", b"PXAT", due]]


def grown(number: int, turn: int) -> list[Words]:
    """Make a string that has grown in place."""
    return [[b"APPEND", b"text:%d" % number, b"x" * (200 + number % 100)] for _ in range(4)]


def hashes(fields: int) -> Callable[[int, int], list[Words]]:
    """Make hashes of so many fields."""

    def step(number: int, turn: int) -> list[Words]:
        words = [b"HSET", b"hash:%d" % number]
        for field in range(fields):
            words += [b"field:%d" % field, b"value-%d" % (number * (1 + turn * 1000) + field)]
        return [words]

    return step


def hashes_with_times(fields: int) -> Callable[[int, int], list[Words]]:
    """Make hashes whose fields expire."""

    def step(number: int, turn: int) -> list[Words]:
        words = [b"HPEXPIREAT", b"hash:%d" % number, b"%d" % (LATER_MS + turn), b"FIELDS", b"%d" % fields]
        return [*hashes(fields)(number, turn), words + [b"field:%d" % field for field in range(fields)]]

    return step


def lists(items: int) -> Callable[[int, int], list[Words]]:
    """Make lists of so many items."""

    def step(number: int, turn: int) -> list[Words]:
        return [[b"RPUSH", b"list:%d" % number, *[b"item:%d" % item for item in range(items)]]]

    return step


def sets(members: int, form: bytes) -> Callable[[int, int], list[Words]]:
    """Make sets of so many members of this form."""

    def step(number: int, turn: int) -> list[Words]:
        first = number * 7 + turn * members // 2
        return [[b"SADD", b"set:%d" % number, *[form % member for member in range(first, first + members)]]]

    return step


def sorted_sets(members: int) -> Callable[[int, int], list[Words]]:
    """Make sorted sets of so many members."""

    def step(number: int, turn: int) -> list[Words]:
        words = [b"ZADD", b"zset:%d" % number]
        for member in range(members):
            words += [b"%d.%d" % (member * 7919 % 1000 + turn, number % 97), b"member:%d" % member]
        return [words]

    return step


def streams(entries: int) -> Callable[[int, int], list[Words]]:
    """Make streams of so many entries."""

    def step(number: int, turn: int) -> list[Words]:
        key = b"stream:%d" % number
        return [
            [b"XADD", key, b"%d-%d" % (START_MS + turn * entries + entry, number), b"sensor",
             b"%d" % entry, b"temperature", b"%d.5" % (entry % 40)]
            for entry in range(entries)
        ]  # fmt: skip

    return step


def groups(number: int, turn: int) -> list[Words]:
    """Make a stream with groups and consumers and entries that nobody has acknowledged."""
    key = b"stream:%d" % number
    made = streams(100)(number, turn)
    for group in (b"a", b"b"):
        if turn == 0:
            made.append([b"XGROUP", b"CREATE", key, group, b"0"])
        for consumer in (b"one", b"two"):
            made.append([b"XREADGROUP", b"GROUP", group, consumer, b"COUNT", b"50", b"STREAMS", key, b">"])
    return made


def hyperloglogs(elements: int) -> Callable[[int, int], list[Words]]:
    """Make HyperLogLogs of so many elements."""

    def step(number: int, turn: int) -> list[Words]:
        first = turn * elements // 4
        return [[b"PFADD", b"hll:%d" % number, *[b"e:%d" % at for at in range(first, first + elements)]]]

    return step


def one_large(command: bytes, has_score: bool, has_value: bool) -> Callable[[int, int], list[Words]]:
    """Make one structure of many elements, a hundred at a time."""

    def step(number: int, turn: int) -> list[Words]:
        words = [command, b"large"]
        for at in range(number * 100, number * 100 + 100):
            name = b"member:%d" % at
            if has_score:
                words += [b"%d.25" % (at * 7919 % 100_003 + turn), name]
            elif has_value:
                words += [name, b"value:%d" % (at + turn)]
            else:
                words.append(name)
        return [words]

    return step


SHAPES: Final = [
    Shape("strings of 3 bytes", 200_000, strings(3)),
    Shape("strings of 20 bytes", 200_000, strings(20)),
    Shape("strings of 100 bytes", 200_000, strings(100)),
    Shape("strings of 1,000 bytes", 60_000, strings(1000)),
    Shape("strings of 10,000 bytes", 8_000, strings(10_000)),
    Shape("integers", 200_000, lambda number, turn: [[b"INCRBY", b"counter:%d" % number, b"70000"]]),
    Shape("strings with a time to live", 200_000, expiring),
    Shape("strings grown in place", 40_000, grown),
    Shape("hashes of 5 fields (listpack)", 60_000, hashes(5)),
    Shape("hashes of 100 fields (listpack)", 6_000, hashes(100)),
    Shape("hashes of 600 fields (hashtable)", 400, hashes(600)),
    Shape("one hash of 200,000 fields", 2_000, one_large(b"HSET", False, True)),
    Shape("hashes of 5 fields that expire", 20_000, hashes_with_times(5)),
    Shape("hashes of 600 fields that expire", 150, hashes_with_times(600)),
    Shape("lists of 5 items", 100_000, lists(5)),
    Shape("lists of 2,000 items", 1_000, lists(2000)),
    Shape("one list of 1,000,000 items", 10_000, one_large(b"RPUSH", False, False)),
    Shape("sets of 10 integers (intset)", 100_000, sets(10, b"%d")),
    Shape("sets of 200 integers (intset)", 20_000, sets(200, b"%d")),
    Shape("sets of 50 members (listpack)", 20_000, sets(50, b"member:%d")),
    Shape("sets of 300 members (hashtable)", 1_000, sets(300, b"member:%d")),
    Shape("one set of 200,000 members", 2_000, one_large(b"SADD", False, False)),
    Shape("sorted sets of 50 members (listpack)", 10_000, sorted_sets(50)),
    Shape("sorted sets of 300 members (skiplist)", 800, sorted_sets(300)),
    Shape("one sorted set of 200,000 members", 2_000, one_large(b"ZADD", True, False)),
    Shape("streams of 10 entries", 20_000, streams(10)),
    Shape("streams of 1,000 entries", 300, streams(1000)),
    Shape("streams with groups and pending entries", 800, groups),
    Shape("HyperLogLogs of 20 elements (sparse)", 60_000, hyperloglogs(20)),
    Shape("HyperLogLogs of 2,000 elements (dense)", 1_500, hyperloglogs(2000)),
]


class Subject:
    """A node without sockets, and what it and its process say of its memory."""

    def __init__(self) -> None:
        self.node = Node(Config(), Random(1), START_MS)
        self.node.state.event_classes = 0
        self.link = self.node.accepted(LISTEN_CLIENT, "127.0.0.1:1", "127.0.0.1:2", START_MS)
        self.process = RunningProcess()

    def run(self, commands: Iterator[Words]) -> None:
        """Run commands in pipelines; their replies are dropped, but none may be an error."""
        batch: list[bytes] = []
        for words in commands:
            batch.append(encode_command(words))
            if len(batch) == BATCH:
                self.send(batch)
                batch = []
        self.send(batch)

    def send(self, batch: list[bytes]) -> None:
        """Run one pipeline."""
        self.node.received(self.link, b"".join(batch), START_MS)
        self.node.take_effects()
        for reply in self.link.out:
            assert not reply.startswith(b"-"), reply
        self.link.out.clear()
        for lane in self.node.state.dirty_lanes:
            lane.clear()
        self.link.is_dirty = False

    def sizes(self) -> tuple[int, int]:
        """Return what the process occupies and what the node counts."""
        for _ in range(20):
            self.node.tick(START_MS)
        return self.process.resident_bytes(), used_memory(self.node.state.keyspaces)

    def deletions(self) -> Iterator[Words]:
        """Delete every second key."""
        for keyspace in self.node.state.keyspaces:
            for key in keyspace.all_keys()[::2]:
                yield [b"DEL", key]


def measure(shape: Shape, share: float, turns: int) -> None:
    """Print growths: resident and counted, after inserts, after writing once more, after deletions."""
    count = max(1, int(shape.count * share))
    subject = Subject()
    subject.run(iter([[b"SET", b"warm", b"up"], [b"DEL", b"warm"]]))
    resident_start, used_start = subject.sizes()
    for turn in range(turns):
        if turn < 2:
            subject.run(words for number in range(count) for words in shape.step(number, turn))
        else:
            subject.run(subject.deletions())
        resident, used = subject.sizes()
        print(resident - resident_start, used - used_start)


def growths(python: Path, shape: Shape, share: float) -> list[tuple[int, int]]:
    """Measure one shape in a process of its own."""
    words = [str(python), "-m", "bench.memory_accuracy", "--shape", shape.name, "--share", str(share)]
    output = subprocess.run(words, capture_output=True, check=True, text=True, cwd=ROOT).stdout
    return [(int(line.split()[0]), int(line.split()[1])) for line in output.splitlines()]


def cell(resident: int, used: int) -> str:
    """Write one comparison."""
    ratio = used / resident if resident > 0 else 0.0
    text = f"{used / 1e6:.1f} / {resident / 1e6:.1f} MB, "
    return text + (f"{ratio:.2f}" if abs(ratio - 1) <= TOLERANCE else f"**{ratio:.2f}**")


def table(builds: list[str], share: float, part: str) -> str:
    """Measure everything and write the section."""
    shapes = [shape for shape in SHAPES if part in shape.name]
    columns = [f"{build}: {when}" for build in builds for when in ("inserted", "rewritten", "half deleted")]
    lines = [
        f"`python -m bench.memory_accuracy`, {time.strftime('%Y-%m-%d')}: {machine()}.",
        "Growth of used_memory over growth of the resident memory, each shape in a fresh process. The goal",
        "is 0.85 to 1.15 after inserts; what is outside stands in bold. What is missing after rewriting in",
        "other lengths and after deletions are holes that the allocators keep for the next data.",
        "",
        "| | " + " | ".join(columns) + " |",
        "|---" * (len(columns) + 1) + "|",
    ]
    print("\n".join(lines[-2:]), flush=True)
    for shape in shapes:
        cells = [cell(*pair) for build in builds for pair in growths(INTERPRETERS[build], shape, share)]
        lines.append(f"| {shape.name} | " + " | ".join(cells) + " |")
        print(lines[-1], flush=True)
    return "\n".join(lines)


def main() -> None:
    """Run the measurement, or one shape of it."""
    parser = argparse.ArgumentParser(description="Compare used_memory with what the process occupies.")
    parser.add_argument("--shape", help="measure this one in this process")
    parser.add_argument("--turns", type=int, default=3, help="1: inserts only, 2: rewriting, 3: deletions")
    parser.add_argument("--part", default="", help="only shapes whose name contains this")
    parser.add_argument("--share", type=float, default=1.0, help="part of the full counts")
    parser.add_argument("--only", default="compiled", help="builds: compiled, interpreted")
    parser.add_argument("--write", type=Path, help="replace the table in this file")
    options = parser.parse_args()
    if options.shape:
        measure(next(shape for shape in SHAPES if shape.name == options.shape), options.share, options.turns)
        sys.exit(0)
    section = table(options.only.split(","), options.share, options.part)
    if options.write:
        replace_section(options.write, TITLE, section)


if __name__ == "__main__":
    main()

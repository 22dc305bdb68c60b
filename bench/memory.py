"""Memory beside redis-server: how much each process grows by the same million elements.

    python -m bench.memory [--share 1.0] [--only compiled] [--write docs/benchmarks.md]

Every shape gets servers of its own, fresh and empty. What counts is the growth of the resident memory of the
process, as a container's limit sees it, not what a server says of itself; that stands beside it. `--share`
makes the shapes smaller.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bench.report import machine, replace_section
from bench.server import Server, commands
from bench.workloads import Words, batches, chunks, fill

TITLE: Final = "Memory beside redis-server"


class Shape:
    """Some data of one kind."""

    def __init__(self, name: str, count: int, goal: float) -> None:
        self.name = name
        self.count = count
        # How often redis-server's growth ours may be.
        self.goal = goal

    def commands(self, count: int) -> Iterator[Words]:
        """Return the commands that make `count` of it."""
        if self.name == "short strings":
            return ([b"SET", b"key:%012d" % number, b"value:%d" % number] for number in range(count))
        if self.name == "hashes of 5 fields":
            return (user(number) for number in range(count))
        if self.name == "members of one set":
            return chunks([b"SADD", b"set"], (b"member:%d" % number for number in range(count)), count, 1)
        if self.name == "members of one sorted set":
            draw = random.Random(1)
            words = (
                word for number in range(count) for word in (b"%a" % draw.random(), b"member:%d" % number)
            )
            return chunks([b"ZADD", b"zset"], words, count, 2)
        return chunks([b"RPUSH", b"list"], (b"item:%d" % number for number in range(count)), count, 1)


SHAPES: Final = [
    Shape("short strings", 1_000_000, 1.6),
    Shape("hashes of 5 fields", 200_000, 2.5),
    Shape("members of one set", 1_000_000, 2.5),
    Shape("members of one sorted set", 1_000_000, 2.5),
    Shape("items of one list", 1_000_000, 2.5),
]


def user(number: int) -> Words:
    """Make a small hash as applications have them."""
    words = [
        b"HSET",
        b"user:%d" % number,
        b"name",
        b"user-%d" % number,
        b"mail",
        b"user-%d@example.org" % number,
    ]
    return [*words, b"visits", b"%d" % (number % 1000), b"plan", b"free", b"since", b"2024-05-01"]


def resident_bytes(server: Server) -> int:
    """Return the resident memory of a server's process."""
    text = Path(f"/proc/{server.process.pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("VmRSS"))


def used_memory(server: Server) -> int:
    """Return what the server says it uses."""
    lines = server.ask("INFO", "memory").splitlines()
    return next(int(line.split(":")[1]) for line in lines if line.startswith("used_memory:"))


def growth(name: str, command: list[str], shape: Shape, count: int) -> tuple[int, int]:
    """Fill a fresh server; return by how much its resident memory and its used_memory have grown."""
    server = Server(name, command, is_cluster=False)
    try:
        fill(server.port, [])
        before, said_before = resident_bytes(server), used_memory(server)
        fill(server.port, batches(shape.commands(count)))
        return resident_bytes(server) - before, used_memory(server) - said_before
    finally:
        server.stop()


def table(options: argparse.Namespace) -> str:
    """Measure everything and write the section."""
    servers = commands(options.only.split(","))
    names = list(servers)
    lines = [
        f"`python -m bench.memory`, {time.strftime('%Y-%m-%d')}: {machine()}.",
        "By how much the resident memory of each process grows, and in brackets what it says of itself; each",
        "shape in a fresh server.",
        "",
        "| | " + " | ".join(names) + " | ratio | goal |",
        "|---" * (len(names) + 3) + "|",
    ]
    for shape in SHAPES:
        count = int(shape.count * options.share)
        grown = [growth(name, command, shape, count) for name, command in servers.items()]
        cells = [
            f"{real / 1e6:.1f} MB ({said / 1e6:.1f}), {real / count:.0f} bytes each" for real, said in grown
        ]
        ratio = grown[-1][0] / grown[0][0]
        verdict = "met" if ratio <= shape.goal else "missed"
        cells += [f"**{ratio:.2f}x**", f"{shape.goal}x, {verdict}"]
        lines.append(f"| {count:,} {shape.name} | " + " | ".join(cells) + " |")
        print(lines[-1], flush=True)
    return "\n".join(lines)


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description="Compare the server's memory with redis-server's.")
    parser.add_argument("--share", type=float, default=1.0, help="part of the full counts")
    parser.add_argument("--only", default="compiled", help="interpreted, compiled; redis-server always runs")
    parser.add_argument(
        "--write", type=Path, help="put the table into this file, in the place of the last one"
    )
    options = parser.parse_args()
    section = table(options)
    if options.write:
        replace_section(options.write, TITLE, section)


if __name__ == "__main__":
    main()

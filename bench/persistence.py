"""Loading and saving beside redis-server, one kind of data at a time.

    python -m bench.persistence [--share 1.0] [--rounds 3] [--only compiled] [--kinds short,hashes]
                                [--write docs/benchmarks.md]

redis-server is filled with a kind of data and saves it; that one file is what every server loads, and what
each then saves is the same data again. A load counts from the start of the process until it no longer says
that it loads, less what the same server takes with nothing to load; a save is one SAVE, synced to the disk.
Within a round the servers take turns. A figure is the median of the rounds, as MB of the file per second;
keys per second stand beside it. `--share` makes the data smaller.
"""

from __future__ import annotations

import argparse
import random
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import redis

from bench.memory import user
from bench.ports import free_port
from bench.report import machine, replace_section
from bench.server import commands
from bench.workloads import Words, batches, chunks, fill

TITLE: Final = "Loading and saving beside redis-server"
GOAL: Final = 0.3
START_SECONDS_MAX: Final = 600
POLL_SECONDS: Final = 0.002
WORDS: Final = [b"alpha", b"beta", b"gamma", b"delta", b"epsilon", b"zeta", b"eta", b"theta"]


def short_strings(count: int) -> Iterator[Words]:
    """Strings of 20 bytes, as caches of small things have them."""
    return ([b"SET", b"key:%012d" % number, b"value:%014d" % number] for number in range(count))


def counters(count: int) -> Iterator[Words]:
    """Numbers, each with a time to live."""
    return ([b"SET", b"n:%d" % number, b"%d" % (number * 7919), b"EX", b"86400"] for number in range(count))


def texts(count: int) -> Iterator[Words]:
    """Texts of a KiB that LZF makes smaller."""
    draw = random.Random(1)
    for number in range(count):
        yield [b"SET", b"text:%d" % number, b" ".join(draw.choices(WORDS, k=180))]


def noise(count: int) -> Iterator[Words]:
    """Bytes that nothing makes smaller, a KiB each."""
    draw = random.Random(1)
    return ([b"SET", b"noise:%d" % number, draw.randbytes(1024)] for number in range(count))


def small(command: bytes, elements: Callable[[int], Words]) -> Callable[[int], Iterator[Words]]:
    """Many small structures: one command each."""

    def made(count: int) -> Iterator[Words]:
        return ([command, b"small:%d" % number, *elements(number)] for number in range(count))

    return made


def members(number: int) -> Words:
    """Ten members of a small set."""
    return [b"member:%d" % (number + each) for each in range(10)]


def scored(number: int) -> Words:
    """Ten scores with members."""
    return [word for each in range(10) for word in (b"%d" % (number % 97 + each), b"member:%d" % each)]


def one(command: bytes, width: int) -> Callable[[int], Iterator[Words]]:
    """One large structure."""

    def made(count: int) -> Iterator[Words]:
        draw = random.Random(1)
        words = (b"member:%d" % number for number in range(count))
        if width == 2:
            words = (
                word for number in range(count) for word in (b"%.6f" % draw.random(), b"member:%d" % number)
            )
        return chunks([command, b"large"], words, count, width)

    return made


def entries(count: int) -> Iterator[Words]:
    """Entries of ten streams, as XADD makes them."""
    script = b"redis.call('XADD', KEYS[1], unpack(ARGV)); return 1"  # whose reply is a number
    for number in range(count):
        words = [b"sensor", b"%d" % (number % 100), b"value", b"%d" % (number * 31)]
        yield [b"EVAL", script, b"1", b"stream:%d" % (number % 10), b"%d-1" % (number + 1), *words]


# Name: what makes it, how much of it at the full size.
KINDS: Final[dict[str, tuple[Callable[[int], Iterator[Words]], int]]] = {
    "short": (short_strings, 1_000_000),
    "counters": (counters, 1_000_000),
    "texts": (texts, 200_000),
    "noise": (noise, 200_000),
    "hashes": (lambda count: (user(number) for number in range(count)), 300_000),
    "lists": (small(b"RPUSH", members), 300_000),
    "sets": (small(b"SADD", members), 200_000),
    "intsets": (small(b"SADD", lambda number: [b"%d" % (number + each) for each in range(10)]), 300_000),
    "zsets": (small(b"ZADD", scored), 300_000),
    "one-hash": (one(b"HSET", 2), 1_000_000),
    "one-list": (one(b"RPUSH", 1), 2_000_000),
    "one-set": (one(b"SADD", 1), 1_000_000),
    "one-zset": (one(b"ZADD", 2), 1_000_000),
    "streams": (entries, 1_000_000),
}


class Process:
    """A server on a directory of its own, started on a file; `load_s` is what that took."""

    def __init__(self, command: list[str], file: Path | None = None) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="redoubt-bench-"))
        if file is not None:
            shutil.copy(file, self.directory / "dump.rdb")
            (self.directory / "dump.rdb").read_bytes()  # into the page cache, for everybody alike
        self.port = free_port()
        words = ["--port", str(self.port), "--save", "", "--dir", str(self.directory)]
        began = time.perf_counter()
        with open(self.directory / "log", "wb") as log:
            self.process = subprocess.Popen([*command, *words], stdout=log, stderr=log)
        self.client = redis.Redis(port=self.port, socket_timeout=START_SECONDS_MAX)
        while not self.is_ready():
            if time.perf_counter() - began > START_SECONDS_MAX or self.process.poll() is not None:
                raise SystemExit(f"{command[0]} did not start, see {self.directory}/log")
            time.sleep(POLL_SECONDS)
        self.load_s = time.perf_counter() - began

    def is_ready(self) -> bool:
        """Say whether the server answers and has loaded everything."""
        try:
            return self.client.info("persistence")["loading"] == 0
        except (redis.ConnectionError, redis.ResponseError):
            return False

    def save_s(self) -> float:
        """Save; return how long that took."""
        began = time.perf_counter()
        self.client.save()
        return time.perf_counter() - began

    def stop(self) -> None:
        """End the server and remove its directory."""
        self.client.close()
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.directory)


def file_of(command: list[str], made: Callable[[int], Iterator[Words]], count: int, target: Path) -> int:
    """Have a server write some data into `target`; return the number of keys."""
    server = Process(command)
    try:
        fill(server.port, batches(made(count)))
        server.client.save()
        shutil.copy(server.directory / "dump.rdb", target)
        return int(server.client.dbsize())
    finally:
        server.stop()


class Times:
    """What one server took for one kind of data."""

    def __init__(self) -> None:
        self.empty_starts_s: list[float] = []
        self.starts_s: list[float] = []
        self.saves_s: list[float] = []

    def load_s(self) -> float:
        """Return what the data added to a start."""
        return max(statistics.median(self.starts_s) - statistics.median(self.empty_starts_s), 1e-3)


def measure(servers: dict[str, list[str]], file: Path, rounds: int) -> dict[str, Times]:
    """Let each server load and save the file, in turns."""
    times = {name: Times() for name in servers}
    for _ in range(rounds):
        for name, command in servers.items():
            empty = Process(command)
            times[name].empty_starts_s.append(empty.load_s)
            empty.stop()
            server = Process(command, file)
            try:
                times[name].starts_s.append(server.load_s)
                times[name].saves_s.append(server.save_s())
            finally:
                server.stop()
    return times


def table(options: argparse.Namespace) -> str:
    """Measure everything; return the section."""
    servers = commands(options.only.split(","))
    reference, *ours = servers
    lines = [
        f"`python -m bench.persistence --share {options.share}`, {time.strftime('%Y-%m-%d')}: {machine()}.",
        f"MB of redis-server's file, and keys, per second; medians of {options.rounds} rounds; goal {GOAL}x.",
        "",
        "| | file | " + " | ".join(f"{name} loads | saves" for name in servers) + " | load | save |",
        "|---" * (2 * len(servers) + 4) + "|",
    ]
    for kind in options.kinds.split(",") if options.kinds else KINDS:
        made, full = KINDS[kind]
        with tempfile.TemporaryDirectory(prefix="redoubt-bench-") as folder:
            file = Path(folder) / "dump.rdb"
            keys = file_of(servers[reference], made, max(int(full * options.share), 1), file)
            size = file.stat().st_size
            times = measure(servers, file, options.rounds)
        loads = {name: each.load_s() for name, each in times.items()}
        saves = {name: statistics.median(each.saves_s) for name, each in times.items()}
        cells = [f"{rate(size, keys, loads[name])} | {rate(size, keys, saves[name])}" for name in servers]
        last = ours[-1]
        ratios = [verdict(loads[reference] / loads[last]), verdict(saves[reference] / saves[last])]
        lines.append(
            f"| {kind}, {keys:,} keys | {size / 1e6:.1f} MB | " + " | ".join([*cells, *ratios]) + " |"
        )
        print(lines[-1], flush=True)
    return "\n".join(lines)


def rate(size: int, keys: int, seconds: float) -> str:
    """Say how fast something was."""
    return f"{size / seconds / 1e6:.0f} MB/s, {keys / seconds:,.0f}/s"


def verdict(ratio: float) -> str:
    """Say how a ratio stands to the goal."""
    return f"**{ratio:.2f}x**" if ratio >= GOAL else f"**{ratio:.2f}x, missed**"


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description="Compare loading and saving with redis-server's.")
    parser.add_argument("--share", type=float, default=1.0, help="part of the full sizes")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kinds", default="", help=f"some of: {','.join(KINDS)}")
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

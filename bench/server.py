"""The server beside redis-server: throughput and latency by command and by commands per batch.

    python -m bench.server [--rounds N] [--seconds S] [--tests set,get] [--batches 1,16] [--form keys|one]
                           [--cluster] [--only compiled] [--write docs/benchmarks.md]

Each figure is the median of several rounds, and within a round the servers take turns at the same test, so
that what else the machine does meanwhile meets all of them alike. Only the ratios mean something elsewhere;
the absolute figures belong to the machine named in the heading. Beside the rate stands the processor time
that the server took for one command: on a busy machine that is the steadier figure, and its reciprocal is
the rate that the server's one thread can reach. redis-benchmark is the client: 50 connections, persistence
off; what it sends stands in `bench.workloads`. Without `--batches` every command runs without pipelining
and at 16 per batch, SET and GET at 100, too. Nothing is written unless `--write` says where.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from bench.ports import free_port
from bench.report import machine, replace_section
from bench.workloads import FORMS, KEYS, Batch, Workload, batches, fill

ROOT: Final = Path(__file__).resolve().parent.parent
CLIENTS: Final = 50
# A first guess of commands per second, by batch size, from which the number of requests follows.
RATE_GUESS: Final = {1: 60_000, 16: 400_000, 100: 600_000}
# What each ratio is meant to reach, by batch size; at 16 and above SET and GET have their own.
GOALS: Final = {1: 0.92, 16: 0.5, 100: 0.5}
GOALS_OF_TEXTS: Final = {1: 0.92, 16: 0.9, 100: 0.95}
GOAL_OF_RANGES: Final = 0.5
TITLES: Final = {
    "keys": "The server beside redis-server",
    "one": "The server beside redis-server: one large container",
}


class Server:
    """One server under test; started on a free port, ended with `stop`."""

    def __init__(self, name: str, command: list[str], is_cluster: bool) -> None:
        self.name = name
        self.port = free_port()
        self.directory = tempfile.mkdtemp(prefix="redoubt-bench-")
        arguments = ["--port", str(self.port), "--save", "", "--appendonly", "no", "--dir", self.directory]
        if is_cluster:
            arguments += ["--cluster-enabled", "yes"]
        self.log = open(os.path.join(self.directory, "log"), "wb")  # noqa: SIM115
        self.process = subprocess.Popen([*command, *arguments], stdout=self.log, stderr=self.log)
        self.wait()
        if is_cluster:
            self.ask("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
            self.wait_for("cluster_state:ok", "CLUSTER", "INFO")

    def ask(self, *words: str) -> str:
        """Run one command through redis-cli."""
        command = ["redis-cli", "-p", str(self.port), *words]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    def wait(self) -> None:
        """Wait until the server answers."""
        self.wait_for("PONG", "PING")

    def wait_for(self, text: str, *words: str) -> None:
        """Ask until the answer contains `text`."""
        deadline = time.monotonic() + 20
        while text not in self.ask(*words):
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise SystemExit(f"{self.name} did not start, see {self.directory}/log")
            time.sleep(0.05)

    def cpu_us(self) -> float:
        """Return the processor time that the server has used, in microseconds."""
        with open(f"/proc/{self.process.pid}/schedstat", encoding="ascii") as file:
            return int(file.read().split()[0]) / 1000

    def stop(self) -> None:
        """End the server and remove its directory."""
        self.process.kill()
        self.process.wait()
        self.log.close()
        shutil.rmtree(self.directory)


class Figure:
    """One measurement: commands per second, 99th percentile of the latency, processor time per command."""

    def __init__(self, rate: float, p99_ms: float, cpu_us: float) -> None:
        self.rate = rate
        self.p99_ms = p99_ms
        self.cpu_us = cpu_us


def measure(server: Server, work: Workload, filling: list[Batch], batch: int, requests: int) -> Figure:
    """Run one test on freshly filled keys."""
    fill(server.port, filling)
    command = [
        "redis-benchmark", "-p", str(server.port), "-c", str(CLIENTS), "-r", str(KEYS),
        "-n", str(requests), "-P", str(batch), "--csv", *work.words,
    ]  # fmt: skip
    before_us = server.cpu_us()
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    cpu_us = (server.cpu_us() - before_us) / requests
    left = int(server.ask("DBSIZE"))
    if left < work.pops_from:
        raise SystemExit(
            f"{server.name}: {work.words} emptied {work.pops_from - left} keys: replies were nil"
        )
    row = list(csv.DictReader(io.StringIO(output[output.index('"test"') :])))[-1]
    return Figure(float(row["rps"]), float(row["p99_latency_ms"]), cpu_us)


def commands(only: list[str]) -> dict[str, list[str]]:
    """Return how each server is started; those that are not installed are left out, and it is said."""
    found: dict[str, list[str]] = {}
    candidates = {
        "redis-server": shutil.which("redis-server"),
        "interpreted": str(ROOT / ".venv/bin/redoubt-server"),
        "compiled": str(ROOT / ".venv-compiled/bin/redoubt-server"),
    }
    for name, path in candidates.items():
        if only and name != "redis-server" and name not in only:
            continue
        if path and os.access(path, os.X_OK):
            found[name] = [path]
        else:
            print(f"left out, since it is not installed: {name}", file=sys.stderr)
    return found


Figures = dict[tuple[str, int, str], list[Figure]]


def plan(options: argparse.Namespace) -> list[tuple[str, int]]:
    """List what is measured: commands with their batch sizes."""
    tests = options.tests.split(",") if options.tests else list(FORMS[options.form])
    if options.batches:
        return [(test, batch) for test in tests for batch in map(int, options.batches.split(","))]
    rows: list[tuple[str, int]] = []
    for test in tests:
        rows += [(test, 1), (test, 16)]
        if test in ("set", "get"):
            rows.append((test, 100))
    return rows


def run(options: argparse.Namespace) -> tuple[list[str], Figures]:
    """Start the servers and run all rounds; return the servers' names and every figure."""
    servers = [
        Server(name, command, options.cluster)
        for name, command in commands(options.only.split(",") if options.only else []).items()
    ]
    figures: Figures = {}
    try:
        for test, batch in plan(options):
            work = FORMS[options.form][test]
            requests = int(RATE_GUESS[batch] * options.seconds * work.share)
            filling = [] if work.filling is None else batches(work.filling(requests))
            for turn in range(options.rounds):
                # Every other round in the opposite order: who follows whom must not matter.
                for server in servers if turn % 2 == 0 else reversed(servers):
                    figure = measure(server, work, filling, batch, requests)
                    figures.setdefault((test, batch, server.name), []).append(figure)
            print(line(test, batch, [server.name for server in servers], figures), flush=True)
    finally:
        for server in servers:
            server.stop()
    return [server.name for server in servers], figures


def line(test: str, batch: int, names: list[str], figures: Figures) -> str:
    """Write one row of the table: rate, its ratio to the first server, 99th percentile, processor time."""
    reference = statistics.median(figure.rate for figure in figures[test, batch, names[0]])
    reference_us = statistics.median(figure.cpu_us for figure in figures[test, batch, names[0]])
    cells = []
    for name in names:
        of_this = figures[test, batch, name]
        rate = statistics.median(figure.rate for figure in of_this)
        p99_ms = statistics.median(figure.p99_ms for figure in of_this)
        cpu_us = statistics.median(figure.cpu_us for figure in of_this)
        ratio = "" if name == names[0] else f" **{rate / reference:.2f}x**"
        cpu_ratio = "" if name == names[0] else f" ({reference_us / cpu_us:.2f}x)"
        cells.append(f"{rate:,.0f}{ratio}, {p99_ms:.2f} ms, {cpu_us:.2f} us{cpu_ratio}")
    return f"| {test.upper()} | {batch} | " + " | ".join(cells) + " |"


def goal(test: str, batch: int) -> float:
    """Return the ratio to redis-server that a command is meant to reach."""
    if test.startswith("lrange"):
        return GOAL_OF_RANGES
    return GOALS_OF_TEXTS[batch] if test in ("set", "get") else GOALS[batch]


def verdicts(options: argparse.Namespace, names: list[str], figures: Figures) -> list[str]:
    """Say in sentences which goals are met, relative and absolute, by the last server of the table."""
    medians = {
        (test, batch, name): (
            statistics.median(one.rate for one in figures[test, batch, name]),
            statistics.median(one.p99_ms for one in figures[test, batch, name]),
        )
        for test, batch in plan(options)
        for name in names
    }
    lines: list[str] = []
    subject = names[-1]
    missed = []
    for test, batch in plan(options):
        ratio = medians[test, batch, subject][0] / medians[test, batch, names[0]][0]
        if ratio < goal(test, batch):
            missed.append(f"{test.upper()} at {batch} ({ratio:.2f} of {goal(test, batch):.2f})")
    lines.append(f"Below the goal for {subject}: {', '.join(missed) or 'nothing'}.")
    for name in names:
        alone = {test: medians[test, batch, name] for test, batch in plan(options) if batch == 1}
        piped = {test: medians[test, batch, name][0] for test, batch in plan(options) if batch > 1}
        fast = [test.upper() for test, figure in alone.items() if figure[0] >= 100_000]
        slow = [test.upper() for test, figure in alone.items() if figure[1] >= 1]
        million = [test.upper() for test, rate in piped.items() if rate >= 1_000_000]
        fast_names = ", ".join(fast) or "none"
        million_names = ", ".join(million) or "none"
        slow_names = "all but " + ", ".join(slow) if slow else "all"
        lines.append(
            f"{name}: 100,000 commands/s without pipelining: {fast_names}; a million pipelined: "
            f"{million_names}; 99 of 100 replies within 1 ms without pipelining: {slow_names}."
        )
    return lines


def table(options: argparse.Namespace, names: list[str], figures: Figures) -> str:
    """Write the whole section for the documentation."""
    version = subprocess.run(["redis-server", "--version"], capture_output=True, text=True, check=True).stdout
    mode = "cluster mode" if options.cluster else "stand-alone"
    arguments = f"--form {options.form} --rounds {options.rounds}"
    lines = [
        f"`python -m bench.server {arguments}`, {time.strftime('%Y-%m-%d')}, {mode}: {machine()}.",
        f"Against {' '.join(version.split()[:3])}; {CLIENTS} clients, {KEYS:,} random keys or members,",
        "persistence off, pops on keys that are filled anew before each measurement.",
        f"Medians of {options.rounds} alternating rounds: commands per second, ratio, 99th percentile of",
        "the latency, processor time per command (and Redis's divided by it).",
        "",
        "| command | per batch | " + " | ".join(names) + " |",
        "|---" * (len(names) + 2) + "|",
    ]
    lines += [line(test, batch, names, figures) for test, batch in plan(options)]
    for sentence in verdicts(options, names, figures):
        lines += ["", sentence]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description="Compare the server with redis-server.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="about how long one measurement takes")
    parser.add_argument("--tests", default="", help="commands by name, in small letters")
    parser.add_argument("--batches", default="", help="commands per batch (1, 16, 100)")
    parser.add_argument("--form", choices=list(FORMS), default="keys", help="many small containers, or one")
    parser.add_argument("--cluster", action="store_true", help="all servers in cluster mode, all slots")
    parser.add_argument("--only", default="", help="interpreted, compiled or both; redis-server always runs")
    parser.add_argument(
        "--write", type=Path, help="put the table into this file, in the place of the last one"
    )
    options = parser.parse_args()
    names, figures = run(options)
    section = table(options, names, figures)
    if options.write:
        replace_section(options.write, TITLES[options.form], section)
    else:
        print("\n" + section, end="")


if __name__ == "__main__":
    main()

"""SIGKILL under load, again and again: what was acknowledged must be there when the server is back.

    python -m bench.crash [--rounds 200] [--policies always,everysec,no] [--compiled] [--seed 1]
                          [--write docs/benchmarks.md]

Each round four clients write as fast as they are answered: counters of their own, alone and in transactions,
while the log is rewritten now and then. After a random time the process is killed. A signal loses nothing
that was handed to the system, so with every policy an acknowledged write must be back, and a transaction
whole.
(What a power failure takes is shown by `tests/redoubt/persist/test_power_loss.py`, on a disk that is played.)
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Final

from bench.ports import free_port
from bench.report import machine, replace_section

ROOT: Final = Path(__file__).resolve().parent.parent
WRITERS: Final = 4
PATIENCE_S: Final = 60.0


class Writer(threading.Thread):
    """One client that counts, and remembers what was acknowledged."""

    def __init__(self, port: int, name: str, begin: int) -> None:
        super().__init__(daemon=True)
        self.port = port
        self.key = name
        self.sent = self.acknowledged = begin

    def run(self) -> None:
        """Write until the server is gone."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as link:
                while True:
                    number = self.sent + 1
                    single = b"SET %s %d\r\n" % (self.key.encode(), number)
                    twin = b"SET %s:twin %d\r\n" % (self.key.encode(), number)
                    in_one = number % 3 == 0
                    link.sendall(b"MULTI\r\n" + single + twin + b"EXEC\r\n" if in_one else single)
                    self.sent = number
                    wanted = b"*2\r\n+OK\r\n+OK\r\n" if in_one else b"+OK\r\n"
                    received = b""
                    while not received.endswith(wanted):
                        data = link.recv(4096)
                        if not data:
                            return
                        received += data
                    self.acknowledged = number
        except OSError:
            return


class Crashes:
    """The rounds of one policy, on one directory."""

    def __init__(self, command: list[str], policy: str, draw: random.Random) -> None:
        self.draw = draw
        self.directory = tempfile.mkdtemp(prefix="redoubt-crash-")
        self.port = free_port()
        words = ["--port", str(self.port), "--dir", self.directory, "--save", "", "--appendonly", "yes"]
        words += ["--appendfsync", policy, "--auto-aof-rewrite-min-size", "100000"]
        self.command = [*command, *words]
        self.counts = [0] * WRITERS
        self.acknowledged = self.lost = self.halves = 0

    def start(self) -> subprocess.Popen[bytes]:
        """Start the server and wait until it has loaded."""
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "server")}
        with open(f"{self.directory}/log", "ab") as log:
            process = subprocess.Popen(self.command, stdout=log, stderr=log, env=environment)
        deadline = time.monotonic() + PATIENCE_S
        while self.ask("GET x") is None:
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"the server did not come back, see {self.directory}/log")
            time.sleep(0.01)
        return process

    def ask(self, line: str) -> bytes | None:
        """Return the reply to one command; None while the server loads or is not there."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as link:
                link.sendall(line.encode() + b"\r\n")
                reply = link.recv(4096)
        except OSError:
            return None
        return None if not reply or reply.startswith(b"-LOADING") else reply

    def number(self, key: str) -> int:
        """Return the counter that the server has."""
        reply = self.ask(f"GET {key}") or b""
        lines = reply.split(b"\r\n")
        return int(lines[1]) if len(lines) > 2 else 0

    def round(self) -> None:
        """Write, kill, and look at what is there."""
        process = self.start()
        writers = [Writer(self.port, f"counter{one}", self.counts[one]) for one in range(WRITERS)]
        for writer in writers:
            writer.start()
        time.sleep(self.draw.uniform(0.02, 0.4))
        if self.draw.random() < 0.3:
            self.ask("BGREWRITEAOF")
            time.sleep(self.draw.uniform(0, 0.05))
        process.kill()
        process.wait()
        for writer in writers:
            writer.join()
        process = self.start()
        for one, writer in enumerate(writers):
            found, twin = self.number(writer.key), self.number(f"{writer.key}:twin")
            self.acknowledged += writer.acknowledged - self.counts[one]
            self.lost += max(writer.acknowledged - found, 0)
            self.halves += int(found % 3 == 0 and found != twin)
            self.counts[one] = max(found, writer.acknowledged)
        process.kill()
        process.wait()

    def clean(self) -> None:
        """Remove the files."""
        shutil.rmtree(self.directory)


def main() -> None:
    """Run the rounds and print what was lost."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--policies", default="always,everysec,no")
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", default="")
    options = parser.parse_args()
    built = ROOT / ".venv-compiled" / "bin" / "redoubt-server"
    command = [str(built)] if options.compiled else [sys.executable, "-m", "redoubt.main"]
    build = " --compiled" if options.compiled else ""
    lines = [
        f"`python -m bench.crash --rounds {options.rounds}{build}` on {machine()}.",
        "",
        "| appendfsync | SIGKILLs | acknowledged writes | lost | half transactions |",
        "|---|---|---|---|---|",
    ]
    failures = 0
    for policy in options.policies.split(","):
        crashes = Crashes(command, policy, random.Random(options.seed))
        for number in range(options.rounds):
            crashes.round()
            print(f"\r{policy}: {number + 1} of {options.rounds}", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)
        failures += crashes.lost + crashes.halves
        lines.append(
            f"| {policy} | {2 * options.rounds} | {crashes.acknowledged:,} | {crashes.lost} "
            f"| {crashes.halves} |"
        )
        crashes.clean()
    print("\n".join(lines))
    if options.write:
        replace_section(Path(options.write), "SIGKILL under load", "\n".join(lines))
    raise SystemExit(1 if failures else 0)


if __name__ == "__main__":
    main()

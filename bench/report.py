"""What a benchmark prints, and the section it writes into a Markdown file when asked.

One `Report` per run: lines go to standard output at once, and to the file at the end, under a heading
with the machine's description, so that a figure is never quoted without the machine it was taken on.
"""

from __future__ import annotations

import os
import platform
import statistics
from pathlib import Path


def machine() -> str:
    """Describe the machine in one line: cores, processor, kernel, Python."""
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    cores = len(os.sched_getaffinity(0))
    return f"{cores} cores of {model}, Linux {platform.release()}, Python {platform.python_version()}"


class Report:
    """Lines of one benchmark."""

    def __init__(self, title: str, path: Path | None) -> None:
        self.title = title
        self._path = path
        self._lines: list[str] = []
        self.say(f"machine: {machine()}")

    def say(self, line: str) -> None:
        """Print a line and keep it for the file."""
        print(line, flush=True)
        self._lines.append(line)

    def times(self, what: str, seconds: list[float]) -> None:
        """Print the median of measured times and each of them."""
        each = " ".join(f"{value:.3f}" for value in sorted(seconds))
        self.say(f"{what}: median {statistics.median(seconds):.3f} s (each: {each})")

    def close(self) -> None:
        """Write the section, replacing one of the same title."""
        if self._path is None:
            return
        replace_section(self._path, self.title, "\n".join(["```", *self._lines, "```"]))


def replace_section(path: Path, title: str, body: str) -> None:
    """Write a section of a Markdown file, in the place of the one of the same title or at the end."""
    heading = f"## {title}\n"
    text = path.read_text() if path.exists() else "# Benchmarks\n"
    before, found, rest = text.partition(heading)
    after = rest.partition("\n## ")[2] if found else ""
    tail = f"\n## {after}" if after else ""
    path.write_text(f"{before.rstrip()}\n\n{heading}\n{body.strip()}\n{tail}")

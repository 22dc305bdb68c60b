"""What can only be known by looking repeatedly: commands and bytes per second, and the peak of memory.

At every tick (100 ms) the counters are read; the rate is the mean of the last 16 readings, as in Redis, so a
figure of INFO describes the last 1.6 seconds. The node calls `tick`; INFO and the metrics read.
"""

from __future__ import annotations

from typing import Final

SAMPLES: Final = 16  # Redis: STATS_METRIC_SAMPLES


class Rate:
    """The rate of one counter."""

    def __init__(self) -> None:
        self.samples: list[int] = [0] * SAMPLES
        self.at = 0
        self.count_before = 0
        self.read_ms = 0

    def read(self, count: int, now_ms: int) -> None:
        """Take the counter's present value."""
        elapsed_ms = now_ms - self.read_ms
        if elapsed_ms <= 0:
            return
        # A counter that was reset counts from zero.
        grown = count - self.count_before if count >= self.count_before else count
        if self.read_ms:
            self.samples[self.at] = grown * 1000 // elapsed_ms
            self.at = (self.at + 1) % SAMPLES
        self.count_before = count
        self.read_ms = now_ms

    def per_second(self) -> int:
        """Return the mean of the last samples."""
        return sum(self.samples) // SAMPLES


class Rates:
    """The rates of one server, and its highest use of memory."""

    def __init__(self) -> None:
        self.commands = Rate()
        self.input_bytes = Rate()
        self.output_bytes = Rate()
        self.memory_peak_bytes = 0

    def tick(
        self, now_ms: int, commands: int, input_bytes: int, output_bytes: int, memory_bytes: int
    ) -> None:
        """Take what the counters say now."""
        self.commands.read(commands, now_ms)
        self.input_bytes.read(input_bytes, now_ms)
        self.output_bytes.read(output_bytes, now_ms)
        self.memory_peak_bytes = max(self.memory_peak_bytes, memory_bytes)

"""The clock of a server: the wall clock, except that it never goes back.

Everything in a node is counted from readings of one clock: expiry times, which must mean the same to other
servers and after a restart, and timeouts, which must pass. A wall clock that somebody sets back by an hour
would stop the second kind: a dead master would be noticed an hour late, a pause of writes would last an hour.
So a reading is the wall clock's unless that went back; then this clock goes on from where it was at nine
tenths of its speed, until the wall clock has caught up. A jump forward is taken as it comes: to the node it
looks as if the process had been frozen, which it knows how to survive.

`redoubt.runtime.loop` reads it, once a turn. Redis counts both kinds by the wall clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

# Slow enough to be caught up with some day, fast enough that timeouts mean what they say.
CATCHING_UP_TENTHS: Final = 9


class Clock:
    """Readings in milliseconds since 1970; each is at least the one before."""

    def __init__(
        self,
        wall_ns: Callable[[], int] = time.time_ns,
        steady_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._wall_ns = wall_ns
        self._steady_ns = steady_ns
        self._read_ns = steady_ns()
        self._now_ns = wall_ns()

    def now_ms(self) -> int:
        """Read the clock."""
        steady_ns = self._steady_ns()
        passed_ns = steady_ns - self._read_ns
        self._read_ns = steady_ns
        self._now_ns = max(self._wall_ns(), self._now_ns + passed_ns * CATCHING_UP_TENTHS // 10)
        return self._now_ns // 1_000_000

"""The latency monitor: for each kind of event that took long, when that was and how long it took.

It takes events from latency-monitor-threshold milliseconds on; 0 switches it off. The events are `command`
and `fast-command` (by the flag of the command), `expire-cycle` and `eviction-cycle`. The latest 160 samples
of each are kept, one a second: the worst of it.

`redoubt.slow_commands` and `redoubt.upkeep` write here, the LATENCY commands read.
Source: the page on latency monitoring in the Redis documentation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from redoubt.state import ServerState

SAMPLES_MAX: Final = 160  # Redis: LATENCY_TS_LEN
COMMAND: Final = b"command"
FAST_COMMAND: Final = b"fast-command"
EXPIRE_CYCLE: Final = b"expire-cycle"
EVICTION_CYCLE: Final = b"eviction-cycle"


class LatencyEvent:
    """The samples of one kind of event: second of the clock and milliseconds, the oldest first."""

    def __init__(self) -> None:
        self.samples: list[tuple[int, int]] = []
        self.longest_ms = 0

    def add(self, second: int, duration_ms: int) -> None:
        """Take a sample; of several in a second the longest stays."""
        self.longest_ms = max(self.longest_ms, duration_ms)
        if self.samples and self.samples[-1][0] == second:
            self.samples[-1] = (second, max(self.samples[-1][1], duration_ms))
            return
        self.samples.append((second, duration_ms))
        if len(self.samples) > SAMPLES_MAX:
            del self.samples[0]


class LatencyMonitor:
    """The events of one server by name."""

    def __init__(self, state: ServerState, clock_us: Callable[[], int]) -> None:
        self.state = state
        self.clock_us = clock_us
        self.events: dict[bytes, LatencyEvent] = {}
        self.threshold_us = 0
        state.config.on_change("latency-monitor-threshold", self.follow_config)
        self.follow_config()

    def follow_config(self) -> str:
        """Take over the directive."""
        self.threshold_us = self.state.config.latency_monitor_threshold * 1000
        return ""

    def begin(self) -> int:
        """Return the clock reading to hand to `end`; 0 while nothing is measured."""
        return self.clock_us() if self.threshold_us else 0

    def end(self, event: bytes, started_us: int) -> None:
        """Take the time since `begin`, if it is long enough."""
        if started_us:
            self.note(event, self.clock_us() - started_us)

    def note(self, event: bytes, duration_us: int) -> None:
        """Take an event if it took long enough."""
        if not 0 < self.threshold_us <= duration_us:
            return
        known = self.events.get(event)
        if known is None:
            known = LatencyEvent()
            self.events[event] = known
        known.add(self.state.now_ms // 1000, duration_us // 1000)

    def reset(self, names: list[bytes]) -> int:
        """Forget these kinds of events, or all; return how many there were."""
        chosen = [name for name in names if name in self.events] if names else list(self.events)
        for name in chosen:
            self.events.pop(name, None)
        return len(set(chosen))

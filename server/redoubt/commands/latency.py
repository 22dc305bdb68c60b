"""LATENCY: what took long, when, and how the durations of commands are distributed.

The events are those of the latency monitor (`redoubt.latency`), which latency-monitor-threshold switches on;
the histograms are kept with each command and are always there. GRAPH draws an event's samples with
characters, DOCTOR says in words what the events tell.

The dispatcher runs these. Source: the LATENCY pages of the Redis documentation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redoubt.commands.arguments import Arguments
from redoubt.commands.declare import (
    ADMIN,
    LOADING,
    NOSCRIPT,
    SERVER,
    STALE,
    Row,
    all_rows,
    command,
    container,
)
from redoubt.commands.introspection import named
from redoubt.latency import COMMAND, EVICTION_CYCLE, EXPIRE_CYCLE, FAST_COMMAND, LatencyEvent
from redoubt.resp.replies import ErrorReply, MapReply, Reply, Verbatim

if TYPE_CHECKING:
    from redoubt.session import Session

MANAGEMENT: Final = ADMIN | NOSCRIPT | LOADING | STALE
SPECIAL: Final = ("nondeterministic_output", "request_policy:all_nodes", "response_policy:special")
# The picture of GRAPH: a column for each sample, so many rows high.
COLUMNS_MAX: Final = 80
ROWS: Final = 4
_ADVICE: Final = {
    COMMAND: "SLOWLOG GET shows which commands were slow; those that visit many elements hold up all others.",
    FAST_COMMAND: "Commands that do little were slow: the process did not get the processor (swapping, other "
    "load), or a huge value was freed (UNLINK, lazy expiry).",
    EXPIRE_CYCLE: "Many keys expire together: spread their times to live, or lower active-expire-effort.",
    EVICTION_CYCLE: "Memory is at its limit, and writes wait for room: raise maxmemory or store less.",
}

container("LATENCY", group=SERVER, since="2.8.13", summary="Look at how long commands take.")


@command(
    "LATENCY LATEST", group=SERVER, flags=MANAGEMENT, since="2.8.13", complexity="O(1)", tips=SPECIAL,
    summary="Return for each kind of event when it was last slow, how slow, and how slow at most.",
)  # fmt: skip
def latency_latest(ctx: Session, argv: list[bytes]) -> Reply:
    """LATENCY LATEST."""
    replies: list[Reply] = []
    for name, event in ctx.state.latency.events.items():
        second, duration_ms = event.samples[-1]
        replies.append([name, second, duration_ms, event.longest_ms])
    return replies


@command(
    "LATENCY HISTORY", "event", group=SERVER, flags=MANAGEMENT, since="2.8.13", complexity="O(1)",
    tips=SPECIAL, summary="Return the latest samples of a kind of event: when, and how many milliseconds.",
)  # fmt: skip
def latency_history(ctx: Session, argv: list[bytes]) -> Reply:
    """LATENCY HISTORY: at most 160, the oldest first."""
    event = ctx.state.latency.events.get(argv[2])
    return [] if event is None else [[second, duration_ms] for second, duration_ms in event.samples]


@command(
    "LATENCY RESET", "[event [event ...]]", group=SERVER, flags=MANAGEMENT, since="2.8.13", complexity="O(1)",
    summary="Forget the samples of these kinds of events, or of all.",
    tips=("request_policy:all_nodes", "response_policy:agg_sum"),
)  # fmt: skip
def latency_reset(ctx: Session, argv: list[bytes]) -> Reply:
    """LATENCY RESET: the number of kinds there were."""
    return ctx.state.latency.reset(argv[2:])


@command(
    "LATENCY GRAPH", "event", group=SERVER, flags=MANAGEMENT, since="2.8.13", complexity="O(1)", tips=SPECIAL,
    summary="Draw the samples of a kind of event.",
)  # fmt: skip
def latency_graph(ctx: Session, argv: list[bytes]) -> Reply:
    """LATENCY GRAPH."""
    event = ctx.state.latency.events.get(argv[2])
    if event is None:
        return ErrorReply(b"ERR No samples available for event '%s'" % argv[2])
    return Verbatim(drawn(argv[2].decode("latin-1"), event, ctx.now_ms // 1000).encode("latin-1"))


def drawn(name: str, event: LatencyEvent, now_s: int) -> str:
    """Draw the latest samples as columns, the highest as high as the picture, with their age below."""
    samples = event.samples[-COLUMNS_MAX:]
    low = min(duration_ms for _, duration_ms in samples)
    high = max(duration_ms for _, duration_ms in samples)
    lines = [
        f"{name} - high {high} ms, low {low} ms (all time high {event.longest_ms} ms)",
        "-" * COLUMNS_MAX,
    ]
    levels = [1 + (ROWS - 1) * (duration_ms - low) // max(high - low, 1) for _, duration_ms in samples]
    for row in range(ROWS, 0, -1):
        lines.append("".join(["#" if level >= row else " " for level in levels]).rstrip())
    ages = [age(now_s - second) for second, _ in samples]
    lines.append("")
    for place in range(max(len(text) for text in ages)):
        lines.append("".join([text[place] if place < len(text) else " " for text in ages]).rstrip())
    return "\n".join(lines) + "\n"


def age(seconds: int) -> str:
    """Write how long ago something was in its largest unit."""
    for unit, letter in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= unit:
            return f"{seconds // unit}{letter}"
    return f"{seconds}s"


@command(
    "LATENCY DOCTOR", group=SERVER, flags=MANAGEMENT, since="2.8.13", complexity="O(1)", tips=SPECIAL,
    summary="Say in words what was slow, and what may help.",
)  # fmt: skip
def latency_doctor(ctx: Session, argv: list[bytes]) -> Reply:
    """LATENCY DOCTOR."""
    monitor = ctx.state.latency
    if not monitor.events:
        if not monitor.threshold_us:
            text = (
                "The latency monitor is off: CONFIG SET latency-monitor-threshold says from when on it notes."
            )
        else:
            text = "Nothing took longer than latency-monitor-threshold so far."
        return Verbatim(text.encode() + b"\n")
    lines = []
    for name, event in monitor.events.items():
        durations = [duration_ms for _, duration_ms in event.samples]
        period = max(event.samples[-1][0] - event.samples[0][0], 1)
        lines.append(
            f"{name.decode('latin-1')}: {len(durations)} slow seconds within {age(period)}, "
            f"{sum(durations) // len(durations)} ms on average, {event.longest_ms} ms at worst, "
            f"the latest {age(max(ctx.now_ms // 1000 - event.samples[-1][0], 0))} ago."
        )
        lines.append(f"  {_ADVICE.get(name, 'LATENCY GRAPH shows when.')}")
    return Verbatim("\n".join(lines).encode("latin-1") + b"\n")


@command(
    "LATENCY HISTOGRAM", "[command [command ...]]", group=SERVER, flags=ADMIN | NOSCRIPT | LOADING | STALE,
    since="7.0.0", complexity="O(N) for N commands",
    summary="Return the distribution of the sampled durations, by command.",
    tips=("nondeterministic_output", "request_policy:all_nodes", "response_policy:special"),
)  # fmt: skip
def latency_histogram(ctx: Session, argv: list[bytes]) -> Reply:
    """LATENCY HISTOGRAM: commands without a sample are left out."""
    arguments = Arguments(argv, 2)
    rows = [named(word) for word in arguments.rest()] if arguments.has_more() else list(all_rows())
    return MapReply([(row.name.encode(), _histogram(row)) for row in rows if row and row.durations])


def _histogram(row: Row) -> MapReply:
    """List the calls that took up to so many microseconds, cumulative, places without calls left out."""
    seen = 0
    places = []
    for bits, count in enumerate(row.durations):
        seen += count
        if count:
            places.append((1 << bits, seen))
    return MapReply([(b"calls", row.calls), (b"histogram_usec", MapReply(places))])

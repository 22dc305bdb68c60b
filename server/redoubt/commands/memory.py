"""MEMORY: what a key occupies, where the server's memory goes, and giving some of it back.

The figures are those of `redoubt.memory_report` and `redoubt.data.memory`. What Redis's allocator reports of
itself has no counterpart: MALLOC-STATS shows the statistics of Python's own allocator instead.

The dispatcher runs these. Source: the MEMORY pages of the Redis documentation.
"""

from __future__ import annotations

import gc
import sys
from typing import TYPE_CHECKING, Final

from redoubt.commands.arguments import Arguments
from redoubt.commands.declare import READONLY, RO, SERVER, command, container
from redoubt.data.memory import EXPIRY_BYTES, usage_of
from redoubt.memory_report import MemoryReport, human
from redoubt.resp.replies import OK, Double, MapReply, Reply, Verbatim

if TYPE_CHECKING:
    from redoubt.session import Session
    from redoubt.state import ServerState

# Redis: below 5 MB nothing is diagnosed.
DIAGNOSED_BYTES_MIN: Final = 5 * 1024 * 1024
FULL_PERCENT: Final = 90
# Redis: a ratio of 1.4, 200 KiB a client, 1,000 scripts.
FRAGMENTED: Final = 1.4
CLIENT_BYTES_USUAL: Final = 200 * 1024
SCRIPTS_USUAL: Final = 1_000
ALL_SHARDS: Final = ("nondeterministic_output", "request_policy:all_shards", "response_policy:special")

container("MEMORY", group=SERVER, since="4.0.0", summary="Look at what occupies memory.")


@command(
    "MEMORY USAGE", "key [SAMPLES count]", group=SERVER, flags=READONLY, use=RO, since="4.0.0",
    complexity="O(1)", summary="Return the bytes that a key, its value and its place in the table occupy.",
)  # fmt: skip
def memory_usage(ctx: Session, argv: list[bytes]) -> Reply:
    """MEMORY USAGE: sizes are kept, so SAMPLES is checked and changes nothing."""
    arguments = Arguments(argv, 3)
    while arguments.has_more():
        if not arguments.skip_with_value(b"SAMPLES") or arguments.integer() < 0:
            raise arguments.syntax_error()
    value = ctx.db.peek(argv[2], ctx.now_ms)
    return None if value is None else usage_of(ctx.db, argv[2], value)


@command(
    "MEMORY STATS", group=SERVER, since="4.0.0", complexity="O(N) for N clients",
    summary="Return where the memory of the server goes.", tips=ALL_SHARDS,
)  # fmt: skip
def memory_stats(ctx: Session, argv: list[bytes]) -> Reply:
    """MEMORY STATS, with Redis's names in Redis's order, and the four parts behind them."""
    report = MemoryReport(ctx.state)
    dataset = report.used - report.overhead
    ratio = Double(report.fragmentation_ratio())
    pairs: list[tuple[bytes, Reply]] = [
        (b"peak.allocated", report.peak),
        (b"total.allocated", report.used),
        (b"startup.allocated", report.start_bytes),
        (b"replication.backlog", report.backlog_bytes),
        (b"clients.slaves", report.replica_bytes),
        (b"clients.normal", report.client_bytes),
        (b"cluster.links", report.link_bytes),
        (b"aof.buffer", report.log_bytes),
        (b"lua.caches", report.script_bytes.get("used_memory_scripts_eval", 0)),
        (b"functions.caches", report.script_bytes.get("used_memory_functions", 0)),
    ]
    for keyspace in ctx.state.keyspaces:
        if len(keyspace):
            sizes: list[tuple[bytes, Reply]] = [
                (b"overhead.hashtable.main", keyspace.table_bytes()),
                (b"overhead.hashtable.expires", keyspace.expiring_count * EXPIRY_BYTES),
                (b"overhead.hashtable.slot-to-keys", 0),  # the slots lead the table itself
            ]
            pairs.append((b"db.%d" % keyspace.database, MapReply(sizes)))
    pairs += [
        (b"overhead.total", report.overhead),
        (b"keys.count", report.keys),
        (b"keys.bytes-per-key", report.dataset // report.keys if report.keys else 0),
        (b"dataset.bytes", dataset),
        (b"dataset.percentage", Double(100 * dataset / max(report.used, 1))),
        (b"peak.percentage", Double(100 * report.used / max(report.peak, 1))),
        (b"allocator.allocated", report.accounted()),
        (b"allocator.active", report.resident_bytes),
        (b"allocator.resident", report.resident_bytes),
        (b"allocator-fragmentation.ratio", ratio),
        (b"allocator-fragmentation.bytes", report.fragmentation_bytes()),
        (b"allocator-rss.ratio", Double(1.0)),
        (b"allocator-rss.bytes", 0),
        (b"rss-overhead.ratio", Double(1.0)),
        (b"rss-overhead.bytes", 0),
        (b"fragmentation", ratio),
        (b"fragmentation.bytes", report.fragmentation_bytes()),
        (b"parts.keys", report.parts.keys),
        (b"parts.expires", report.parts.expiries),
        (b"parts.values", report.parts.values),
        (b"parts.overhead", report.buffers + report.fragmentation_bytes()),
    ]
    return MapReply(pairs)


@command(
    "MEMORY DOCTOR", group=SERVER, since="4.0.0", complexity="O(N) for N clients",
    summary="Say in words what is remarkable about the use of memory.", tips=ALL_SHARDS,
)  # fmt: skip
def memory_doctor(ctx: Session, argv: list[bytes]) -> Reply:
    """MEMORY DOCTOR."""
    report = MemoryReport(ctx.state)
    if report.used < DIAGNOSED_BYTES_MIN:
        return Verbatim(b"This server holds too little (%d bytes) for anything to be said.\n" % report.used)
    findings = diagnosis(report, ctx.state)
    text = "\n".join(f" * {finding}" for finding in findings)
    return Verbatim(text.encode() + b"\n" if text else b"Nothing is remarkable about the use of memory.\n")


def diagnosis(report: MemoryReport, state: ServerState) -> list[str]:
    """Say what is remarkable, each with its figures and what can be done about it."""
    config = state.config
    findings = []
    counted = report.used - report.uncounted
    if config.maxmemory and counted > config.maxmemory * FULL_PERCENT // 100:
        findings.append(
            f"Nearly full: {human(counted)} of maxmemory {human(config.maxmemory)} are used, with policy "
            f"{config.maxmemory_policy} and {state.statistics.evicted_keys} keys evicted so far."
        )
    if report.peak > report.used * 3 // 2:
        findings.append(
            f"Peak: {human(report.peak)} were used once, {human(report.used)} are now. What the process "
            "holds beyond that may come from then; MEMORY PURGE returns what can be returned."
        )
    if report.fragmentation_ratio() > FRAGMENTED and report.fragmentation_bytes() > DIAGNOSED_BYTES_MIN:
        findings.append(
            f"Fragmentation: {human(report.fragmentation_bytes())} of {human(report.resident_bytes)} "
            f"resident (ratio {report.fragmentation_ratio():.2f}) hold no data. Values that change their "
            "length often leave such holes; they take new data, and go with a restart or a failover."
        )
    plain = max(len(state.sessions) - state.replication.replica_count(), 1)
    if report.client_bytes // plain > CLIENT_BYTES_USUAL:
        findings.append(
            f"Clients: {plain} clients hold {human(report.client_bytes)} in buffers; see CLIENT LIST "
            "(tot-mem) for who does, and maxmemory-clients for a limit."
        )
    if report.replica_bytes > DIAGNOSED_BYTES_MIN:
        findings.append(f"Replicas: {human(report.replica_bytes)} wait for replicas that lag behind.")
    if report.script_bytes.get("number_of_cached_scripts", 0) > SCRIPTS_USUAL:
        findings.append(
            f"Scripts: {report.script_bytes['number_of_cached_scripts']} are cached; pass what changes as "
            "KEYS and ARGV, instead of writing it into the text."
        )
    if report.keys and report.parts.keys > report.parts.values:
        findings.append(
            f"Keys: names and tables take {human(report.parts.keys)}, {report.parts.keys // report.keys} "
            f"bytes a key, more than the values ({human(report.parts.values)}); shorter names or hashes of "
            "many fields would save most."
        )
    return findings


@command(
    "MEMORY MALLOC-STATS", group=SERVER, since="4.0.0", complexity="O(1)",
    summary="Return what the allocator says of itself.", tips=ALL_SHARDS,
)  # fmt: skip
def memory_malloc_stats(ctx: Session, argv: list[bytes]) -> Reply:
    """MEMORY MALLOC-STATS: blocks of Python's allocator, and what its collector watches."""
    generations = " ".join(map(str, gc.get_count()))
    blocks = sys.getallocatedblocks()
    text = f"allocator: pymalloc\nallocated blocks: {blocks}\ncollector counts: {generations}\n"
    return Verbatim(text.encode())


@command(
    "MEMORY PURGE", group=SERVER, since="4.0.0", complexity="O(N) for N containers in use",
    summary="Give back memory that is held without use.",
    tips=("request_policy:all_shards", "response_policy:all_succeeded"),
)  # fmt: skip
def memory_purge(ctx: Session, argv: list[bytes]) -> Reply:
    """MEMORY PURGE: empties the interpreter's free lists, and then the allocator's."""
    gc.collect()
    ctx.state.process.give_back_memory()
    return OK

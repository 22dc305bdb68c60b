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
    """MEMORY STATS, in Redis's order; what it counts of its allocator is left out."""
    report = MemoryReport(ctx.state)
    dataset = report.used - report.overhead
    pairs: list[tuple[bytes, Reply]] = [
        (b"peak.allocated", report.peak),
        (b"total.allocated", report.used),
        (b"startup.allocated", report.start_bytes),
        (b"replication.backlog", report.backlog_bytes),
        (b"clients.slaves", report.replica_bytes),
        (b"clients.normal", report.client_bytes),
        (b"cluster.links", 0),
        (b"aof.buffer", 0),
        (b"lua.caches", 0),
        (b"functions.caches", 0),
    ]
    for keyspace in ctx.state.keyspaces:
        if len(keyspace):
            sizes: list[tuple[bytes, Reply]] = [
                (b"overhead.hashtable.main", keyspace.table_bytes()),
                (b"overhead.hashtable.expires", keyspace.expiring_count * EXPIRY_BYTES),
            ]
            pairs.append((b"db.%d" % keyspace.database, MapReply(sizes)))
    pairs += [
        (b"overhead.total", report.overhead),
        (b"keys.count", report.keys),
        (b"keys.bytes-per-key", report.dataset // report.keys if report.keys else 0),
        (b"dataset.bytes", dataset),
        (b"dataset.percentage", Double(100 * dataset / max(report.used, 1))),
        (b"peak.percentage", Double(100 * report.used / max(report.peak, 1))),
        (b"fragmentation", Double(report.fragmentation_ratio())),
        (b"fragmentation.bytes", report.fragmentation_bytes()),
    ]
    return MapReply(pairs)


@command(
    "MEMORY DOCTOR", group=SERVER, since="4.0.0", complexity="O(N) for N clients",
    summary="Say in words what is remarkable about the use of memory.", tips=ALL_SHARDS,
)  # fmt: skip
def memory_doctor(ctx: Session, argv: list[bytes]) -> Reply:
    """MEMORY DOCTOR."""
    report = MemoryReport(ctx.state)
    limit = ctx.state.config.maxmemory
    findings = []
    if limit and report.dataset > limit * 9 // 10:
        findings.append(f"The dataset takes {human(report.dataset)} of maxmemory {human(limit)}.")
    if report.peak > report.used * 3 // 2 and report.peak > 1 << 20:
        findings.append(f"At its peak, {human(report.peak)} were used; now it is {human(report.used)}.")
    if report.fragmentation_bytes() > report.used // 2 and report.used > 8 << 20:
        findings.append(f"{human(report.fragmentation_bytes())} are fragmentation or free lists.")
    if report.client_bytes > report.dataset // 2 and report.client_bytes > 1 << 20:
        findings.append(f"Clients hold {human(report.client_bytes)} in buffers; see CLIENT LIST.")
    text = "\n".join(findings) or "Nothing is remarkable about the use of memory."
    return Verbatim(text.encode() + b"\n")


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
    """MEMORY PURGE: empties the interpreter's free lists."""
    gc.collect()
    return OK

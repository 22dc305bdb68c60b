"""Directives of memory: its limit, eviction, and up to which size a structure is packed.

Rows of the table of `redoubt.directives.table`; what a row means stands in `redoubt.directives.directive`.
The limits of packed structures are followed by `data/limits.py`.
"""

from __future__ import annotations

from typing import Final

from redoubt.config_kinds import Choice, Integer, Memory, MemoryOrShare, YesNo
from redoubt.directives.directive import Directive

ROWS: Final[list[Directive]] = [
    # Memory
    Directive(
        "maxmemory",
        Memory(),
        "Most bytes of used memory before keys are evicted or writes refused; 0 for no limit.",
    ),
    Directive(
        "maxmemory-policy",
        Choice(
            "volatile-lru",
            "volatile-lfu",
            "volatile-random",
            "volatile-ttl",
            "allkeys-lru",
            "allkeys-lfu",
            "allkeys-random",
            "noeviction",
        ),
        "Which keys go when memory is full.",
    ),
    Directive(
        "maxmemory-samples",
        Integer(1, 2147483647),
        "How much is looked at for a victim: 5 are 3 buckets of 64 keys (LRU), 40 keys (LFU, TTL).",
    ),
    Directive(
        "maxmemory-eviction-tenacity",
        Integer(0, 100),
        "How long one command may evict: 10 is 500 us, each step more 15 % longer, 100 without end.",
    ),
    Directive(
        "maxmemory-clients",
        MemoryOrShare(),
        "Most bytes of all clients' buffers, or percent of maxmemory, before the largest client is closed; "
        "0 for no limit.",
    ),
    Directive(
        "maxmemory-container-percent",
        Integer(0, 90),
        "At the start, maxmemory as a share of the container's memory limit, where maxmemory is 0; 0: none.",
    ),
    Directive(
        "replica-ignore-maxmemory",
        YesNo(),
        "Whether a replica leaves eviction to its master.",
    ),
    Directive("active-expire-effort", Integer(1, 10), "How much time the search for expired keys may take."),
    Directive("lfu-log-factor", Integer(0), "How many hits saturate a key's frequency counter."),
    Directive("lfu-decay-time", Integer(0), "Minutes after which an unused frequency counter is halved."),
    Directive(
        "lua-memory-limit",
        Memory(),
        "Most bytes that scripts may hold in Lua, and function libraries as much again; 0 for no limit.",
    ),
    # Encodings
    Directive(
        "hash-max-listpack-entries",
        Integer(0),
        "Most fields of a hash that is packed.",
        alias="hash-max-ziplist-entries",
    ),
    Directive(
        "hash-max-listpack-value",
        Integer(0),
        "Longest field or value of a hash that is packed.",
        alias="hash-max-ziplist-value",
    ),
    Directive(
        "hll-sparse-max-bytes",
        Memory(),
        "Most bytes of a HyperLogLog in the sparse form; more than 16000 are of no use.",
    ),
    Directive("set-max-intset-entries", Integer(0), "Most members of a set of integers that is packed."),
    Directive("set-max-listpack-entries", Integer(0), "Most members of a set that is packed."),
    Directive("set-max-listpack-value", Integer(0), "Longest member of a set that is packed."),
    Directive(
        "list-max-listpack-size",
        Integer(-(1 << 31), (1 << 31) - 1),
        "Size of the chunks of a list: -1 to -5 for 4 to 64 KiB, a positive number for so many elements.",
        alias="list-max-ziplist-size",
    ),
    Directive(
        "zset-max-listpack-entries",
        Integer(0),
        "Most members of a sorted set that is packed.",
        alias="zset-max-ziplist-entries",
    ),
    Directive(
        "zset-max-listpack-value",
        Integer(0),
        "Longest member of a sorted set that is packed.",
        alias="zset-max-ziplist-value",
    ),
    Directive("stream-node-max-bytes", Memory(), "Bytes of a node of a stream; 0: up to 64 KiB."),
    Directive("stream-node-max-entries", Integer(0), "Most entries of a node of a stream; 0 for no limit."),
]

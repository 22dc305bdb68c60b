"""Whether what is to move fits where it goes, with the numbers that say so.

Counted for each shard that gets slots: what its fullest member holds now, plus the bytes of the slots that
come, minus those that go, against a share of what it may hold (maxmemory, else the container's limit). Where
a server does not say what its slots weigh, its memory is spread evenly over them. A cache is meant to be
full and to evict, so under an allkeys policy everything fits.

Called by scaling.py before a placement is written down. Pure.
"""

from collections.abc import Mapping
from typing import Final

from redoubt_operator.conditions import FULL_IS_NORMAL
from redoubt_operator.observation import SlotFigures, SlotRange, Unknown
from redoubt_operator.placement import slots_in
from redoubt_operator.spec import ClusterSpec
from redoubt_operator.view import ClusterView, Server, Shard

SHARE_MAX: Final = 0.90  # of what a member may hold: from here on condition MemoryHealthy is false
MIB: Final = 1024 * 1024

Moves = Mapping[tuple[int, int], tuple[SlotRange, ...]]


def too_full(view: ClusterView, moves: Moves, figures: Mapping[int, SlotFigures], spec: ClusterSpec) -> str:
    """What would not fit, in numbers; empty when everything does."""
    if spec.memory.eviction_policy in FULL_IS_NORMAL:
        return ""
    change: dict[int, int] = {}
    for (source, target), slots in moves.items():
        size = _size_of(view.shards[source], slots, figures)
        change[target] = change.get(target, 0) + size
        change[source] = change.get(source, 0) - size
    reasons = []
    for shard in view.shards:
        coming = change.get(shard.index, 0)
        for server in shard.staying if coming > 0 else ():
            limit = limit_bytes(server)
            used = used_bytes(server, shard)
            if limit and used + coming > SHARE_MAX * limit:
                reasons.append(
                    f"{server.pod.name} holds {_mib(used)} and would get {_mib(coming)} more: "
                    f"{_mib(used + coming)} of at most {_mib(int(SHARE_MAX * limit))}"
                )
    return "; ".join(reasons)


def used_bytes(server: Server, shard: Shard) -> int:
    """What a member holds: by its newest scrape, else what its shard's slots weigh."""
    if not isinstance(server.sample, Unknown):
        return server.sample.used_memory_bytes
    master = shard.master
    if master is None or isinstance(master.slot_figures, Unknown):
        return 0
    return sum(one.memory_bytes for one in master.slot_figures)


def limit_bytes(server: Server) -> int:
    """What a member may hold: its maxmemory, else the limit of its container; 0 for no limit."""
    if not isinstance(server.sample, Unknown) and server.sample.maxmemory_bytes:
        return server.sample.maxmemory_bytes
    if not isinstance(server.config, Unknown):
        text = server.config.get("maxmemory", "")
        if text.isdigit() and int(text):
            return int(text)
    return server.pod.memory_limit_bytes or 0


def _size_of(source: Shard, slots: tuple[SlotRange, ...], figures: Mapping[int, SlotFigures]) -> int:
    moved = slots_in(slots)
    master = source.master
    if master is not None and not isinstance(master.slot_figures, Unknown):
        return sum(figures[slot].memory_bytes for slot in moved if slot in figures)
    held = sum(len(one) for one in source.slots)
    if master is None or isinstance(master.sample, Unknown) or not held:
        return 0
    return master.sample.used_memory_bytes * len(moved) // held


def _mib(number: int) -> str:
    return f"{number / MIB:.1f} MiB"

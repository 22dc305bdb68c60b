"""Which slots a shard starts with, and which serial a new member gets.

Slots are split evenly and in order, so that the same number of shards always gives the same ranges: a
creation that was interrupted continues with the same answer. Serials are the lowest free ones for the same
reason: a create that is repeated on a stale list asks for the same name again and is answered "exists".

Used by the planner only. It does not move slots.
"""

from collections.abc import Iterable
from itertools import pairwise
from typing import Final

from redoubt_operator.observation import SlotRange

SLOTS: Final = 16384


def slot_ranges(shards: int) -> tuple[SlotRange, ...]:
    """The slots of each shard of a new cluster: contiguous, in order, sizes differing by one at most."""
    bounds = [SLOTS * shard // shards for shard in range(shards + 1)]
    return tuple(SlotRange(first, after - 1) for first, after in pairwise(bounds))


def free_serial(taken: Iterable[int]) -> int:
    """The lowest serial that no pod and no volume of the shard has, terminating ones included."""
    used = frozenset(taken)
    return next(serial for serial in range(len(used) + 1) if serial not in used)


def print_slots(slots: Iterable[SlotRange]) -> str:
    """`0-5460,5462`: as people and the status write slots."""
    return ",".join(str(one.first) if one.first == one.last else f"{one.first}-{one.last}" for one in slots)


def read_slots(text: str) -> tuple[SlotRange, ...]:
    """The inverse of `print_slots`; what is not a range is ignored, since status may be edited by hand."""
    ranges = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        if first.isdigit() and (last or first).isdigit() and int(first) <= int(last or first) < SLOTS:
            ranges.append(SlotRange(int(first), int(last or first)))
    return tuple(ranges)

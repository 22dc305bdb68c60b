"""Where slots belong: the first split of a new cluster, and the final placement of one that changes.

A new cluster is split evenly and in order, so that an interrupted creation goes on with the same answer. When
shards come or go, or people ask for a balance, the final placement is planned as a whole, before anything
moves: every shard that stays ends up with an even share of the weight, as few bytes as possible move, and
ranges stay contiguous where that costs nothing. Same input, same plan; and a placement that was carried out
plans nothing more.

A slot weighs three parts, equal on average: itself (future keys fall on slots evenly), its bytes, its load.
What is not known is left out, and so is what is next to nothing: a hundred keys shall not tilt a cluster.
Used by the planner only; it moves nothing. Pure.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Final

from redoubt_operator.observation import SlotFigures, SlotRange

SLOTS: Final = 16384
UNIT: Final = 1 << 20
"""The weight of an average slot in one part. Whole numbers: plans are the same everywhere."""

SLOT_BYTES_MIN: Final = 4096
SLOT_CPU_US_MIN: Final = 100_000
"""Where the average slot has less, these are taken for the average: 64 MiB and half an hour in all."""

Weights = Sequence[int]
"""The weight of each of the 16384 slots."""


def slot_ranges(shards: int) -> tuple[SlotRange, ...]:
    """The slots of each shard of a new cluster: contiguous, in order, sizes differing by one at most."""
    bounds = [SLOTS * shard // shards for shard in range(shards + 1)]
    return tuple(SlotRange(first, after - 1) for first, after in pairwise(bounds))


def free_serial(taken: Iterable[int]) -> int:
    """The lowest serial that no pod and no volume of the shard has, terminating ones included."""
    used = frozenset(taken)
    return next(serial for serial in range(len(used) + 1) if serial not in used)


def weigh(figures: Iterable[SlotFigures]) -> Weights:
    """The weights of all slots from what is known of them; without figures every slot weighs the same."""
    known = tuple(figures)
    weights = [UNIT] * SLOTS
    for part, least in (
        ({one.slot: one.memory_bytes for one in known}, SLOT_BYTES_MIN),
        ({one.slot: one.cpu_us for one in known}, SLOT_CPU_US_MIN),
    ):
        total = max(sum(part.values()), least * SLOTS)
        for slot, value in part.items():
            weights[slot] += UNIT * SLOTS * value // total
    return weights


def place(
    owned: Mapping[int, Sequence[SlotRange]], staying: Sequence[int], weights: Weights
) -> dict[int, list[int]]:
    """The final slots of each shard that stays, in ascending order.

    `owned`: the slots of every shard that has any, leaving ones included. `staying`: the shards among which
    all of them are shared. Costs a few steps for each slot that moves, and one for each that does not.
    """
    plan = _Placement(owned, staying, weights)
    plan.hand_to_neighbours()
    plan.fill()
    plan.empty_leaving()
    plan.level()
    return {shard: sorted(plan.slots[shard]) for shard in staying}


def moves_of(
    owned: Mapping[int, Sequence[SlotRange]], placed: Mapping[int, Iterable[int]]
) -> dict[tuple[int, int], tuple[SlotRange, ...]]:
    """What has to move, by source and target, in order."""
    owner = {slot: shard for shard, ranges in owned.items() for slot in slots_in(ranges)}
    moved: dict[tuple[int, int], list[int]] = {}
    for target, slots in placed.items():
        for slot in slots:
            if owner.get(slot, target) != target:
                moved.setdefault((owner[slot], target), []).append(slot)
    return {pair: ranges_of(moved[pair]) for pair in sorted(moved)}


def slots_in(ranges: Iterable[SlotRange]) -> list[int]:
    """The single slots of ranges."""
    return [slot for one in ranges for slot in range(one.first, one.last + 1)]


def ranges_of(slots: Iterable[int]) -> tuple[SlotRange, ...]:
    """Single slots as the fewest ranges, in ascending order."""
    ranges: list[SlotRange] = []
    for slot in sorted(slots):
        if ranges and ranges[-1].last == slot - 1:
            ranges[-1] = SlotRange(ranges[-1].first, slot)
        else:
            ranges.append(SlotRange(slot, slot))
    return tuple(ranges)


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


class _Placement:
    """A placement in the making: slots go from who has too much to who has too little."""

    def __init__(
        self, owned: Mapping[int, Sequence[SlotRange]], staying: Sequence[int], weights: Weights
    ) -> None:
        self.weights = weights
        self.staying = sorted(staying)
        self.leaving = sorted(set(owned) - set(staying))
        self.slots = {shard: set(slots_in(owned.get(shard, ()))) for shard in (*self.staying, *self.leaving)}
        self.weight = {shard: sum(weights[slot] for slot in held) for shard, held in self.slots.items()}
        self.owner = {slot: shard for shard, held in self.slots.items() for slot in held}
        self.origin = dict(self.owner)
        self._settle_giants()
        # The share of a shard is total / count; comparisons multiply, so that all numbers stay whole.
        self.total, self.count = self._share()
        heavy = [one for one in self.staying if self._is_over(one)]
        self.givers = [*self.leaving, *heavy]
        self.takers = [one for one in self.staying if one not in heavy]

    def _settle_giants(self) -> None:
        """A slot that outweighs a whole share decides where its shard stands, so it leaves first."""
        share = sum(self.weight.values()) // len(self.staying)
        giants = [slot for shard in self.leaving for slot in self.slots[shard] if self.weights[slot] > share]
        for slot in sorted(giants, key=lambda slot: (-self.weights[slot], slot)):
            self._move(slot, self._lightest())

    def _share(self) -> tuple[int, int]:
        """The level to which the others can be filled where single slots outweigh an even share."""
        total, count = sum(self.weight.values()), len(self.staying)
        for largest in sorted(
            (max((self.weights[slot] for slot in self.slots[one]), default=0) for one in self.staying),
            reverse=True,
        ):
            if count == 1 or largest * count <= total:
                break
            total, count = total - largest, count - 1
        return total, count

    def hand_to_neighbours(self) -> None:
        """First the slots at the ends of ranges whose neighbour is to get some: no new range begins."""
        for giver in self.givers:
            for one in ranges_of(self.slots[giver]):
                for slots, beside in (
                    (range(one.first, one.last + 1), one.first - 1),
                    (range(one.last, one.first - 1, -1), one.last + 1),
                ):
                    taker = self.owner.get(beside)
                    if taker is None or taker not in self.takers:
                        continue
                    for slot in slots:
                        if self.owner[slot] != giver or not self._fits(slot, giver, taker):
                            break
                        self._move(slot, taker)

    def fill(self) -> None:
        """Then each taker in turn up to its share, from the upper ends of the givers."""
        for taker in self.takers:
            for giver in self.givers:
                for slot in sorted(self.slots[giver], reverse=True):
                    if self._is_full(taker) or (giver not in self.leaving and not self._is_over(giver)):
                        break
                    if self._fits(slot, giver, taker):
                        self._move(slot, taker)

    def empty_leaving(self) -> None:
        """What did not fit exactly goes to whoever has the least."""
        for giver in self.leaving:
            for slot in sorted(self.slots[giver]):
                self._move(slot, self._lightest())

    def level(self) -> None:
        """Last the roundings: single slots from the heaviest to the lightest while that narrows the gap."""
        for _ in range(SLOTS):
            lightest = self._lightest()
            slot = self._levelling(lightest)
            if slot is None:
                return
            self._move(slot, lightest)

    def _levelling(self, lightest: int) -> int | None:
        """The slot that narrows a gap to the lightest most, of the heaviest shard that has one."""
        for giver in sorted(self.staying, key=lambda shard: (-self.weight[shard], shard)):
            gap = self.weight[giver] - self.weight[lightest]
            fitting = [slot for slot in self.slots[giver] if self.weights[slot] < gap]
            if fitting:
                return min(fitting, key=lambda slot: self._preference(slot, gap, lightest))
        return None

    def _preference(self, slot: int, gap: int, taker: int) -> tuple[int, int, int]:
        """What halves the gap best; of equals what need not move after all, then what moves already."""
        origin = self.origin[slot]
        cost = 0 if origin == taker else 1 if origin != self.owner[slot] else 2
        return (abs(gap - 2 * self.weights[slot]), cost, -slot)

    def _lightest(self) -> int:
        return min(self.staying, key=lambda shard: (self.weight[shard], shard))

    def _fits(self, slot: int, giver: int, taker: int) -> bool:
        return self._can_spare(slot, giver) and self._has_room(slot, taker)

    def _can_spare(self, slot: int, giver: int) -> bool:
        if giver in self.leaving:
            return True
        return (2 * self.weight[giver] - self.weights[slot]) * self.count >= 2 * self.total

    def _has_room(self, slot: int, taker: int) -> bool:
        # Strictly: a move that only exchanges two weights would be planned again for ever.
        return (2 * self.weight[taker] + self.weights[slot]) * self.count < 2 * self.total

    def _is_full(self, taker: int) -> bool:
        return self.weight[taker] * self.count >= self.total

    def _is_over(self, giver: int) -> bool:
        return self.weight[giver] * self.count > self.total

    def _move(self, slot: int, taker: int) -> None:
        giver = self.owner[slot]
        self.slots[giver].discard(slot)
        self.slots[taker].add(slot)
        self.owner[slot] = taker
        self.weight[giver] -= self.weights[slot]
        self.weight[taker] += self.weights[slot]

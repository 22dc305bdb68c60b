"""Sorted sets: members with scores, packed while they are few and short, a table and an order afterwards.

Up to Redis's limits (zset-max-listpack-entries, -value) one listpack holds member and score in turn, by score
and then by member. Beyond them a table (`redoubt.data.elements`) finds the score of a member, and an order
(`redoubt.data.order`) the members by score: ranges cost what they return. A sorted set that has become a
table stays one.

Called by the commands on sorted sets and by the readers and writers of RDB. It knows no keys and no texts of
ranges. Source: Redis `src/t_zset.c`.
"""

from __future__ import annotations

from random import Random
from typing import Final, cast

from redoubt.data import listpack
from redoubt.data.elements import Elements
from redoubt.data.limits import Limits
from redoubt.data.listpack import EMPTY, FIRST
from redoubt.data.memory import size_of_bytes
from redoubt.data.order import ENTRY_BYTES, Order
from redoubt.data.structure import STRUCTURE_BYTES, Structure
from redoubt.resp.doubles import double_text

PAIR: Final = 2
SCORE_BYTES: Final = 32
# Whole numbers up to here have no other spelling than their digits.
WHOLE_MAX: Final = 1e15


class Score(Structure):
    """What stands in the table for a member: its score. A table takes strings and structures only."""

    def __init__(self, value: float) -> None:
        self.value = value

    def size_bytes(self) -> int:
        return SCORE_BYTES


class Bound:
    """One end of a range: a score or a member, itself included or not."""

    def __init__(self, score: float, member: bytes, is_included: bool) -> None:
        self.score = score
        self.member = member
        self.is_included = is_included


class SortedSet(Structure):
    """One sorted set; see the module's docstring."""

    def __init__(self, packed: bytes = EMPTY) -> None:
        # The listpack, as long as there is no table.
        self.packed = packed
        self.table: Elements | None = None
        self.order: Order | None = None

    def type_name(self) -> bytes:
        return b"zset"

    def encoding_name(self) -> bytes:
        return b"listpack" if self.table is None else b"skiplist"

    def size_bytes(self) -> int:
        if self.table is None:
            return STRUCTURE_BYTES + size_of_bytes(self.packed)
        return STRUCTURE_BYTES + self.table.size_bytes() + ENTRY_BYTES * self.table.key_count

    def copy(self) -> Structure:
        twin = SortedSet(self.packed)
        if self.table is not None:
            twin.unpack()
            limits = Limits()
            for member, score in self.slice(0, self.count()):
                twin.put(member, score, limits)
        return twin

    def count(self) -> int:
        """Return the number of members."""
        return listpack.length(self.packed) // PAIR if self.table is None else self.table.key_count

    # Members.

    def has(self, member: bytes) -> bool:
        """Say whether something is a member."""
        if self.table is not None:
            return self.table.get(member) is not None
        return listpack.find(self.packed, member, PAIR) >= 0

    def score_of(self, member: bytes) -> float:
        """Return the score of a member, which must exist."""
        if self.table is not None:
            return cast(Score, self.table.get(member)).value
        at = listpack.find(self.packed, member, PAIR)
        return float(listpack.text_at(self.packed, listpack.next_entry(self.packed, at)))

    def find_score(self, member: bytes) -> float | None:
        """Return the score of a member, or None."""
        if self.table is not None:
            score = self.table.get(member)
            return score.value if isinstance(score, Score) else None
        at = listpack.find(self.packed, member, PAIR)
        return None if at < 0 else _score_at(self.packed, listpack.next_entry(self.packed, at))

    def put(self, member: bytes, score: float, limits: Limits) -> None:
        """Set the score of a member, new or not."""
        if self.table is not None:
            self._put_into_table(member, score)
            return
        entry = listpack.encode(member)
        at = listpack.find_entry(self.packed, entry, PAIR)
        if at >= 0:
            self._cut(at, 1)
            self._paste(member, entry, score)
        else:
            self.insert(member, score, limits)

    def insert(self, member: bytes, score: float, limits: Limits) -> None:
        """Add a member that is not there, as the caller knows."""
        if self.table is None:
            if self.count() < limits.zset_members and len(member) <= limits.zset_bytes:
                self._paste(member, listpack.encode(member), score)
                return
            self.unpack()
        self._put_into_table(member, score)

    def _put_into_table(self, member: bytes, score: float) -> None:
        assert self.table is not None and self.order is not None
        old = self.table.get(member)
        if isinstance(old, Score):
            member = self.order.remove(old.value, member)
            old.value = score
        else:
            self.table.put(member, Score(score))
        self.order.add(score, member)

    def remove(self, member: bytes) -> bool:
        """Remove a member; say whether it was there."""
        if self.table is None:
            at = listpack.find(self.packed, member, PAIR)
            if at >= 0:
                self._cut(at, 1)
            return at >= 0
        old = self.table.get(member)
        if not isinstance(old, Score):
            return False
        assert self.order is not None
        self.order.remove(old.value, member)
        return self.table.remove(member)

    def pop_ranks(self, first: int, past: int) -> list[tuple[bytes, float]]:
        """Remove the members from rank `first` to before `past`, both within the set; return them."""
        if self.order is not None and self.table is not None:
            pairs = self.order.cut(first, past)
            for member, _ in pairs:
                self.table.remove(member)
            return pairs
        at = listpack.at_index(self.packed, PAIR * first)
        pairs = self._pairs_from(at, past - first)
        self._cut(at, past - first)
        return pairs

    def members(self) -> list[bytes]:
        """Return all members by score."""
        return [member for member, _ in self.slice(0, self.count())]

    def random_pair(self, random: Random) -> tuple[bytes, float]:
        """Return a member drawn evenly from all, and its score; there must be one."""
        return self.at(int(random.random() * self.count()))

    def scan(self, cursor: int, count: int) -> tuple[int, list[tuple[bytes, float]]]:
        """Return the next cursor (0 at the end) and some pairs; a packed one comes whole."""
        if self.table is None:
            return 0, self.slice(0, self.count())
        cursor, members = self.table.scan_some(cursor, count)
        return cursor, [(member, self.score_of(member)) for member in members]

    # Ranks, the lowest score first.

    def at(self, rank: int) -> tuple[bytes, float]:
        """Return member and score at a rank, which must exist."""
        if self.order is not None:
            return self.order.at(rank)
        at = listpack.at_index(self.packed, PAIR * rank)
        text = listpack.text_at(self.packed, listpack.next_entry(self.packed, at))
        return listpack.text_at(self.packed, at), float(text)

    def rank_of(self, member: bytes) -> int:
        """Return the rank of a member, which must exist."""
        if self.order is not None:
            return self.order.rank_of(self.score_of(member), member)
        at = listpack.find(self.packed, member, PAIR)
        return listpack.count_entries(self.packed, FIRST, at) // PAIR

    def slice(self, first: int, past: int) -> list[tuple[bytes, float]]:
        """Return members with scores from rank `first` to before `past`, both within the set."""
        if self.order is not None:
            return self.order.pairs(first, past)
        return self._pairs_from(listpack.at_index(self.packed, PAIR * first), past - first)

    def _pairs_from(self, at: int, count: int) -> list[tuple[bytes, float]]:
        """Return up to `count` pairs of the pack, from the position `at` on."""
        words = listpack.texts_from(self.packed, at, PAIR * count)
        return [(words[place], float(words[place + 1])) for place in range(0, len(words), PAIR)]

    def ranks_by_score(self, low: Bound, high: Bound) -> tuple[int, int]:
        """Return the ranks first and past of the members between two scores."""
        if self.order is not None:
            first = self.order.rank_of_score(low.score, not low.is_included)
            past = self.order.rank_of_score(high.score, high.is_included)
        else:
            first = past = 0
            for _, score in self.slice(0, self.count()):
                first += score < low.score or (score == low.score and not low.is_included)
                past += score < high.score or (score == high.score and high.is_included)
        return (first, past) if first < past else (0, 0)

    def ranks_by_member(self, low: Bound | None, high: Bound | None) -> tuple[int, int]:
        """Return the ranks first and past of the members between two, None: without end.

        Members are ordered among themselves only where all scores are equal, as for Redis.
        """
        total = self.count()
        first = 0 if low is None else self._rank_of_bound(low, not low.is_included)
        past = total if high is None else self._rank_of_bound(high, high.is_included)
        return (first, past) if first < past else (0, 0)

    def _rank_of_bound(self, bound: Bound, is_behind: bool) -> int:
        """Return how many members lie before a bound, by bisection over ranks."""
        low = 0
        past = self.count()
        pairs = [] if self.order is not None else self.slice(0, past)
        while low < past:
            middle = (low + past) >> 1
            member = self.at(middle)[0] if self.order is not None else pairs[middle][0]
            if member < bound.member or (is_behind and member == bound.member):
                low = middle + 1
            else:
                past = middle
        return low

    # Forms.

    def unpack(self) -> None:
        """Become a table with an order, if it is none yet."""
        if self.table is not None:
            return
        table = Elements()
        order = Order()
        entries: list[tuple[float, bytes]] = []
        for member, score in self.slice(0, self.count()):
            table.put(member, Score(score))
            entries.append((score, member))
        order.build(entries)
        self.table = table
        self.order = order
        self.packed = EMPTY

    def _cut(self, at: int, count: int) -> None:
        """Take `count` pairs out of the pack, the first of them at `at`."""
        past = at
        for _ in range(PAIR * count):
            past = listpack.next_entry(self.packed, past)
        self.packed = listpack.splice(self.packed, at, past, b"", listpack.length(self.packed) - PAIR * count)

    def _paste(self, member: bytes, entry: bytes, score: float) -> None:
        """Put a pair into its place in the pack. entry: the member, encoded."""
        packed = self.packed
        at = FIRST
        past = len(packed) - 1
        while at < past:
            score_at = listpack.next_entry(packed, at)
            other = _score_at(packed, score_at)
            if other > score or (other == score and listpack.text_at(packed, at) > member):
                break
            at = listpack.next_entry(packed, score_at)
        entries = entry + _encoded_score(score)
        self.packed = listpack.splice(packed, at, at, entries, listpack.length(packed) + PAIR)


def _encoded_score(score: float) -> bytes:
    """Return the entry of a score: nearly all are whole numbers."""
    if -WHOLE_MAX < score < WHOLE_MAX:
        whole = int(score)
        if whole == score and whole:  # a zero may be negative
            return listpack.encode_integer(whole)
    return listpack.encode(double_text(score))


def _score_at(packed: bytes, at: int) -> float:
    """Read a score in a pack: whole numbers are stored as integers."""
    if listpack.is_integer_at(packed, at):
        return float(listpack.integer_at(packed, at))
    return float(listpack.text_at(packed, at))


def is_sound_sorted_set(packed: bytes, is_deep: bool = True) -> bool:
    """Say whether a listpack from outside is a sorted set: pairs with real scores, in order, none twice.

    is_deep: look at each entry, and not only at the frame and the number of entries.
    """
    if not is_deep and listpack.is_framed(packed):
        count = listpack.length(packed)
        return count > 0 and count % PAIR == 0
    if not listpack.is_sound(packed):
        return False
    words = listpack.texts(packed)
    if not words or len(words) % PAIR or len(frozenset(words[::PAIR])) * PAIR != len(words):
        return False
    before = (float("-inf"), b"")
    for place in range(0, len(words), PAIR):
        try:
            score = float(words[place + 1])
        except ValueError:
            return False
        if score != score or (score, words[place]) < before:
            return False
        before = (score, words[place])
    return True

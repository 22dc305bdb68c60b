"""The order of a large sorted set: its members by score, and by member where scores are equal.

Rows of up to a thousand entries, each row a list of scores beside a list of members. An entry is found by two
bisections, over the rows and within one; inserting and removing move a few KiB at most, which is one short
copy. A rank is the sum of the lengths of the rows before, counted from the nearer end. No entry has an object
of its own: beside the member, which the table of the set holds too, an entry takes a float and two places in
lists (a skip list or a tree of Python objects would take three to five times as much).

No row is empty. Owned by `redoubt.data.sorted_set`; it knows no keys, no limits and no ranges as commands
write them. The idea of rows instead of a tree: Grant Jenks, "Sorted Containers".
"""

from __future__ import annotations

from typing import Final

# A row that grows beyond this is divided.
ROW_MAX: Final = 1024
# A row that shrinks below this is put together with a neighbour, if both make at most half a row.
ROW_MIN: Final = 64
# What one entry occupies: its score as an object, and its places in two rows at the usual fill (measured).
ENTRY_BYTES: Final = 62


class Order:
    """Entries of score and member; see the module's docstring."""

    def __init__(self) -> None:
        self.scores: list[list[float]] = []
        self.members: list[list[bytes]] = []
        self.count = 0

    def build(self, pairs: list[tuple[float, bytes]]) -> None:
        """Take entries that are in order, instead of all there were."""
        self.scores = []
        self.members = []
        self.count = len(pairs)
        size = ROW_MAX // 2
        for first in range(0, len(pairs), size):
            row = pairs[first : first + size]
            self.scores.append([score for score, _ in row])
            self.members.append([member for _, member in row])

    def add(self, score: float, member: bytes) -> None:
        """Insert an entry that is not there."""
        self.count += 1
        if not self.scores:
            self.scores.append([score])
            self.members.append([member])
            return
        row = min(self._row_of(score, member), len(self.scores) - 1)
        scores = self.scores[row]
        place = self._place_in(row, score, member)
        scores.insert(place, score)
        self.members[row].insert(place, member)
        if len(scores) > ROW_MAX:
            self._divide(row)

    def remove(self, score: float, member: bytes) -> bytes:
        """Remove an entry, which must be there; return its member, the object that the table holds, too."""
        row = self._row_of(score, member)
        place = self._place_in(row, score, member)
        held = self.members[row][place]
        assert held == member
        del self.scores[row][place]
        del self.members[row][place]
        self.count -= 1
        self._tidy(row)
        return held

    def cut(self, first: int, past: int) -> list[tuple[bytes, float]]:
        """Remove the entries from rank `first` to before `past`, both within; return them in order."""
        pairs = self.pairs(first, past)
        left = past - first
        while left > 0:
            row, place = self._locate(first)
            here = min(left, len(self.scores[row]) - place)
            del self.scores[row][place : place + here]
            del self.members[row][place : place + here]
            self.count -= here
            left -= here
            self._tidy(row)
        return pairs

    def rank_of(self, score: float, member: bytes) -> int:
        """Return how many entries come before this one, whether it is there or not."""
        row = self._row_of(score, member)
        if row == len(self.scores):
            return self.count
        return self._rank_of_row(row) + self._place_in(row, score, member)

    def rank_of_score(self, score: float, is_behind: bool) -> int:
        """Return how many entries have a lower score, or, if is_behind, a score that is not higher."""
        low, past = 0, len(self.scores)
        while low < past:
            middle = (low + past) >> 1
            row = self.scores[middle]
            last = row[len(row) - 1]
            if last < score or (is_behind and last == score):
                low = middle + 1
            else:
                past = middle
        if low == len(self.scores):
            return self.count
        number = low
        scores = self.scores[number]
        low, past = 0, len(scores)
        while low < past:
            middle = (low + past) >> 1
            other = scores[middle]
            if other < score or (is_behind and other == score):
                low = middle + 1
            else:
                past = middle
        return self._rank_of_row(number) + low

    def at(self, rank: int) -> tuple[bytes, float]:
        """Return member and score at a rank, which must exist."""
        row, place = self._locate(rank)
        return self.members[row][place], self.scores[row][place]

    def pairs(self, first: int, past: int) -> list[tuple[bytes, float]]:
        """Return members with scores from rank `first` to before `past`, both within the order."""
        found: list[tuple[bytes, float]] = []
        if first >= past:
            return found
        row, place = self._locate(first)
        wanted = past - first
        while wanted > 0:
            scores = self.scores[row]
            members = self.members[row]
            end = min(len(scores), place + wanted)
            wanted -= end - place
            while place < end:
                found.append((members[place], scores[place]))
                place += 1
            place = 0
            row += 1
        return found

    # Rows.

    def _row_of(self, score: float, member: bytes) -> int:
        """Return the first row whose last entry is not before this one; the number of rows if none is."""
        low, past = 0, len(self.scores)
        while low < past:
            middle = (low + past) >> 1
            row = self.scores[middle]
            last = row[len(row) - 1]
            if last < score or (last == score and self.members[middle][-1] < member):
                low = middle + 1
            else:
                past = middle
        return low

    def _place_in(self, row: int, score: float, member: bytes) -> int:
        """Return how many entries of a row come before this one."""
        scores = self.scores[row]
        low, past = 0, len(scores)
        while low < past:
            middle = (low + past) >> 1
            other = scores[middle]
            if other < score or (other == score and self.members[row][middle] < member):
                low = middle + 1
            else:
                past = middle
        return low

    def _rank_of_row(self, row: int) -> int:
        """Return how many entries the rows before this one hold."""
        rank = 0
        if row <= len(self.scores) - row:
            for number in range(row):
                rank += len(self.scores[number])
            return rank
        for number in range(row, len(self.scores)):
            rank += len(self.scores[number])
        return self.count - rank

    def _locate(self, rank: int) -> tuple[int, int]:
        """Return the row of a rank that exists, and the place in it."""
        if rank < self.count - rank:
            row = 0
            while rank >= len(self.scores[row]):
                rank -= len(self.scores[row])
                row += 1
            return row, rank
        behind = self.count - rank
        row = len(self.scores) - 1
        while behind > len(self.scores[row]):
            behind -= len(self.scores[row])
            row -= 1
        return row, len(self.scores[row]) - behind

    def _divide(self, row: int) -> None:
        """Make two rows of one. An order that grows at its end keeps full rows behind it."""
        size = len(self.scores[row])
        half = size - ROW_MIN if row == len(self.scores) - 1 else size // 2
        self.scores.insert(row + 1, self.scores[row][half:])
        self.members.insert(row + 1, self.members[row][half:])
        # Copies, so that neither list keeps the room of the whole.
        self.scores[row] = self.scores[row][:half]
        self.members[row] = self.members[row][:half]

    def _tidy(self, row: int) -> None:
        """Drop a row that is empty, and put a short one together with the next."""
        size = len(self.scores[row])
        if size == 0:
            del self.scores[row]
            del self.members[row]
        elif (
            size < ROW_MIN and row + 1 < len(self.scores) and size + len(self.scores[row + 1]) <= ROW_MAX // 2
        ):
            self.scores[row].extend(self.scores[row + 1])
            self.members[row].extend(self.members[row + 1])
            del self.scores[row + 1]
            del self.members[row + 1]

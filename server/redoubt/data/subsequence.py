"""The longest common subsequence of two strings, and where its pieces lie.

The table of the textbook has a number for each pair of places, N times M of them. Neighbours in a row differ
by 0 or 1, so a row is one integer with a bit for each place of the second string, and follows from the row
before in four operations on whole integers. What the way back through the table asks (does the length grow
at this place of this row?) is one bit of the row. Of the many longest subsequences the way back finds the one
that Redis finds.

Called by LCS. Source: H. Hyyrö, "Bit-parallel LCS-length computation revisited" (2004); Redis
`src/t_string.c`.
"""

from __future__ import annotations


class Match:
    """A piece that both strings have: from where to where in each, ends included."""

    def __init__(self, first_in_one: int, first_in_other: int) -> None:
        self.first_in_one = first_in_one
        self.last_in_one = first_in_one
        self.first_in_other = first_in_other
        self.last_in_other = first_in_other

    def length(self) -> int:
        """Return how long the piece is."""
        return self.last_in_one - self.first_in_one + 1


def _places(text: bytes, byte: int) -> int:
    """Return an integer with a bit for each place where the byte stands."""
    table = bytearray(b"0" * 256)
    table[byte] = 49  # the digit 1
    return int(text[::-1].translate(bytes(table)), 2)


class _Rows:
    """The rows of the table, one after the other; a clear bit says that the length grows there."""

    def __init__(self, one: bytes, other: bytes) -> None:
        self.full = (1 << len(other)) - 1
        self.row = self.full
        self.places: dict[int, int] = {}
        for byte in frozenset(one):
            self.places[byte] = _places(other, byte) if other else 0

    def advance(self, byte: int) -> int:
        """Go on to the row of this byte of the first string; return it."""
        row = self.row
        common = row & self.places[byte]
        self.row = row = (row + common | row - common) & self.full
        return row


def longest_length(one: bytes, other: bytes) -> int:
    """Return the length of the longest common subsequence. O(N*M/64)."""
    rows = _Rows(one, other)
    for byte in one:
        rows.advance(byte)
    return len(other) - rows.row.bit_count()


def longest_matches(one: bytes, other: bytes) -> list[Match]:
    """Return the pieces of the longest common subsequence, the last first. O(N*M/64), N*M/8 bytes."""
    rows = _Rows(one, other)
    size = (len(other) + 7) >> 3
    table = [rows.advance(byte).to_bytes(size, "little") for byte in one]
    matches: list[Match] = []
    is_adjoining = False
    at, other_at = len(one) - 1, len(other) - 1
    while at >= 0 and other_at >= 0:
        if one[at] == other[other_at]:
            if is_adjoining:
                matches[-1].first_in_one = at
                matches[-1].first_in_other = other_at
            else:
                matches.append(Match(at, other_at))
            is_adjoining = True
            at -= 1
            other_at -= 1
            continue
        is_adjoining = False
        # Where the length does not grow at this place, the place is not needed; else this row is not.
        if table[at][other_at >> 3] >> (other_at & 7) & 1:
            other_at -= 1
        else:
            at -= 1
    return matches

"""A map from stream ids to what is pending under them, in the order of the ids.

Ids are nearly always added at the end and taken away near the start, and they must be found, walked from
any place, and cost little: a group may have a million of them. So it is a row of chunks, each two short
lists side by side, found by bisection; 16 bytes for an id beside the id and its value.

Owned by consumer groups and their consumers (`redoubt.data.stream_group`). No chunk is empty.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

# Inserting into a chunk moves so many places at most; twice as many chunks would double what finding costs.
CHUNK_IDS_MAX: Final = 512


class Pending:
    """An entry that was delivered to a consumer and not acknowledged."""

    def __init__(self, owner: bytes, delivered_ms: int, deliveries: int) -> None:
        self.owner = owner  # the consumer's name
        self.delivered_ms = delivered_ms
        self.deliveries = deliveries


class IdMap:
    """Pending entries by id; see the module's docstring."""

    def __init__(self) -> None:
        self.total = 0
        self._ids: list[list[int]] = []
        self._values: list[list[Pending]] = []
        # The last id of each chunk.
        self._lasts: list[int] = []

    def get(self, entry_id: int) -> Pending | None:
        """Return what is pending under an id, or None."""
        place = bisect_left(self._lasts, entry_id)
        if place == len(self._lasts):
            return None
        ids = self._ids[place]
        at = bisect_left(ids, entry_id)
        return self._values[place][at] if ids[at] == entry_id else None

    def put(self, entry_id: int, pending: Pending) -> None:
        """Add an id, which must not be there yet."""
        place = bisect_left(self._lasts, entry_id)
        self.total += 1
        if place == len(self._lasts):
            if place == 0 or len(self._ids[place - 1]) >= CHUNK_IDS_MAX:
                self._ids.append([entry_id])
                self._values.append([pending])
                self._lasts.append(entry_id)
                return
            place -= 1
            self._lasts[place] = entry_id
        ids = self._ids[place]
        at = bisect_left(ids, entry_id)
        ids.insert(at, entry_id)
        self._values[place].insert(at, pending)
        if len(ids) > CHUNK_IDS_MAX:
            self._halve(place)

    def remove(self, entry_id: int) -> Pending | None:
        """Take an id away; return what was pending under it, or None."""
        place = bisect_left(self._lasts, entry_id)
        if place == len(self._lasts):
            return None
        ids = self._ids[place]
        at = bisect_left(ids, entry_id)
        if ids[at] != entry_id:
            return None
        self.total -= 1
        pending = self._values[place].pop(at)
        del ids[at]
        if not ids:
            del self._ids[place]
            del self._values[place]
            del self._lasts[place]
        elif at == len(ids):
            self._lasts[place] = ids[-1]
        return pending

    def first(self) -> int:
        """Return the lowest id; there must be one."""
        return self._ids[0][0]

    def last(self) -> int:
        """Return the highest id; there must be one."""
        return self._lasts[-1]

    def slice(self, first: int, last: int, count: int) -> list[tuple[int, Pending]]:
        """Return up to `count` (0: all) ids from `first` to `last`, and what is pending under them."""
        found: list[tuple[int, Pending]] = []
        place = bisect_left(self._lasts, first)
        while place < len(self._ids):
            ids = self._ids[place]
            values = self._values[place]
            for at in range(bisect_left(ids, first), len(ids)):
                if ids[at] > last or (count and len(found) == count):
                    return found
                found.append((ids[at], values[at]))
            place += 1
        return found

    def _halve(self, place: int) -> None:
        middle = len(self._ids[place]) // 2
        self._ids.insert(place + 1, self._ids[place][middle:])
        self._values.insert(place + 1, self._values[place][middle:])
        del self._ids[place][middle:]
        del self._values[place][middle:]
        self._lasts.insert(place, self._ids[place][-1])

"""Due times by name, and which name is due next.

A dict has the due time of each name, a heap has them in order. Nothing is taken out of the heap when a due
time changes or goes: an entry that the dict does not confirm is skipped when it comes up. So that a name
whose time is put off again and again does not fill memory, the heap is built anew as soon as half of it is
stale, which costs a constant for each change in the long run.

A hash has one for its fields with a time to live, a keyspace one for the hashes that have such fields. It
knows no clock; times are absolute milliseconds above 0.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import Final

# Up to so many stale entries nothing is built anew.
STALE_MAX: Final = 16
# A name's places in dict and heap, the pair in the heap, its number (measured); the name itself is shared.
DEADLINE_BYTES: Final = 200
DEADLINES_BYTES: Final = 200


class Deadlines:
    """Names and their due times; see the module's docstring."""

    def __init__(self) -> None:
        self.due_ms: dict[bytes, int] = {}
        self._heap: list[tuple[int, bytes]] = []

    def __len__(self) -> int:
        return len(self.due_ms)

    def get(self, name: bytes) -> int:
        """Return the due time of a name, or 0."""
        return self.due_ms.get(name, 0)

    def set(self, name: bytes, due_ms: int) -> None:
        """Let a name be due at this time, whatever it was before."""
        if self.due_ms.get(name, 0) == due_ms:
            return
        self.due_ms[name] = due_ms
        heappush(self._heap, (due_ms, name))
        self._tidy()

    def remove(self, name: bytes) -> bool:
        """Forget a name; say whether it was there."""
        if self.due_ms.pop(name, 0) == 0:
            return False
        self._tidy()
        return True

    def next_ms(self) -> int:
        """Return the earliest due time, or 0 if there is no name."""
        heap = self._heap
        while heap:
            due_ms, name = heap[0]
            if self.due_ms.get(name, 0) == due_ms:
                return due_ms
            heappop(heap)
        return 0

    def due(self, now_ms: int, limit: int) -> list[bytes]:
        """Return up to `limit` names whose time lies before `now_ms`, earliest first; they stay."""
        found: list[bytes] = []
        taken: list[tuple[int, bytes]] = []
        while len(found) < limit:
            due_ms = self.next_ms()
            if due_ms == 0 or due_ms >= now_ms:
                break
            entry = heappop(self._heap)
            # The same name and time may stand there twice, if the time went away and came back.
            if not taken or taken[-1] != entry:
                taken.append(entry)
                found.append(entry[1])
        for entry in taken:
            heappush(self._heap, entry)
        return found

    def count_due(self, now_ms: int) -> int:
        """Count the names whose time lies before `now_ms`; O(1) if there is none."""
        next_ms = self.next_ms()
        if next_ms == 0 or next_ms >= now_ms:
            return 0
        count = 0
        for due_ms in self.due_ms.values():
            if due_ms < now_ms:
                count += 1
        return count

    def copy(self) -> Deadlines:
        """Return a twin that changes independently."""
        twin = Deadlines()
        twin.due_ms = dict(self.due_ms)
        twin._rebuild()
        return twin

    def size_bytes(self) -> int:
        """Return what all of it occupies beside the names, which belong to others."""
        return DEADLINES_BYTES + DEADLINE_BYTES * len(self.due_ms)

    def _tidy(self) -> None:
        if len(self._heap) > 2 * len(self.due_ms) + STALE_MAX:
            self._rebuild()

    def _rebuild(self) -> None:
        self._heap = [(due_ms, name) for name, due_ms in self.due_ms.items()]
        heapify(self._heap)

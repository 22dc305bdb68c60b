"""Lists: texts in a row, in chunks of packed bytes of every size.

A Python object per element would take four times the memory of Redis. So a list of any length is a row of
listpacks of about 8 KiB (list-max-listpack-size), each an immutable `bytes`: pushing and popping at either
end makes one chunk anew, which is a short copy; an element in the middle is found by the counts of the
chunks before it; a copy of a list shares all its chunks. One chunk is what Redis calls a listpack, more a
quicklist.

No chunk is empty. Called by the commands on lists and by the readers and writers of RDB. It knows no keys.
Source: Redis `src/quicklist.c`, `src/t_list.c`.
"""

from __future__ import annotations

from typing import Final

from redoubt.data import listpack
from redoubt.data.limits import Limits
from redoubt.data.listpack import FIRST
from redoubt.data.memory import size_of_bytes
from redoubt.data.structure import STRUCTURE_BYTES, Structure

# Beside its bytes a chunk has a place in each of two lists, which themselves take so much (measured).
CHUNK_BYTES: Final = 16
LISTS_BYTES: Final = 176
# Where list-max-listpack-size says a number of elements, their bytes are limited all the same, as in Redis.
SAFE_BYTES_MAX: Final = 8192


class TextList(Structure):
    """One list; see the module's docstring."""

    def __init__(self) -> None:
        self.chunks: list[bytes] = []
        # The number of elements of each chunk.
        self.counts: list[int] = []
        self.total = 0
        self.bytes_of_chunks = 0

    def type_name(self) -> bytes:
        return b"list"

    def encoding_name(self) -> bytes:
        return b"listpack" if len(self.chunks) <= 1 else b"quicklist"

    def size_bytes(self) -> int:
        return STRUCTURE_BYTES + LISTS_BYTES + self.bytes_of_chunks + CHUNK_BYTES * len(self.chunks)

    def copy(self) -> Structure:
        twin = TextList()
        twin.chunks = list(self.chunks)
        twin.counts = list(self.counts)
        twin.total = self.total
        twin.bytes_of_chunks = self.bytes_of_chunks
        return twin

    def count(self) -> int:
        """Return the number of elements."""
        return self.total

    # At the ends.

    def push(self, text: bytes, is_first: bool, limits: Limits) -> None:
        """Put an element before the first or behind the last."""
        entry = listpack.encode(text)
        self.total += 1
        place = 0 if is_first else len(self.chunks) - 1
        if not self.chunks or not _has_room(self.chunks[place], self.counts[place], len(entry), limits):
            self._insert(0 if is_first else len(self.chunks), listpack.assemble(entry, 1), 1)
            return
        chunk = self.chunks[place]
        at = FIRST if is_first else len(chunk) - 1
        count = self.counts[place] + 1
        self._replace(place, listpack.splice(chunk, at, at, entry, count), count)

    def pop(self, is_first: bool) -> bytes:
        """Take away and return the first element or the last; there must be one."""
        place = 0 if is_first else len(self.chunks) - 1
        chunk = self.chunks[place]
        past = len(chunk) - 1
        at = FIRST if is_first else listpack.previous_entry(chunk, past)
        text = listpack.text_at(chunk, at)
        count = self.counts[place] - 1
        self.total -= 1
        if count == 0:
            self._remove(place)
        else:
            past = listpack.next_entry(chunk, at) if is_first else past
            self._replace(place, listpack.splice(chunk, at, past, b"", count), count)
        return text

    def pop_many(self, count: int, is_first: bool) -> list[bytes]:
        """Take away `count` elements at one end, the outermost first; there must be as many."""
        taken: list[bytes] = []
        while count:
            place = 0 if is_first else len(self.chunks) - 1
            texts = listpack.texts(self.chunks[place])
            if not is_first:
                texts.reverse()
            if count >= len(texts):
                taken.extend(texts)
                count -= len(texts)
                self.total -= len(texts)
                self._remove(place)
                continue
            taken.extend(texts[:count])
            rest = texts[count:]
            if not is_first:
                rest.reverse()
            self.total -= count
            self._replace(place, listpack.build(rest), len(rest))
            count = 0
        return taken

    # Anywhere.

    def at(self, index: int) -> bytes | None:
        """Return the element at an index (negative: from the end), or None."""
        if index < 0:
            index += self.total
        if not 0 <= index < self.total:
            return None
        place, offset = self._locate(index)
        chunk = self.chunks[place]
        return listpack.text_at(chunk, listpack.at_index(chunk, offset))

    def put(self, index: int, text: bytes, limits: Limits) -> None:
        """Replace the element at an index, which must exist."""
        place, offset = self._locate(index)
        texts = listpack.texts(self.chunks[place])
        texts[offset] = text
        self._rebuild(place, texts, limits)

    def slice(self, first: int, past: int) -> list[bytes]:
        """Return the elements from index `first` to before `past`, both within the list."""
        found: list[bytes] = []
        if first >= past:
            return found
        place, offset = self._locate(first)
        wanted = past - first
        while wanted > 0:
            chunk = self.chunks[place]
            part = listpack.texts_from(chunk, listpack.at_index(chunk, offset), wanted)
            found.extend(part)
            wanted -= len(part)
            offset = 0
            place += 1
        return found

    def insert_beside(self, pivot: bytes, text: bytes, is_before: bool, limits: Limits) -> bool:
        """Insert before or behind the first element that is `pivot`; say whether there is one."""
        for place in range(len(self.chunks)):
            if listpack.find(self.chunks[place], pivot, 1) >= 0:
                texts = listpack.texts(self.chunks[place])
                offset = texts.index(pivot)
                texts.insert(offset if is_before else offset + 1, text)
                self.total += 1
                self._rebuild(place, texts, limits)
                return True
        return False

    def remove_equal(self, text: bytes, count: int) -> int:
        """Remove elements that are `text`: all (0), so many from the start, or from the end (negative)."""
        left = abs(count) if count else self.total
        removed = 0
        from_end = count < 0
        place = len(self.chunks) - 1 if from_end else 0
        while left and 0 <= place < len(self.chunks):
            kept_place = True
            if listpack.find(self.chunks[place], text, 1) >= 0:
                texts = listpack.texts(self.chunks[place])
                kept = _without(texts, text, left, from_end)
                gone = len(texts) - len(kept)
                removed += gone
                left -= gone
                self.total -= gone
                if kept:
                    self._replace(place, listpack.build(kept), len(kept))
                else:
                    self._remove(place)
                    kept_place = False
            if from_end:
                place -= 1
            elif kept_place:
                place += 1
        return removed

    def trim(self, first: int, past: int) -> None:
        """Keep only the elements from index `first` to before `past`, which lie within the list."""
        tail = self.total - past
        if first:
            self.pop_many(first, True)
        if tail:
            self.pop_many(tail, False)

    def positions(self, text: bytes, rank: int, count: int, looked_max: int) -> list[int]:
        """Return the indexes of elements that are `text`.

        rank: with which match to begin, negative from the end; count: how many, 0 for all; looked_max: how
        many elements are compared, 0 for all.
        """
        found: list[int] = []
        is_forward = rank > 0
        skip = abs(rank) - 1
        looked = 0
        index = 0 if is_forward else self.total - 1
        places = range(len(self.chunks)) if is_forward else range(len(self.chunks) - 1, -1, -1)
        for place in places:
            texts = listpack.texts(self.chunks[place])
            if not is_forward:
                texts.reverse()
            for one in texts:
                if looked_max and looked >= looked_max:
                    return found
                looked += 1
                if one == text:
                    if skip:
                        skip -= 1
                    else:
                        found.append(index)
                        if len(found) == count:
                            return found
                index += 1 if is_forward else -1
        return found

    def take_chunk(self, chunk: bytes, count: int) -> None:
        """Put a whole chunk behind the last (for readers of RDB); it must not be empty."""
        self.total += count
        self._insert(len(self.chunks), chunk, count)

    # Chunks.

    def _locate(self, index: int) -> tuple[int, int]:
        """Return the place of the chunk with an index that exists, and the index within it."""
        if index < self.total - index:
            place = 0
            while index >= self.counts[place]:
                index -= self.counts[place]
                place += 1
            return place, index
        behind = self.total - index
        place = len(self.chunks) - 1
        while behind > self.counts[place]:
            behind -= self.counts[place]
            place -= 1
        return place, self.counts[place] - behind

    def _insert(self, place: int, chunk: bytes, count: int) -> None:
        self.chunks.insert(place, chunk)
        self.counts.insert(place, count)
        self.bytes_of_chunks += size_of_bytes(chunk)

    def _remove(self, place: int) -> None:
        self.bytes_of_chunks -= size_of_bytes(self.chunks[place])
        del self.chunks[place]
        del self.counts[place]

    def _replace(self, place: int, chunk: bytes, count: int) -> None:
        self.bytes_of_chunks += size_of_bytes(chunk) - size_of_bytes(self.chunks[place])
        self.chunks[place] = chunk
        self.counts[place] = count

    def _rebuild(self, place: int, texts: list[bytes], limits: Limits) -> None:
        """Pack the elements of one chunk anew: into two if they are too many for one."""
        chunk = listpack.build(texts)
        if len(texts) == 1 or _has_room(chunk, len(texts) - 1, 0, limits):
            self._replace(place, chunk, len(texts))
            return
        middle = len(texts) // 2
        self._replace(place, listpack.build(texts[:middle]), middle)
        self._insert(place + 1, listpack.build(texts[middle:]), len(texts) - middle)


def _has_room(chunk: bytes, count: int, entry_bytes: int, limits: Limits) -> bool:
    """Say whether a chunk may take one entry more."""
    size = len(chunk) + entry_bytes
    if limits.list_elements:
        return count < limits.list_elements and size <= SAFE_BYTES_MAX
    return size <= limits.list_bytes


def _without(texts: list[bytes], text: bytes, count: int, from_end: bool) -> list[bytes]:
    """Return the texts without the first (or last) `count` that are `text`."""
    ordered = list(reversed(texts)) if from_end else texts
    kept: list[bytes] = []
    for one in ordered:
        if one == text and count:
            count -= 1
        else:
            kept.append(one)
    if from_end:
        kept.reverse()
    return kept

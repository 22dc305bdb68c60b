"""Trimming streams: whole nodes from the start, and for an exact trim entries of the first node that stays.

An approximate trim (`~`) removes only whole nodes, which costs next to nothing; so how much it removes
depends on where nodes end. What it came to is therefore propagated as an exact trim.

Called by XADD and XTRIM. Source: Redis `src/t_stream.c` (streamTrim).
"""

from __future__ import annotations

from redoubt.data import stream_node
from redoubt.data.stream import Stream
from redoubt.data.stream_node import NodeReader


class Trim:
    """How much of a stream is to stay: so many entries, or those from an id on."""

    def __init__(self, is_by_length: bool, threshold: int, is_approximate: bool) -> None:
        self.is_by_length = is_by_length
        self.threshold = threshold  # the length, or the lowest id that stays
        self.is_approximate = is_approximate
        # How many entries may go at most; 0: any number.
        self.limit = 0

    def apply(self, stream: Stream) -> int:
        """Trim; return how many entries have gone. The change must be announced already."""
        place = 0
        removed = 0
        length = stream.length
        while place < len(stream.packs):
            if self.is_by_length and length <= self.threshold:
                break
            pack = stream.packs[place]
            live = stream_node.live_count(pack)
            if self.limit and removed + live > self.limit:
                break
            if not self._takes_whole(pack, stream.node_ids[place], length - live):
                break
            length -= live
            removed += live
            place += 1
        is_exact = place < len(stream.packs) and not self.is_approximate
        stream.length = length
        if place:
            stream.remove_nodes(0, place)
        if is_exact:
            removed += self._trim_first_node(stream)
        if removed:
            stream.find_first()
        return removed

    def _takes_whole(self, pack: bytes, node_id: int, length_after: int) -> bool:
        if self.is_by_length:
            return length_after >= self.threshold
        return stream_node.last_id(pack, node_id) < self.threshold

    def _trim_first_node(self, stream: Stream) -> int:
        """Flag entries of the first node as deleted, as far as they must go; return how many."""
        reader = NodeReader(stream.packs[0], stream.node_ids[0])
        doomed: list[int] = []
        while reader.next():
            if self.is_by_length and stream.length - len(doomed) <= self.threshold:
                break
            if not self.is_by_length and reader.entry_id >= self.threshold:
                break
            doomed.append(reader.entry_at)
        if doomed:
            stream.replace_node(0, stream_node.with_deleted(reader.pack, doomed))
            stream.length -= len(doomed)
        return len(doomed)

"""Cutting a bus link's stream of bytes into packets, with a limit before every allocation.

A packet says its own length in its second field. A liar can thus make a reader wait for four gigabytes;
so the limit depends on what is known about the sender: from strangers only what a PING can need, from nodes
of the cluster what a publication can need. Memory grows only with the bytes that arrived.

Each bus link owns one `PacketReader`.
"""

from __future__ import annotations

from typing import Final

from redoubt.cluster.messages import (
    GOSSIP_BYTES,
    HEADER_BYTES,
    MODULE,
    PUBLISH,
    PUBLISH_SHARD,
    SIGNATURE,
    BadPacket,
)

# A PING with 4,096 gossip entries and 64 KiB of extensions: four times the largest cluster Redis is made for.
PACKET_BYTES_MAX: Final = HEADER_BYTES + 4096 * GOSSIP_BYTES + 65_536
# A publication through the bus; clients may send larger bulks, which then stay on their own node.
PUBLICATION_BYTES_MAX: Final = 64 << 20
_LENGTH_FIRST: Final = 4
_KIND_FIRST: Final = 12
_PREFIX_BYTES: Final = 16


class PacketReader:
    """Cuts one stream into packets."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        # Raised by the bus once the sender is a known node.
        self.may_publish = False

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes and give the packets that are now whole; BadPacket when the stream cannot be one."""
        buffer = self._buffer
        buffer += data
        packets: list[bytes] = []
        start = 0
        while len(buffer) - start >= _PREFIX_BYTES:
            length = self._length(start)
            if len(buffer) - start < length:
                break
            packets.append(bytes(buffer[start : start + length]))
            start += length
        if start:
            del buffer[:start]
        return packets

    def _length(self, start: int) -> int:
        buffer = self._buffer
        if buffer[start : start + _LENGTH_FIRST] != SIGNATURE:
            raise BadPacket("the stream does not begin with the signature of the bus")
        length = int.from_bytes(buffer[start + _LENGTH_FIRST : start + _LENGTH_FIRST + 4], "big")
        kind = int.from_bytes(buffer[start + _KIND_FIRST : start + _KIND_FIRST + 2], "big")
        is_large = self.may_publish and kind in (PUBLISH, PUBLISH_SHARD, MODULE)
        length_max = PUBLICATION_BYTES_MAX if is_large else PACKET_BYTES_MAX
        if not HEADER_BYTES <= length <= length_max:
            raise BadPacket(f"a packet of type {kind} has {HEADER_BYTES} to {length_max} bytes, not {length}")
        return length

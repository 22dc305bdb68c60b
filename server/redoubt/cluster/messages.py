"""The messages of the cluster bus: Redis's own binary packets, read and written.

Every packet is a header of 2256 bytes (who sends, its role, epochs, slots, replication offset) and a body
that depends on the type. PING, PONG and MEET share one form: gossip entries of 104 bytes about other nodes,
then typed extensions. All numbers are big-endian.

Redoubt nodes recognise one another by 30 bytes of the header that Redis reserves, writes as zero and never
reads: `RDBT`, a version, flags, and the config epoch under which the sender's data were written. Real Redis
sees nothing of it, not even in its log (an unknown ping extension it would log with every packet).

Nothing that arrives is believed: `decode` checks every length against the packet before it reads, ids,
addresses and names for their alphabet, and raises `BadPacket` otherwise; framing is `packets.py`. The bus
calls this. It knows no links and decides nothing.

Source: `cluster.h` of Redis 7.0 (structure layout) and 7.2 (extensions); the cluster specification.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from redoubt.cluster.slots import bitmap_to_mask, mask_to_bitmap

NODE_ID_LENGTH: Final = 40
NO_NODE_ID: Final = bytes(NODE_ID_LENGTH)
IP_BYTES: Final = 46

PING: Final = 0
PONG: Final = 1
MEET: Final = 2
FAIL: Final = 3
PUBLISH: Final = 4
AUTH_REQUEST: Final = 5
AUTH_ACK: Final = 6
UPDATE: Final = 7
MFSTART: Final = 8
MODULE: Final = 9
PUBLISH_SHARD: Final = 10
KINDS: Final = 11
KIND_NAMES: Final = [
    "ping",
    "pong",
    "meet",
    "fail",
    "publish",
    "auth-req",
    "auth-ack",
    "update",
    "mfstart",
    "module",
    "publishshard",
]

# Message flags (mflags[0]).
MASTER_PAUSED: Final = 1  # the master has paused its writes for a manual failover; `offset` is final
FORCE_ACK: Final = 2  # vote although the master has not failed: a manual failover
EXTENSIONS: Final = 4  # ping extensions follow, or could: the sender understands them

# Ping extensions.
EXT_HOSTNAME: Final = 0
EXT_HUMAN_NAME: Final = 1
EXT_FORGOTTEN: Final = 2
EXT_SHARD_ID: Final = 3

# Flags of the Redoubt mark.
MARK_TERMINATING: Final = 1  # about to exit: not to be chosen as a successor
MARK_STALE_CLAIM: Final = 2  # you claim slots that have an owner at a higher epoch: do not serve yet
MARK_SYNCED: Final = 4  # the copy is complete
MARK_SUCCEED: Final = 8  # from a paused master to one replica: take over from me

HEADER: Final = Struct(">4sIHHHHQQQ40s2048s40s46sH30sHHHB3s")
HEADER_BYTES: Final = 2256
GOSSIP: Final = Struct(">40sII46sHHHHH")
GOSSIP_BYTES: Final = 104
EXTENSION: Final = Struct(">IHH")
EXTENSION_BYTES: Final = 8
UPDATE_BODY: Final = Struct(">Q40s2048s")
PUBLISH_BODY: Final = Struct(">II")
FORGOTTEN_BODY: Final = Struct(">40sQ")
MARK: Final = Struct(">4sBBHQ14x")
MARK_MAGIC: Final = b"RDBT"
MARK_VERSION: Final = 1
SIGNATURE: Final = b"RCmb"
PROTOCOL_VERSION: Final = 1

_HEX: Final = frozenset(b"0123456789abcdef")
_ADDRESS: Final = frozenset(b"0123456789abcdefABCDEF.:")
_NAME: Final = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.")
# Redis: NET_HOST_STR_LEN.
NAME_LENGTH_MAX: Final = 255


class BadPacket(Exception):
    """A packet that no honest peer sends; the link it came on is closed."""


class GossipEntry:
    """What the sender knows about a third node. Times are in seconds, as on the wire."""

    def __init__(
        self,
        node_id: str,
        ping_sent_s: int,
        pong_received_s: int,
        ip: str,
        port: int,
        bus_port: int,
        flags: int,
    ) -> None:
        self.node_id = node_id
        self.ping_sent_s = ping_sent_s
        self.pong_received_s = pong_received_s
        self.ip = ip
        self.port = port
        self.bus_port = bus_port
        self.flags = flags
        self.plain_port = 0


class Message:
    """One packet. The header's fields are always set; those of the body only for the types that have them."""

    def __init__(self, kind: int, sender: str) -> None:
        self.kind = kind
        self.sender = sender
        self.port = 0
        self.current_epoch = 0
        self.config_epoch = 0
        self.offset = 0
        self.slots = 0  # mask
        self.master_id = ""  # empty: the sender is a master
        self.ip = ""  # empty: take the address that the packet came from
        self.plain_port = 0
        self.bus_port = 0
        self.flags = 0
        self.state_is_ok = True
        self.mflags = 0
        # The Redoubt mark.
        self.is_redoubt = False
        self.mark_flags = 0
        self.data_epoch = 0
        # PING, PONG, MEET.
        self.gossip: list[GossipEntry] = []
        self.hostname: str | None = None
        self.human_name: str | None = None
        self.shard_id = ""
        self.forgotten: list[tuple[str, int]] = []  # (node id, seconds)
        # FAIL: the failed node; UPDATE: the owner, its epoch and slots.
        self.about = ""
        self.about_epoch = 0
        self.about_slots = 0
        # PUBLISH, PUBLISHSHARD.
        self.channel = b""
        self.payload = b""


def encode(message: Message) -> bytes:
    """Write a packet."""
    extensions, extension_count = _encode_extensions(message)
    body = _encode_body(message) + extensions
    mark = bytes(30)
    if message.is_redoubt:
        mark = MARK.pack(MARK_MAGIC, MARK_VERSION, message.mark_flags, 0, message.data_epoch)
    header = HEADER.pack(
        SIGNATURE,
        HEADER_BYTES + len(body),
        PROTOCOL_VERSION,
        message.port,
        message.kind,
        _count(message),
        message.current_epoch,
        message.config_epoch,
        max(message.offset, 0),
        message.sender.encode(),
        mask_to_bitmap(message.slots),
        message.master_id.encode(),
        message.ip.encode(),
        extension_count,
        mark,
        message.plain_port,
        message.bus_port,
        message.flags,
        0 if message.state_is_ok else 1,
        bytes((message.mflags, 0, 0)),
    )
    return header + body


def _count(message: Message) -> int:
    """Give the header's count: the gossip entries; Redis sets 1 in PUBLISH."""
    return len(message.gossip)


def _encode_body(message: Message) -> bytes:
    kind = message.kind
    if kind in (PING, PONG, MEET):
        return b"".join([_encode_gossip(entry) for entry in message.gossip])
    if kind == FAIL:
        return message.about.encode()
    if kind == UPDATE:
        return UPDATE_BODY.pack(
            message.about_epoch, message.about.encode(), mask_to_bitmap(message.about_slots)
        )
    if kind in (PUBLISH, PUBLISH_SHARD):
        lengths = PUBLISH_BODY.pack(len(message.channel), len(message.payload))
        return lengths + message.channel + message.payload
    return b""


def _encode_gossip(entry: GossipEntry) -> bytes:
    return GOSSIP.pack(
        entry.node_id.encode(),
        entry.ping_sent_s & 0xFFFFFFFF,
        entry.pong_received_s & 0xFFFFFFFF,
        entry.ip.encode(),
        entry.port,
        entry.bus_port,
        entry.flags,
        entry.plain_port,
        0,
    )


def _encode_extensions(message: Message) -> tuple[bytes, int]:
    """Write the extensions that are set; each is padded to a multiple of eight bytes."""
    parts: list[bytes] = []
    if message.hostname:
        parts.append(_extension(EXT_HOSTNAME, message.hostname.encode() + b"\0"))
    if message.human_name:
        parts.append(_extension(EXT_HUMAN_NAME, message.human_name.encode() + b"\0"))
    for node_id, seconds in message.forgotten:
        parts.append(_extension(EXT_FORGOTTEN, FORGOTTEN_BODY.pack(node_id.encode(), seconds)))
    if message.shard_id:
        parts.append(_extension(EXT_SHARD_ID, message.shard_id.encode()))
    return b"".join(parts), len(parts)


def _extension(kind: int, data: bytes) -> bytes:
    padded = data + bytes(-len(data) % 8)
    return EXTENSION.pack(EXTENSION_BYTES + len(padded), kind, 0) + padded


def decode(packet: bytes) -> Message | None:
    """Read one whole packet; None for a type or protocol version that is not ours to judge.

    Raises BadPacket when anything in it contradicts its own length or the alphabet of its field.
    """
    if len(packet) < HEADER_BYTES:
        raise BadPacket(f"a packet has at least {HEADER_BYTES} bytes, this one {len(packet)}")
    fields = HEADER.unpack_from(packet)
    if fields[0] != SIGNATURE or fields[1] != len(packet):
        raise BadPacket("the signature or the length is wrong")
    kind: int = fields[4]
    if fields[2] != PROTOCOL_VERSION or kind >= KINDS:
        return None
    message = Message(kind, node_id_of(fields[9]))
    message.port = fields[3]
    message.current_epoch = fields[6]
    message.config_epoch = fields[7]
    message.offset = fields[8] & 0x7FFFFFFFFFFFFFFF
    message.slots = bitmap_to_mask(fields[10])
    if fields[11] != NO_NODE_ID:
        message.master_id = node_id_of(fields[11])
    message.ip = _address_of(fields[12])
    message.plain_port = fields[15]
    message.bus_port = fields[16]
    message.flags = fields[17]
    message.state_is_ok = fields[18] == 0
    message.mflags = fields[19][0]
    magic, version, mark_flags, _, data_epoch = MARK.unpack(fields[14])
    if magic == MARK_MAGIC and version >= 1:
        message.is_redoubt = True
        message.mark_flags = mark_flags
        message.data_epoch = data_epoch
    _decode_body(message, packet, fields[5], fields[13])
    return message


def _decode_body(message: Message, packet: bytes, entries: int, extensions: int) -> None:
    kind = message.kind
    size = len(packet) - HEADER_BYTES
    if kind in (PING, PONG, MEET):
        end = HEADER_BYTES + entries * GOSSIP_BYTES
        if end > len(packet):
            raise BadPacket(f"{entries} gossip entries do not fit into {size} bytes")
        for start in range(HEADER_BYTES, end, GOSSIP_BYTES):
            message.gossip.append(_decode_gossip(packet, start))
        if not message.mflags & EXTENSIONS:
            extensions = 0
        _decode_extensions(message, packet, end, extensions)
    elif kind == FAIL:
        _expect(size, NODE_ID_LENGTH)
        message.about = node_id_of(packet[HEADER_BYTES:])
    elif kind == UPDATE:
        _expect(size, UPDATE_BODY.size)
        epoch, name, bitmap = UPDATE_BODY.unpack_from(packet, HEADER_BYTES)
        message.about = node_id_of(name)
        message.about_epoch = epoch
        message.about_slots = bitmap_to_mask(bitmap)
    elif kind in (PUBLISH, PUBLISH_SHARD):
        if size < PUBLISH_BODY.size:
            raise BadPacket(f"a publication has at least {PUBLISH_BODY.size} bytes, this one {size}")
        channel_length, payload_length = PUBLISH_BODY.unpack_from(packet, HEADER_BYTES)
        _expect(size, PUBLISH_BODY.size + channel_length + payload_length)
        start = HEADER_BYTES + PUBLISH_BODY.size
        message.channel = packet[start : start + channel_length]
        message.payload = packet[start + channel_length :]
    elif kind != MODULE:
        _expect(size, 0)


def _expect(size: int, expected: int) -> None:
    if size != expected:
        raise BadPacket(f"expected a body of {expected} bytes, found {size}")


def _decode_gossip(packet: bytes, start: int) -> GossipEntry:
    name, ping_sent_s, pong_received_s, ip, port, bus_port, flags, plain_port, _ = GOSSIP.unpack_from(
        packet, start
    )
    entry = GossipEntry(
        node_id_of(name), ping_sent_s, pong_received_s, _address_of(ip), port, bus_port, flags
    )
    entry.plain_port = plain_port
    return entry


def _decode_extensions(message: Message, packet: bytes, position: int, extensions: int) -> None:
    """Read the extensions; unknown types are skipped, bytes left over are a lie about the length."""
    for _ in range(extensions):
        if position + EXTENSION_BYTES > len(packet):
            raise BadPacket("a ping extension lies beyond the packet")
        length, kind, _ = EXTENSION.unpack_from(packet, position)
        if length < EXTENSION_BYTES or length % 8 or position + length > len(packet):
            raise BadPacket(f"a ping extension claims {length} bytes")
        data = packet[position + EXTENSION_BYTES : position + length]
        position += length
        if kind == EXT_HOSTNAME:
            message.hostname = _name_of(data)
        elif kind == EXT_HUMAN_NAME:
            message.human_name = _name_of(data)
        elif kind == EXT_FORGOTTEN and len(data) == FORGOTTEN_BODY.size:
            name, seconds = FORGOTTEN_BODY.unpack(data)
            message.forgotten.append((node_id_of(name), seconds))
        elif kind == EXT_SHARD_ID and len(data) == NODE_ID_LENGTH:
            message.shard_id = node_id_of(data)
    if position != len(packet):
        raise BadPacket(f"{len(packet) - position} bytes follow the last part of the packet")


def node_id_of(field: bytes) -> str:
    """Read a node or shard id: 40 lower-case hexadecimal digits."""
    if not _HEX.issuperset(field):
        raise BadPacket("a node id has other than hexadecimal digits")
    return field.decode("ascii")


def _address_of(field: bytes) -> str:
    address = field.partition(b"\0")[0]
    if not _ADDRESS.issuperset(address):
        raise BadPacket("an address has other than the characters of an IP address")
    return address.decode("ascii")


def _name_of(field: bytes) -> str:
    name = field.partition(b"\0")[0]
    if len(name) > NAME_LENGTH_MAX or not _NAME.issuperset(name):
        raise BadPacket("a host name has other than the characters of a host name")
    return name.decode("ascii")

"""The codec of the bus: exact bytes, round trips, and packets that lie."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redoubt.cluster import messages
from redoubt.cluster.messages import HEADER_BYTES, BadPacket, GossipEntry, Message
from redoubt.cluster.packets import PACKET_BYTES_MAX, PacketReader
from redoubt.cluster.slots import mask_of

IDS = st.integers(0, (1 << 160) - 1).map(lambda number: f"{number:040x}")
PORTS = st.integers(0, 65535)
EPOCHS = st.integers(0, (1 << 63) - 1)


@st.composite
def entries(draw: st.DrawFn) -> GossipEntry:
    entry = GossipEntry(
        draw(IDS),
        draw(st.integers(0, 2**32 - 1)),
        draw(st.integers(0, 2**32 - 1)),
        draw(st.sampled_from(["", "127.0.0.1", "10.20.30.40", "fe80::1"])),
        draw(PORTS),
        draw(PORTS),
        draw(PORTS),
    )
    entry.plain_port = draw(PORTS)
    return entry


@st.composite
def packets(draw: st.DrawFn) -> Message:
    message = Message(draw(st.sampled_from([0, 1, 2, 3, 4, 5, 6, 7, 8, 10])), draw(IDS))
    message.port, message.bus_port, message.plain_port = draw(PORTS), draw(PORTS), draw(PORTS)
    message.current_epoch, message.config_epoch, message.offset = draw(EPOCHS), draw(EPOCHS), draw(EPOCHS)
    message.slots = mask_of(draw(st.sets(st.integers(0, 16383), max_size=20)))
    message.master_id = draw(st.just("") | IDS.filter(lambda text: text != "0" * 40))
    message.ip = draw(st.sampled_from(["", "127.0.0.1", "::1"]))
    message.flags = draw(PORTS)
    message.state_is_ok = draw(st.booleans())
    message.is_redoubt = draw(st.booleans())
    if message.is_redoubt:
        message.mark_flags, message.data_epoch = draw(st.integers(0, 255)), draw(EPOCHS)
    kind = message.kind
    if kind in (messages.PING, messages.PONG, messages.MEET):
        message.mflags = messages.EXTENSIONS
        message.gossip = draw(st.lists(entries(), max_size=4))
        message.hostname = draw(st.none() | st.just("node-1.example.com"))
        message.human_name = draw(st.none() | st.just("blue"))
        message.shard_id = draw(st.just("") | IDS)
        message.forgotten = draw(st.lists(st.tuples(IDS, st.integers(0, 60)), max_size=2))
    elif kind in (messages.FAIL, messages.UPDATE):
        message.about = draw(IDS)
    if kind == messages.UPDATE:
        message.about_epoch = draw(EPOCHS)
        message.about_slots = mask_of(draw(st.sets(st.integers(0, 16383), max_size=20)))
    elif kind in (messages.PUBLISH, messages.PUBLISH_SHARD):
        message.channel, message.payload = draw(st.binary(max_size=40)), draw(st.binary(max_size=40))
    return message


def attributes(thing: object) -> dict[str, object]:
    """Read what an object has; compiled classes have no __dict__."""
    return {name: getattr(thing, name) for name in dir(thing) if not name.startswith("_")}


def fields(message: Message) -> dict[str, object]:
    return {**attributes(message), "gossip": [attributes(entry) for entry in message.gossip]}


@given(packets())
def test_every_message_reads_back_as_it_was_written(message: Message) -> None:
    decoded = messages.decode(messages.encode(message))
    assert decoded is not None
    assert fields(decoded) == fields(message)


def test_a_fail_message_has_the_layout_of_redis() -> None:
    message = Message(messages.FAIL, "a" * 40)
    message.about = "b" * 40
    message.port, message.bus_port = 6379, 16379
    message.current_epoch, message.config_epoch, message.offset = 7, 5, 9
    message.slots = 1
    message.master_id = "c" * 40
    message.ip = "10.0.0.1"
    message.flags = 1
    message.state_is_ok = False
    expected = (
        b"RCmb" + (2256 + 40).to_bytes(4, "big") + b"\x00\x01" + (6379).to_bytes(2, "big")
        + b"\x00\x03\x00\x00"
        + (7).to_bytes(8, "big") + (5).to_bytes(8, "big") + (9).to_bytes(8, "big")
        + b"a" * 40 + b"\x01" + bytes(2047) + b"c" * 40 + b"10.0.0.1" + bytes(38)
        + bytes(2) + bytes(30) + bytes(2) + (16379).to_bytes(2, "big") + b"\x00\x01" + b"\x01" + bytes(3)
        + b"b" * 40
    )  # fmt: skip
    assert messages.encode(message) == expected


def test_real_redis_reads_nothing_into_the_mark_and_we_read_none_into_zeroes() -> None:
    plain = Message(messages.MFSTART, "a" * 40)
    marked = Message(messages.MFSTART, "a" * 40)
    marked.is_redoubt = True
    marked.mark_flags = messages.MARK_SYNCED
    one, other = messages.encode(plain), messages.encode(marked)
    different = [at for at in range(HEADER_BYTES) if one[at] != other[at]]
    assert min(different) >= 2216
    assert max(different) < 2246  # the 30 reserved bytes
    decoded = messages.decode(one)
    assert decoded is not None
    assert not decoded.is_redoubt


def test_an_unknown_extension_is_skipped() -> None:
    message = Message(messages.PING, "a" * 40)
    message.mflags = messages.EXTENSIONS
    packet = bytearray(messages.encode(message))
    packet[4:8] = (HEADER_BYTES + 16).to_bytes(4, "big")
    packet[2214:2216] = (1).to_bytes(2, "big")
    packet += (16).to_bytes(4, "big") + (77).to_bytes(2, "big") + bytes(10)
    decoded = messages.decode(bytes(packet))
    assert decoded is not None
    assert decoded.hostname is None


def test_types_and_versions_of_the_future_are_ignored() -> None:
    packet = bytearray(messages.encode(Message(messages.MFSTART, "a" * 40)))
    packet[12:14] = b"\x00\x63"
    assert messages.decode(bytes(packet)) is None
    packet[8:10] = b"\x00\x02"
    assert messages.decode(bytes(packet)) is None


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (40, b"Z" * 40),  # the sender is no node id
        (2128, b"g" * 40),  # nor is its master
        (2168, b"10.0.0.1;rm"),  # the address is none
        (4, b"\xff\xff\xff\xff"),  # the length is a lie
        (14, b"\xff\xff"),  # more gossip than bytes
        (0, b"RCmX"),
    ],
)
def test_a_packet_that_contradicts_itself_is_refused(at: int, value: bytes) -> None:
    packet = bytearray(messages.encode(Message(messages.PING, "a" * 40)))
    packet[at : at + len(value)] = value
    with pytest.raises(BadPacket):
        messages.decode(bytes(packet))


@settings(max_examples=300)
@given(packets(), st.data())
def test_damaged_packets_are_read_or_refused_but_nothing_else(message: Message, data: st.DataObject) -> None:
    packet = bytearray(messages.encode(message))
    for _ in range(data.draw(st.integers(1, 8))):
        packet[data.draw(st.integers(0, len(packet) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(packet)))
    for damaged in (bytes(packet), bytes(packet[:cut])):
        try:
            messages.decode(damaged)
        except BadPacket:
            pass


@given(st.binary(max_size=6000))
def test_random_bytes_never_crash_the_decoder_or_the_reader(data: bytes) -> None:
    header = b"RCmb" + len(data).to_bytes(4, "big") + b"\x00\x01"
    for candidate in (data, header + data[10:]):
        try:
            messages.decode(candidate)
        except BadPacket:
            pass
        try:
            PacketReader().feed(candidate)
        except BadPacket:
            pass


@given(st.lists(packets(), max_size=4), st.lists(st.integers(1, 3000), min_size=1, max_size=30))
def test_any_split_of_the_stream_gives_the_same_packets(stream: list[Message], sizes: list[int]) -> None:
    whole = [messages.encode(message) for message in stream]
    data = b"".join(whole)
    reader = PacketReader()
    found: list[bytes] = []
    at = 0
    for size in sizes:
        found += reader.feed(data[at : at + size])
        at += size
    found += reader.feed(data[at:])
    assert found == whole


def test_a_stranger_may_not_announce_more_than_a_ping_can_need() -> None:
    reader = PacketReader()
    claim = b"RCmb" + (PACKET_BYTES_MAX + 1).to_bytes(4, "big") + b"\x00\x01\x00\x00\x00\x04\x00\x00"
    with pytest.raises(BadPacket):
        reader.feed(claim)
    known = PacketReader()
    known.may_publish = True
    assert known.feed(claim) == []

"""Streams in nodes of every size against a plain dict; damaged nodes."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from redoubt.data.limits import Limits
from redoubt.data.memory import size_of_bytes
from redoubt.data.stream import NODE_BYTES, STREAM_BYTES, Stream
from redoubt.data.stream_group import READ_UNKNOWN
from redoubt.data.stream_id import ID_MAX, SEQUENCE_MAX, make_id
from redoubt.data.stream_node import NodeReader, appended, empty_node, is_sound_node, with_deleted
from redoubt.data.stream_trim import Trim
from redoubt.data.structure import STRUCTURE_BYTES

FIELDS = st.sampled_from([[b"a"], [b"a"], [b"a", b"b"], [b"b"], [b"", b"12", b"x"]])
VALUES = st.one_of(st.integers(-300, 300).map(lambda number: b"%d" % number), st.binary(max_size=9))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), FIELDS, VALUES),
        st.tuples(st.just("add"), FIELDS, VALUES),
        st.tuples(st.just("delete"), st.integers(0, 40), st.none()),
        st.tuples(st.just("trim length"), st.integers(0, 20), st.booleans()),
        st.tuples(st.just("trim id"), st.integers(0, 40), st.booleans()),
    ),
    max_size=60,
)
# Differences of sequences go beyond 63 bits.
SEQUENCES = (0, 1 << 63, SEQUENCE_MAX)
IDS = [make_id(number // 3, SEQUENCES[number % 3]) for number in range(3, 64)]


def limits_of(entries: int, size: int) -> Limits:
    limits = Limits()
    limits.stream_entries, limits.stream_bytes = entries, size
    return limits


def contents(stream: Stream, is_reversed: bool = False) -> list[tuple[int, list[bytes]]]:
    return [(entry.entry_id, entry.items) for entry in stream.range(0, ID_MAX, 0, is_reversed)]


@given(
    STEPS,
    st.sampled_from([(0, 0), (3, 0), (0, 60), (2, 40), (100, 4096)]),
    st.tuples(*[st.integers(0, 60)] * 2),
)
def test_a_stream_agrees_with_a_dict(
    steps: list[tuple[str, object, object]], sizes: tuple[int, int], bounds: tuple[int, int]
) -> None:
    stream, model, limits = Stream(), dict[int, list[bytes]](), limits_of(*sizes)
    fresh = iter(IDS)
    for what, first, second in steps:
        if isinstance(first, list) and isinstance(second, bytes):
            items = [word for field in first for word in (field, second)]
            entry_id = next(fresh)
            stream.append(entry_id, items, limits)
            model[entry_id] = items
        elif what == "delete" and isinstance(first, int):
            assert stream.delete(IDS[first]) == (model.pop(IDS[first], None) is not None)
        elif isinstance(first, int):
            is_by_length = what == "trim length"
            before = len(model)
            removed = Trim(is_by_length, first if is_by_length else IDS[first], bool(second)).apply(stream)
            gone = sorted(model)[:removed]
            assert removed == before - stream.length
            if not second:
                expected = max(before - first, 0) if is_by_length else sum(key < IDS[first] for key in model)
                assert removed == expected
            for entry_id in gone:
                del model[entry_id]
        assert contents(stream) == sorted(model.items())
        assert contents(stream, True) == sorted(model.items(), reverse=True)
        assert stream.first_id == min(model, default=0)
        assert stream.last_valid_id() == max(model, default=0)
        nodes = sum(size_of_bytes(pack) + NODE_BYTES for pack in stream.packs)
        assert stream.size_bytes() == STRUCTURE_BYTES + STREAM_BYTES + nodes
        assert all(map(is_sound_node, stream.packs, stream.node_ids))
    low, high = (IDS[bound] for bound in bounds)
    within = [pair for pair in sorted(model.items()) if low <= pair[0] <= high]
    assert [(entry.entry_id, entry.items) for entry in stream.range(low, high, 2)] == within[:2]
    assert [(entry.entry_id, entry.items) for entry in stream.range(low, high, 2, True)] == within[-2:][::-1]


def test_a_node_grows_up_to_its_limits_only() -> None:
    stream = Stream()
    for number in range(1, 11):
        stream.append(number, [b"f", b"v"], limits_of(3, 4096))
    assert stream.node_ids == [1, 4, 7, 10]


def test_equal_fields_are_stored_once() -> None:
    node = empty_node([b"a long name of a field", b"1"])
    grown = appended(appended(node, 5, 5, [b"a long name of a field", b"1"]), 5, 6, [b"other", b"2"])
    assert (grown.count(b"a long name"), grown.count(b"other")) == (1, 1)
    reader = NodeReader(grown, 5)
    assert reader.next() and reader.items() == [b"a long name of a field", b"1"]
    assert reader.next() and reader.items() == [b"other", b"2"]
    assert not reader.next()


def test_a_damaged_node_is_refused_or_can_be_read() -> None:
    draw = random.Random(5)
    node = empty_node([b"a", b"", b"b", b""])
    for number in range(5):
        node = appended(node, 10, 10 + number, [b"a", b"%d" % number, b"b", b"x" * number])
    node = appended(node, 10, 20, [b"other", b"y"])
    first = NodeReader(node, 10)
    assert first.next()
    node = with_deleted(node, [first.entry_at])
    assert is_sound_node(node, 10)
    refused = 0
    for _ in range(3000):
        place = draw.randrange(len(node))
        broken = node[:place] + bytes([node[place] ^ draw.randrange(1, 256)]) + node[place + 1 :]
        if not is_sound_node(broken, 10):
            refused += 1
            continue
        forwards, backwards = NodeReader(broken, 10), NodeReader(broken, 10, True)
        there, back = [], []
        while forwards.next():
            there.append((forwards.entry_id, forwards.items()))
        while backwards.previous():
            back.append((backwards.entry_id, backwards.items()))
        assert there == back[::-1]
    assert refused > 1000


def test_the_tally_of_groups_follows_every_change() -> None:
    stream = Stream()
    empty = stream.size_bytes()
    for number in range(1, 21):
        stream.append(number, [b"f", b"v"], Limits())
    with_entries = stream.size_bytes()
    group = stream.add_group(b"g", 0, 0)
    alice, bob = group.add_consumer(b"alice", 1), group.add_consumer(b"bob", 1)
    for number in range(1, 11):
        group.assign(number, alice, 1, 1)
    for number in range(3, 7):
        group.assign(number, bob, 2, 2)
    assert group.release(5) and not group.release(5)
    twin = stream.copy()
    assert twin.size_bytes() == stream.size_bytes()
    assert (group.delete_consumer(b"bob"), group.delete_consumer(b"bob")) == (3, -1)
    assert (group.pending.total, alice.pending.total) == (6, 6)
    assert stream.delete_group(b"g") and not stream.delete_group(b"g")
    assert stream.size_bytes() == with_entries
    assert isinstance(twin, Stream) and twin.groups[b"g"].pending.total == 9
    assert Trim(True, 0, False).apply(stream) == 20 and stream.size_bytes() == empty


def test_how_far_a_group_lags_is_unknown_where_entries_ahead_were_deleted() -> None:
    stream = Stream()
    group = stream.add_group(b"g", 0, READ_UNKNOWN)
    assert stream.lag_of(group) == 0
    for number in range(1, 6):
        stream.append(number, [b"f", b"v"], Limits())
    assert stream.lag_of(group) == 5
    stream.note_delivered(group, 1)
    assert (group.entries_read, stream.lag_of(group)) == (1, 4)
    stream.delete(3)
    assert stream.lag_of(group) is None
    stream.note_delivered(group, 2)
    assert group.entries_read == READ_UNKNOWN
    stream.note_delivered(group, 5)
    assert (group.entries_read, stream.lag_of(group)) == (5, 0)

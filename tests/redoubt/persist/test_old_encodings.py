"""What Redis before 7.0 wrote: ziplists, zipmaps, quicklists of ziplists, expiry in seconds, no checksum."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redoubt.data.hash import Hash
from redoubt.data.limits import Limits
from redoubt.data.list import TextList
from redoubt.data.sorted_set import SortedSet
from redoubt.data.text import Value
from redoubt.persist.rdb_format import CorruptFile, module_name
from redoubt.persist.rdb_read import RdbReader, RdbSink
from redoubt.persist.rdb_ziplist import ziplist_texts, zipmap_texts
from tests.redoubt.persist.old_encodings import entry, file, length, string, ziplist, zipmap

EDGES = [
    b"", b"x", b"x" * 63, b"y" * 64, b"z" * 253, b"z" * 254, b"w" * 16383, b"v" * 16384, b"\xff" * 5, b"007",
    b"-0", b"+1", b"9223372036854775808", b"-9223372036854775809",
    *(b"%d" % number for exponent in (0, 3, 4, 7, 8, 12, 15, 16, 23, 24, 31, 32, 63)
      for number in ((1 << exponent) - 1, -(1 << exponent))),
    *(b"%d" % number for number in range(15)),
]  # fmt: skip
texts = st.one_of(
    st.sampled_from(EDGES), st.binary(max_size=70), st.integers(-(1 << 63), (1 << 63) - 1).map(b"%d".__mod__)
)
MODULE_ID = 0x8C4BB0B4C9C2D000


class Contents(RdbSink):
    """The last key of a stream."""

    def __init__(self) -> None:
        self.value: Value = b""
        self.expires_ms = 0
        self.uses: list[tuple[int, int]] = []

    def use(self, idle_s: int, frequency: int) -> None:
        self.uses.append((idle_s, frequency))

    def entry(self, database: int, key: bytes, value: Value, expires_ms: int) -> None:
        self.value = value
        self.expires_ms = expires_ms


def read(data: bytes, step: int = 0, limits: Limits | None = None) -> Contents:
    sink = Contents()
    reader = RdbReader("old.rdb", sink, limits=limits)
    step = step or len(data)
    for start in range(0, len(data), step):
        reader.feed(data[start : start + step])
        while reader.advance(10):
            pass
    reader.finish()
    return sink


def value_of(type_byte: int, value: bytes, version: int = 6, limits: Limits | None = None) -> Value:
    return read(file(entry(type_byte, b"k", value), version), limits=limits).value


@given(words=st.lists(texts, max_size=40))
def test_a_ziplist_gives_back_its_texts(words: list[bytes]) -> None:
    assert ziplist_texts(ziplist(words)) == words


def test_a_ziplist_of_more_entries_than_its_header_counts() -> None:
    words = [b"%d" % number for number in range(70_000)]
    assert ziplist_texts(ziplist(words)) == words


@given(
    pairs=st.lists(st.tuples(st.binary(max_size=300), st.binary(max_size=300)), max_size=10),
    unused=st.integers(0, 5),
)
def test_a_zipmap_gives_back_its_pairs(pairs: list[tuple[bytes, bytes]], unused: int) -> None:
    assert zipmap_texts(zipmap(pairs, unused)) == [word for pair in pairs for word in pair]


@settings(max_examples=500, deadline=None)
@given(data=st.data())
def test_what_is_altered_is_refused_or_read_as_texts(data: st.DataObject) -> None:
    words = data.draw(st.lists(texts.filter(lambda text: len(text) < 300), min_size=1, max_size=8))
    original = data.draw(st.sampled_from([ziplist(words), zipmap([(word, word) for word in words])]))
    altered = bytearray(original)
    for _ in range(data.draw(st.integers(1, 3))):
        altered[data.draw(st.integers(0, len(altered) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(altered[: data.draw(st.integers(0, len(altered)))])
    for candidate in (bytes(altered), cut):
        for found in (ziplist_texts(candidate), zipmap_texts(candidate)):
            assert found is None or sum(map(len, found)) <= len(candidate) * 20


@pytest.mark.parametrize(
    "alter",
    [
        lambda pack: pack[:-1],  # no end
        lambda pack: pack[:-1] + b"\x00",  # another end
        lambda pack: pack + b"\xff",  # longer than it says
        lambda pack: pack[:4] + b"\x0b" + pack[5:],  # the last entry elsewhere
        lambda pack: pack[:8] + b"\x07" + pack[9:],  # another count
        lambda pack: pack[:12] + b"\x09" + pack[13:],  # an entry before of another length
        lambda pack: pack[:11] + b"\x3f" + pack[12:],  # a text that reaches beyond the end
        lambda pack: pack[:11] + b"\xc1" + pack[12:],  # an encoding that does not exist
    ],
)
def test_a_damaged_ziplist_is_none(alter: object) -> None:
    assert callable(alter)
    assert ziplist_texts(alter(ziplist([b"5", b"bb", b"ccc"]))) is None


def test_a_list_of_each_age() -> None:
    words = [b"a", b"17", b"c" * 300, b"-5"]
    for type_byte, value in (
        (1, length(4) + b"".join(string(word) for word in words)),
        (10, string(ziplist(words))),
        (14, length(2) + string(ziplist(words[:1])) + string(ziplist(words[1:]))),
    ):
        found = value_of(type_byte, value)
        assert isinstance(found, TextList)
        assert found.slice(0, found.count()) == words


def test_an_old_list_is_cut_into_chunks_as_our_limits_say() -> None:
    limits = Limits()
    limits.list_elements = 2
    found = value_of(10, string(ziplist([b"1", b"2", b"3", b"4", b"5"])), limits=limits)
    assert isinstance(found, TextList)
    assert found.counts == [2, 2, 1]


@pytest.mark.parametrize(("type_byte", "pack"), [
    (13, ziplist([b"f", b"1", b"g", b"two"])), (9, zipmap([(b"f", b"1"), (b"g", b"two")], unused=3)),
])  # fmt: skip
def test_a_hash_of_each_age(type_byte: int, pack: bytes) -> None:
    found = value_of(type_byte, string(pack), version=2)
    assert isinstance(found, Hash)
    assert found.pairs() == [(b"f", b"1"), (b"g", b"two")]
    assert found.encoding_name() == b"listpack"


def test_a_sorted_set_of_each_age() -> None:
    pairs = [(b"low", -2.5), (b"mid", 3.0), (b"up", float("inf"))]
    as_texts = b"".join(string(name) + score for name, score in zip(
        (b"low", b"mid", b"up"), (b"\x04-2.5", b"\x013", b"\xfe"), strict=True))  # fmt: skip
    for type_byte, value in (
        (3, length(3) + as_texts),
        (12, string(ziplist([b"low", b"-2.5", b"mid", b"3", b"up", b"inf"]))),
    ):
        found = value_of(type_byte, value)
        assert isinstance(found, SortedSet)
        assert found.slice(0, 3) == pairs


def test_old_packs_become_tables_beyond_our_limits() -> None:
    limits = Limits()
    limits.hash_fields = limits.zset_members = 1
    words = [b"a", b"1", b"b", b"2"]
    for type_byte, pack, encoding in (
        (13, ziplist(words), b"hashtable"),
        (9, zipmap([(b"a", b"1"), (b"b", b"2")]), b"hashtable"),
        (12, ziplist(words), b"skiplist"),
    ):
        found = value_of(type_byte, string(pack), limits=limits)
        assert isinstance(found, Hash | SortedSet)
        assert found.encoding_name() == encoding

    for type_byte, words, encoding in (
        (13, [b"f", b"v" * 65], b"hashtable"),
        (12, [b"m" * 65, b"1"], b"skiplist"),
    ):
        found = value_of(type_byte, string(ziplist(words)))
        assert isinstance(found, Hash | SortedSet)
        assert found.encoding_name() == encoding


@pytest.mark.parametrize(
    ("type_byte", "pack"),
    [
        (9, zipmap([])),
        (9, zipmap([(b"f", b"1"), (b"f", b"2")])),
        (10, ziplist([])),
        (12, ziplist([b"a", b"2", b"b", b"1"])),
        (12, ziplist([b"a", b"nan"])),
        (12, ziplist([b"a", b"text"])),
        (12, ziplist([b"a", b"1", b"b"])),
        (13, ziplist([b"f"])),
        (13, ziplist([b"f", b"1", b"f", b"1"])),
        (13, b"no ziplist"),
    ],
)
def test_packs_that_contradict_their_type_are_refused(type_byte: int, pack: bytes) -> None:
    with pytest.raises(CorruptFile):
        value_of(type_byte, string(pack))


@pytest.mark.parametrize("version", range(1, 13))
def test_every_version_is_read_with_or_without_its_checksum(version: int) -> None:
    body = b"\xfe\x00\xfd" + (1_800_000_000).to_bytes(4, "little") + entry(0, b"k", string(b"text"))
    data = file(body, version)
    for step in (1, 1000):
        found = read(data, step)
        assert (found.value, found.expires_ms) == (b"text", 1_800_000_000_000)


def test_hints_of_use_are_handed_on() -> None:
    text = entry(0, b"k", string(b"text"))
    data = file(b"\xf8\x40\x64" + text + b"\xf9\xc8" + text + text, 9)
    assert read(data).uses == [(100, -1), (-1, 200)]


def test_modules_are_refused_by_the_name_in_their_id() -> None:
    number = b"\x81" + MODULE_ID.to_bytes(8, "big")
    name = module_name(MODULE_ID)
    assert len(name) == 9
    for body in (b"\xf7" + number, entry(7, b"k", number), entry(6, b"k", number)):
        with pytest.raises(CorruptFile, match="module data I can't load: no matching module") as refusal:
            read(file(body, 9))
        assert repr(name) in str(refusal.value)


def test_a_pack_that_is_believed_and_breaks_stops_the_load_with_its_place() -> None:
    limits = Limits()
    limits.checks_files = False
    limits.hash_fields = 1
    pack = b"\x0b\x00\x00\x00\x04\x00" + b"\xf0\x01\x01\xf4" + b"\xff"
    with pytest.raises(CorruptFile, match="at byte"):
        value_of(16, string(pack), limits=limits)

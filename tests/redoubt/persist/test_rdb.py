"""RDB files: what is written is read back, as Redis writes it, and nothing broken is accepted."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redoubt.data.structure import Structure
from redoubt.data.text import GrowableText, text_bytes
from redoubt.persist.checksum import crc64
from redoubt.persist.rdb_format import CorruptFile
from redoubt.persist.rdb_read import RdbReader, RdbSink
from redoubt.persist.rdb_write import RdbWriter


class Collected(RdbSink):
    """Everything that a stream held, in order."""

    def __init__(self):
        self.fields = []
        self.sizes = []
        self.entries = []
        self.functions = []

    def field(self, name, text):
        self.fields.append((name, text))

    def resize(self, database, key_count, expiry_count):
        self.sizes.append((database, key_count, expiry_count))

    def entry(self, database, key, value, expires_ms):
        content = value if isinstance(value, Structure) else text_bytes(value)
        self.entries.append((database, key, content, expires_ms))

    def function(self, library):
        self.functions.append(library)


def read(data: bytes, step: int = 0, **limits) -> Collected:
    sink = Collected()
    reader = RdbReader("test.rdb", sink, **limits)
    step = step or max(len(data), 1)
    for start in range(0, len(data), step):
        reader.feed(data[start : start + step])
        while reader.advance(3):
            pass
    reader.finish()
    sink.rest = reader.rest()
    return sink


def written(*entries, compressed=True, checksummed=True) -> bytes:
    writer = RdbWriter(compressed, checksummed)
    writer.header([(b"redis-ver", b"7.2.4")])
    for database, key, value, expires_ms in entries:
        writer.select(database)
        writer.entry(key, value, expires_ms)
    writer.end()
    return writer.take()


def sealed(body: bytes, version: bytes = b"REDIS0010") -> bytes:
    data = version + body + b"\xff"
    return data + crc64(data).to_bytes(8, "little")


def test_checksum_is_the_variant_of_redis():
    assert crc64(b"123456789") == 0xE9C6D914C4B8D9CA
    assert crc64(b"6789", crc64(b"12345")) == 0xE9C6D914C4B8D9CA


def test_entry_is_written_as_redis_writes_it():
    data = written((0, b"key", b"value", 0), checksummed=False)
    assert data == b"REDIS0010\xfa\x09redis-ver\x057.2.4\xfe\x00\x00\x03key\x05value\xff" + bytes(8)


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        (b"", b"\x00"),
        (b"0", b"\xc0\x00"),
        (b"-1", b"\xc0\xff"),
        (b"127", b"\xc0\x7f"),
        (b"128", b"\xc1\x80\x00"),
        (b"-32768", b"\xc1\x00\x80"),
        (b"32768", b"\xc2\x00\x80\x00\x00"),
        (b"2147483647", b"\xc2\xff\xff\xff\x7f"),
        (b"-2147483648", b"\xc2\x00\x00\x00\x80"),
        (b"2147483648", b"\x0a2147483648"),
        (b"007", b"\x03007"),
        (b"-0", b"\x02-0"),
        (b"+1", b"\x02+1"),
        (b"1" * 63, None),
        (b"b" * 20, b"\x14" + b"b" * 20),
    ],
)
def test_each_encoding_of_a_string(text, stored):
    data = written((0, b"k", text, 0), checksummed=False)
    if stored is not None:
        assert data[: -len(b"\xff" + bytes(8))].endswith(b"\x00\x01k" + stored)
    assert read(data).entries == [(0, b"k", text, 0)]


def test_the_three_representations_of_a_string_are_written_alike():
    files = {written((0, b"k", value, 0)) for value in (1234, b"1234", GrowableText(b"1234"))}
    assert len(files) == 1


def test_long_texts_are_compressed_where_it_helps():
    plain = written((0, b"k", b"a" * 500, 0), compressed=False)
    packed = written((0, b"k", b"a" * 500, 0))
    assert len(packed) < 80 < len(plain)
    assert read(packed).entries == read(plain).entries == [(0, b"k", b"a" * 500, 0)]


def test_lengths_of_one_two_and_five_bytes():
    texts = [b"x" * size for size in (62, 63, 64, 16382, 16383, 16384, 70000)]
    data = written(*[(0, b"k", text, 0) for text in texts], compressed=False)
    assert [entry[2] for entry in read(data, step=100).entries] == texts


def test_lengths_of_nine_bytes_are_read():
    data = sealed(b"\x00\x01k\x81" + (5).to_bytes(8, "big") + b"value")
    assert read(data).entries == [(0, b"k", b"value", 0)]


def test_expiry_in_seconds_and_in_milliseconds():
    data = sealed(
        b"\xfd" + struct.pack("<i", 1000) + b"\x00\x01s\x01v"
        + b"\xfc" + struct.pack("<q", 1234567) + b"\x00\x01m\x01v"
        + b"\x00\x01n\x01v"
    )  # fmt: skip
    assert read(data).entries == [(0, b"s", b"v", 1000000), (0, b"m", b"v", 1234567), (0, b"n", b"v", 0)]


def test_everything_beside_keys_is_understood():
    data = sealed(
        b"\xfa\x04name\xc0\x05"  # an auxiliary field whose text is an integer
        b"\xf5\x07library"
        b"\xfe\x02\xfb\x02\x01"  # database 2 with two keys, one of them expiring
        b"\xf4\x0a\x02\x01"  # sizes of slot 10
        b"\xf8\x40\x64\x00\x01a\x01v"  # idle for 100 seconds
        b"\xf9\xff\x00\x01b\x01w"  # frequency 255
    )
    found = read(data, step=1)
    assert found.fields == [(b"name", b"5")]
    assert found.functions == [b"library"]
    assert found.sizes == [(2, 2, 1)]
    assert found.entries == [(2, b"a", b"v", 0), (2, b"b", b"w", 0)]


def test_slot_import_of_valkey_is_skipped():
    data = sealed(b"\xf3\x28" + b"j" * 40 + b"\x01\x00\x45\x00\x00\x01a\x01v", b"VALKEY080")
    assert read(data).entries == [(0, b"a", b"v", 0)]


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_versions_before_five_have_no_checksum(version):
    assert read(b"REDIS%04d\x00\x01k\x01v\xff" % version).entries == [(0, b"k", b"v", 0)]


@pytest.mark.parametrize("version", [5, 6, 7, 8, 9, 10, 11, 12])
def test_versions_up_to_twelve_are_read(version):
    assert read(sealed(b"\x00\x01k\x01v", b"REDIS%04d" % version)).entries == [(0, b"k", b"v", 0)]


def test_what_follows_the_end_is_left():
    data = written((0, b"k", b"v", 0))
    for step in (1, 7, len(data) + 100):
        sink = Collected()
        reader = RdbReader("stream", sink)
        rest = b""
        for start in range(0, len(data + b"PING\r\n"), step):
            reader.feed((data + b"PING\r\n")[start : start + step])
            if not reader.is_done:
                reader.advance(100)
            if reader.is_done:
                rest += reader.rest()
        assert rest == b"PING\r\n"
        assert sink.entries == [(0, b"k", b"v", 0)]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"RUBY00010", "the magic REDIS or VALKEY"),
        (b"REDIS0013", "version from 1 to 12, found 0013"),
        (b"REDIS0000", "version from 1 to 12"),
        (b"VALKEY081", "version from 80 to 80"),
        (sealed(b"\x1e\x01k\x01\x01v"), "an opcode or a value of a known type, found the byte 30"),
        (sealed(b"\xf0"), "found the byte 240"),
        (sealed(b"\xf3\x00\x00"), "found the byte 243"),
        (sealed(b"\x00\x01k\xc4"), "a string, found the unknown encoding 4"),
        (sealed(b"\x00\x82k"), "a length, found the byte 0x82"),
        (sealed(b"\xfe\xc0\x01"), "a length, found the string encoding 0xc0"),
        (sealed(b"\x00\x81" + b"\xff" * 8), "a string of at most"),
        (sealed(b"\x00\x01k\xc3\x02\x80\x10\x00\x00\x00ab"), "claim to hold 268435456"),
        (sealed(b"\x00\x01k\xc3\x04\x14\xff\xff\xff\xff"), "a compressed string of 20 bytes"),
        (
            sealed(b"\xf7\x81" + (0x8C4BB0B4C9C2D000).to_bytes(8, "big")),
            "AUX module data I can't load: no matching module",
        ),
        (sealed(b"\x07\x01k\x81" + (0x8C4BB0B4C9C2D000).to_bytes(8, "big")), "(key b'k')"),
        (sealed(b"\xf6\x00"), "functions in the format of Redis 7.0"),
        (sealed(b"")[:-1] + b"\x00", "the checksum"),
        (sealed(b"\x00\x01k\x05val")[:-10], "more bytes, found the end of the file"),
    ],
)
def test_broken_files_are_refused_with_place_and_reason(data, expected):
    with pytest.raises(CorruptFile) as refusal:
        read(data)
    assert expected in str(refusal.value)
    assert str(refusal.value).startswith("test.rdb at byte ")


def test_checksum_zero_means_unchecked():
    assert read(sealed(b"\x00\x01k\x01v")[:-8] + bytes(8)).entries == [(0, b"k", b"v", 0)]


keys = st.binary(max_size=30)
texts = st.one_of(
    st.binary(max_size=200),
    st.integers(-(1 << 64), 1 << 64).map(lambda number: b"%d" % number),
    st.tuples(st.binary(min_size=1, max_size=5), st.integers(1, 9000)).map(lambda pair: pair[0] * pair[1]),
)
entries = st.lists(st.tuples(st.integers(0, 15), keys, texts, st.integers(0, 1 << 50)), max_size=20)


@settings(max_examples=200, deadline=None)
@given(entries=entries, step=st.integers(1, 500), compressed=st.booleans())
def test_whatever_is_written_is_read_back_however_it_is_cut(entries, step, compressed):
    data = written(*entries, compressed=compressed)
    assert read(data, step=step).entries == entries


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_damaged_files_are_never_accepted_as_something_else(data):
    original = written((0, b"key", b"value" * 10, 5), (1, b"n", b"77", 0))
    at = data.draw(st.integers(0, len(original) - 1))
    damaged = bytearray(original)
    damaged[at] ^= data.draw(st.integers(1, 255))
    try:
        found = read(bytes(damaged), text_bytes_max=1000)
    except CorruptFile:
        return
    # Only a stored checksum of zero bytes could pass; one changed byte cannot make eight of them.
    raise AssertionError(f"accepted {bytes(damaged)!r} as {found.entries}")


@settings(max_examples=300, deadline=None)
@given(body=st.binary(max_size=300), step=st.integers(1, 50))
def test_random_bytes_never_crash_the_reader(body, step):
    try:
        read(b"REDIS0010" + body, step=step, text_bytes_max=1000)
    except CorruptFile:
        pass

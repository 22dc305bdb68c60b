"""The payload of DUMP: what a value becomes and back, and what of a damaged one is refused, and how."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redoubt.data.text import GrowableText, Value, text_bytes
from redoubt.persist.payload import FOOTER_BYTES, BadPayload, UntrustedPayload, dump, restore, sealed
from redoubt.persist.rdb_types import READERS

TEXTS = st.one_of(
    st.binary(max_size=100),
    st.integers(-(1 << 63), (1 << 63) - 1).map(lambda number: b"%d" % number),
    st.tuples(st.binary(max_size=5), st.integers(1, 5000)).map(lambda pair: pair[0] * pair[1]),
)


@given(TEXTS, st.booleans())
def test_a_string_comes_back_as_it_was(text: bytes, is_compressed: bool) -> None:
    assert text_bytes(restore(dump(text, is_compressed))) == text
    assert text_bytes(restore(dump(GrowableText(text), is_compressed))) == text


@pytest.mark.parametrize("number", [0, -1, 127, 128, -32768, 65536, (1 << 31) - 1, 1 << 31, -(1 << 63)])
def test_a_counter_comes_back_as_the_same_number(number: int) -> None:
    assert text_bytes(restore(dump(number))) == b"%d" % number


def test_the_payload_is_that_of_redis_byte_for_byte() -> None:
    # As redis-server 7.0.15 answered: SET k 10 / SET k hello, then DUMP k.
    assert dump(10) == dump(b"10") == b"\x00\xc0\n\n\x00n\x9fWE\x0e\xaec\xbb"
    assert dump(b"hello") == b"\x00\x05hello\n\x00cr\xdfve4 \n"


@given(st.binary(max_size=60))
def test_random_bytes_are_never_a_value_and_never_a_crash(payload: bytes) -> None:
    with pytest.raises(UntrustedPayload):
        restore(payload)
    try:
        value: Value | None = restore(sealed(payload))
    except BadPayload:
        value = None
    assert value is None or payload[0] in READERS


@given(TEXTS, st.data())
def test_one_flipped_bit_anywhere_is_noticed(text: bytes, data: st.DataObject) -> None:
    payload = bytearray(dump(text))
    place = data.draw(st.integers(0, len(payload) * 8 - 1))
    payload[place >> 3] ^= 1 << (place & 7)
    with pytest.raises(UntrustedPayload):
        restore(bytes(payload))


@pytest.mark.parametrize("version", [1, 9, 11, 12, 80])
def test_other_versions_that_we_read_are_taken(version: int) -> None:
    assert restore(sealed(b"\x00\x01a", version)) == b"a"


@pytest.mark.parametrize("version", [13, 79, 81, 65535])
def test_versions_that_nobody_here_knows_are_refused(version: int) -> None:
    with pytest.raises(UntrustedPayload):
        restore(sealed(b"\x00\x01a", version))


@pytest.mark.parametrize(
    "body", [b"", b"\x00", b"\x00\x05hell", b"\xfe\x00", b"\x07x", b"\x00\xc3\x03\x0aabc"]
)
def test_a_body_that_is_no_value_is_bad_and_not_untrusted(body: bytes) -> None:
    with pytest.raises(BadPayload):
        restore(sealed(body))


def test_what_follows_the_value_is_ignored_as_redis_does() -> None:
    assert restore(sealed(b"\x00\x01a" + b"rest")) == b"a"
    assert FOOTER_BYTES == 10

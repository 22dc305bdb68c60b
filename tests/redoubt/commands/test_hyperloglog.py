"""HyperLogLogs: estimates, both forms, corrupt values, what is propagated and what only kept."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redoubt.data import hyperloglog as hll
from redoubt.data.hyperloglog import InvalidHyperLogLog
from redoubt.resp.replies import ErrorReply, SimpleString
from tests.redoubt.commands.recorded import Recorded

CORRUPT = ErrorReply(b"INVALIDOBJ Corrupted HLL object detected")
NOT_ONE = ErrorReply(b"WRONGTYPE Key is not a valid HyperLogLog string value.")
# A header that says sparse, and operations for 64 registers only.
SHORT = b"HYLL\x01" + bytes(10) + b"\x80" + b"\x3f"


@pytest.mark.parametrize(
    ("line", "propagated"),
    [
        ("PFADD h a", []),
        ("PFADD h z", ["PFADD h z"]),
        ("PFADD h", []),
        ("PFADD new", ["PFADD new"]),
        ("PFCOUNT h", []),
        ("PFMERGE h", ["PFMERGE h"]),
        ("PFMERGE d h missing", ["PFMERGE d h missing"]),
        ("PFDEBUG ENCODING h", []),
        ("PFDEBUG TODENSE h", ["PFDEBUG TODENSE h"]),
        ("PFDEBUG GETREG h", ["PFDEBUG GETREG h"]),
        ("PFSELFTEST", []),
    ],
)
def test_what_changes_nothing_is_not_propagated(line: str, propagated: list[str]) -> None:
    recorded = Recorded()
    recorded.ask("PFADD h a b c")
    assert recorded.propagates(line) == propagated


def test_a_count_is_kept_until_the_next_addition() -> None:
    recorded = Recorded()
    recorded.ask("PFADD h a b c")
    kept = recorded.client.ask("GET", "h")
    assert isinstance(kept, bytes) and kept[15] == 0x80
    assert recorded.ask("PFCOUNT h") == 3
    kept = recorded.client.ask("GET", "h")
    assert isinstance(kept, bytes) and kept[8:16] == b"\x03" + bytes(7)
    recorded.ask("PFADD h a")
    assert recorded.client.ask("GET", "h") == kept
    recorded.ask("PFADD h d")
    kept = recorded.client.ask("GET", "h")
    assert isinstance(kept, bytes) and kept[15] == 0x80


def test_a_corrupt_value_is_refused_and_left_as_it_is() -> None:
    recorded = Recorded()
    recorded.client.ask("SET", "h", SHORT)
    elements = [f"element:{number}" for number in range(2000)]
    assert recorded.client.ask("PFADD", "h", *elements) == CORRUPT
    assert recorded.client.ask("GET", "h") == SHORT
    assert recorded.ask("PFCOUNT h") == CORRUPT
    assert recorded.ask("PFCOUNT h missing") == CORRUPT
    assert recorded.ask("PFMERGE d h") == CORRUPT
    assert recorded.ask("PFDEBUG GETREG h") == CORRUPT
    assert recorded.ask("PFDEBUG DECODE h") == b"z:64"
    assert recorded.ask("EXISTS d") == 0


@pytest.mark.parametrize("text", [b"", b"HYLL", b"hyll\x01" + bytes(11), b"HYLL\x02" + bytes(11), b"12345"])
def test_other_strings_are_no_hyperloglogs(text: bytes) -> None:
    recorded = Recorded()
    recorded.client.ask("SET", "s", text)
    for line in ("PFADD s a", "PFCOUNT s", "PFCOUNT s s", "PFMERGE d s", "PFMERGE s", "PFDEBUG ENCODING s"):
        assert recorded.ask(line) == NOT_ONE


def test_the_limit_of_the_sparse_form_is_a_directive() -> None:
    recorded = Recorded("--hll-sparse-max-bytes", "24")
    recorded.ask("PFADD h a")
    assert recorded.ask("PFDEBUG ENCODING h") == SimpleString(b"sparse")
    recorded.ask("PFADD h b c d e f")
    assert recorded.ask("PFDEBUG ENCODING h") == SimpleString(b"dense")
    assert recorded.ask("STRLEN h") == hll.DENSE_BYTES


@pytest.mark.parametrize("count", [1, 100, 1000, 10_000, 50_000])
def test_estimates_are_within_four_standard_errors(count: int) -> None:
    text = bytearray(hll.empty())
    for number in range(count):
        hll.add(text, b"element:%d" % number, 3000)
    assert abs(hll.estimate(hll.registers_of(bytes(text))) - count) <= 0.0081 * 4 * count


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, hll.REGISTERS - 1), st.integers(1, 40)), max_size=60))
def test_both_forms_hold_the_same_registers(changes: list[tuple[int, int]]) -> None:
    sparse = bytearray(hll.empty())
    model = bytearray(hll.REGISTERS)
    for index, number in changes:
        registers = bytearray(hll.REGISTERS)
        registers[index] = number
        hll.raise_registers(sparse, bytes(registers), 3000)
        model[index] = max(model[index], number)
    assert hll.registers_of(bytes(sparse)) == bytes(model)
    at_once = bytearray(hll.empty())
    hll.raise_registers(at_once, bytes(model), 3000)
    assert hll.registers_of(bytes(at_once)) == bytes(model)
    hll.make_dense(sparse)
    assert hll.registers_of(bytes(sparse)) == bytes(model)
    assert hll.unpack(hll.pack(bytes(model))) == bytes(model)


@given(st.binary(min_size=64, max_size=64), st.binary(min_size=64, max_size=64))
def test_the_larger_of_each_two_registers_is_kept(one: bytes, other: bytes) -> None:
    left = bytes(byte & 63 for byte in one) * (hll.REGISTERS // 64)
    right = bytes(byte & 63 for byte in other) * (hll.REGISTERS // 64)
    assert hll.highest(left, right) == bytes(map(max, left, right))


def test_operations_beyond_the_registers_are_found_out() -> None:
    for operations in (b"\x7f\xff\x00", b"\x7f", b"", b"\x7f\xfe"):
        with pytest.raises(InvalidHyperLogLog):
            hll.registers_of(b"HYLL\x01" + bytes(11) + operations)
    assert hll.registers_of(b"HYLL\x01" + bytes(11) + b"\x7f\xff") == bytes(hll.REGISTERS)


def test_a_short_string_of_endless_zeros_is_refused_at_once() -> None:
    text = b"HYLL\x01" + bytes(11) + b"\x7f\xff" * 1_000_000  # 16 GiB of registers
    with pytest.raises(InvalidHyperLogLog):
        hll.registers_of(text)


def test_registers_that_are_all_at_their_end_have_an_estimate() -> None:
    assert hll.estimate(bytes([hll.RUN_MAX]) * hll.REGISTERS) == 1 << 63

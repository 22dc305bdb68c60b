"""LCS: the subsequence against the table of the textbook, and the limit of what a call may cost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from redoubt.data.subsequence import longest_length, longest_matches
from redoubt.resp.replies import ErrorReply
from tests.redoubt.commands.recorded import Recorded

TEXTS = st.text("abcd", max_size=30).map(str.encode)


def table_of(one: bytes, other: bytes) -> list[list[int]]:
    """The lengths for all pairs of prefixes."""
    table = [[0] * (len(other) + 1) for _ in range(len(one) + 1)]
    for at, byte in enumerate(one, 1):
        for other_at, other_byte in enumerate(other, 1):
            above, before = table[at - 1][other_at], table[at][other_at - 1]
            table[at][other_at] = (
                table[at - 1][other_at - 1] + 1 if byte == other_byte else max(above, before)
            )
    return table


@given(TEXTS, TEXTS)
def test_the_subsequence_is_the_one_that_the_way_back_through_the_table_finds(
    one: bytes, other: bytes
) -> None:
    table = table_of(one, other)
    assert longest_length(one, other) == table[-1][-1]
    at, other_at = len(one), len(other)
    expected: list[tuple[int, int]] = []
    while at and other_at:
        if one[at - 1] == other[other_at - 1]:
            at, other_at = at - 1, other_at - 1
            expected.append((at, other_at))
        elif table[at - 1][other_at] > table[at][other_at - 1]:
            at -= 1
        else:
            other_at -= 1
    found = [
        (match.last_in_one - back, match.last_in_other - back)
        for match in longest_matches(one, other)
        for back in range(match.length())
    ]
    assert found == expected


def test_what_redis_could_not_hold_is_refused() -> None:
    recorded = Recorded("--proto-max-bulk-len", "1mb")
    recorded.ask("SETRANGE a 600 x")
    recorded.ask("SETRANGE b 400 x")
    assert recorded.ask("LCS a b LEN") == 401
    recorded.ask("SETRANGE b 500 x")
    assert recorded.ask("LCS a b LEN") == ErrorReply(
        b"ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len"
    )


def test_long_strings_are_compared_at_once() -> None:
    recorded = Recorded()
    recorded.client.ask("SET", "a", b"ab" * 2500)
    recorded.client.ask("SET", "b", b"abc" * 1600)
    assert recorded.ask("LCS a b LEN") == 3200
    text = recorded.ask("LCS a b")
    assert isinstance(text, bytes) and len(text) == 3200 and recorded.ask("EXISTS a b") == 2


def test_other_types_are_refused_with_the_words_of_lcs() -> None:
    recorded = Recorded()
    recorded.ask("RPUSH l x")
    error = ErrorReply(b"ERR The specified keys must contain string values")
    assert recorded.ask("LCS l missing") == error
    assert recorded.ask("LCS missing l FOO") == error

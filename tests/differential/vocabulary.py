"""Hypothesis strategies for the arguments of commands: few keys, so that commands meet, and nasty values.

`words` and the modules of single data types make calls of them.
"""

from __future__ import annotations

from hypothesis import strategies as st

Call = list[bytes]
Calls = st.SearchStrategy[Call]

KEYS = st.sampled_from([b"a", b"b", b"c", b"{a}x", b"", b"a key", b"\x00\xff\r\n"])
NEW_KEYS = st.one_of(KEYS, st.binary(max_size=3))
INTEGERS = st.one_of(
    st.integers(-20, 20),
    st.sampled_from([2**63 - 1, -(2**63), 2**63, 2**31, -(2**31) - 1, 10**18]),
).map(lambda number: b"%d" % number)
BAD_NUMBERS = st.sampled_from(
    [b"", b" 1", b"1 ", b"+1", b"01", b"-0", b"1.0", b"0x10", b"ten", b"1e3", b"99999999999999999999", b"-"]
)
NUMBERS = st.one_of(INTEGERS, INTEGERS, INTEGERS, BAD_NUMBERS)
FLOATS = st.one_of(
    st.sampled_from(
        [b"0.1", b"-0.1", b"1e3", b"5.0e-3", b"3.", b".5", b"1e-18", b"12345678901234567.25", b"1e20", b"0.0",
         b"-0", b"inf", b"-inf", b"nan", b"1e400", b"1e5000", b"0x1p-4", b"1_0", b" 1.5", b"1.5 ", b"1.5e"]
    ),
    st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**6), max_value=10**6, places=7).map(
        lambda number: str(number).encode()
    ),
)  # fmt: skip
VALUES = st.one_of(
    st.binary(max_size=8), INTEGERS, FLOATS, BAD_NUMBERS, st.sampled_from([b"x" * 44, b"y" * 45])
)
# Far enough away that nothing expires while a test runs, or already past; in seconds.
SECONDS = st.one_of(
    st.integers(1000, 5000), st.sampled_from([0, -1, -1000, 2**63 // 1000 - 10, 2**63 // 1000, 2**63 - 1])
).map(lambda number: b"%d" % number)
MILLISECONDS = st.one_of(
    st.integers(1_000_000, 5_000_000), st.sampled_from([0, -1, -(10**12), 2**63 - 10, 2**63 - 1, -(2**63)])
).map(lambda number: b"%d" % number)
FAR_SECONDS = st.sampled_from([b"33177117420", b"33177117421", b"1", b"0", b"-5", b"x"])
FAR_MILLISECONDS = st.sampled_from([b"33177117420000", b"33177117421000", b"1", b"0", b"-5", b"x"])
PATTERNS = st.one_of(
    st.sampled_from(
        [b"*", b"a*", b"*x", b"?", b"[a-c]", b"[^a]", b"\\*", b"[", b"[a", b"[^", b"**", b"{*}?", b""]
    ),
    st.text("*?ab[]^-\\x ", max_size=6).map(str.encode),
)


def call(name: bytes, *arguments: st.SearchStrategy[bytes]) -> Calls:
    """Generate calls with exactly these arguments."""
    return st.tuples(st.just(name), *arguments).map(list)


def many(name: bytes, *arguments: st.SearchStrategy[bytes], most: int = 4) -> Calls:
    """Generate calls that repeat these arguments once to `most` times."""
    group = st.tuples(*arguments)
    return st.lists(group, min_size=1, max_size=most).map(
        lambda groups: [name, *(word for words in groups for word in words)]
    )


def with_options(calls: Calls, *options: st.SearchStrategy[list[bytes]], most: int = 2) -> Calls:
    """Append up to `most` options to a call."""
    return st.tuples(calls, st.lists(st.one_of(*options), max_size=most)).map(
        lambda parts: [*parts[0], *(word for words in parts[1] for word in words)]
    )


def words(*texts: bytes) -> st.SearchStrategy[list[bytes]]:
    """Generate one of these single words, in either case."""
    return st.sampled_from([*texts, *(text.lower() for text in texts)]).map(lambda text: [text])


def option(name: bytes, argument: st.SearchStrategy[bytes]) -> st.SearchStrategy[list[bytes]]:
    """Generate an option with its argument, or rarely without."""
    return st.one_of(*[argument.map(lambda word: [name, word])] * 8, st.just([name]))

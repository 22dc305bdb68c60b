"""Glob patterns: Redis's readings, against a direct matcher, and no exponential time."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redoubt.data.glob import Glob


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        (b"h?llo", b"hello", True),
        (b"h?llo", b"hllo", False),
        (b"h*llo", b"heeeello", True),
        (b"h[ae]llo", b"hillo", False),
        (b"h[^e]llo", b"hallo", True),
        (b"h[^e]llo", b"hello", False),
        (b"h[b-a]llo", b"hallo", True),
        (b"a\\*c", b"a*c", True),
        (b"a\\*c", b"abc", False),
        (b"[\\]]", b"]", True),
        (b"a\\", b"a\\", True),
        (b"[abc", b"b", True),
        (b"[", b"[", False),
        (b"[]", b"]", False),
        (b"[^]", b"x", True),
        (b"[a-]", b"]", True),  # the bracket is read as the end of the range
        (b"", b"", True),
        (b"*", b"", True),
        (b"**", b"", False),
        (b"?*", b"a", True),
        (b"a*a", b"a", False),
        (b"a*", b"a", True),
        (b"\xff?", b"\xff\n", True),
        (b".*", b"xy", False),
    ],
)
def test_pattern(pattern: bytes, text: bytes, matches: bool) -> None:
    assert Glob(pattern).matches(text) is matches


def test_case_is_ignored_on_request() -> None:
    assert Glob(b"Max*Y", ignores_case=True).matches(b"maxMEMORy")
    assert not Glob(b"Max*Y").matches(b"maxMEMORy")


def test_a_pattern_of_many_stars_takes_no_exponential_time() -> None:
    glob = Glob(b"a*" * 40 + b"b")
    begin = time.process_time()
    assert not glob.matches(b"a" * 20_000)
    assert time.process_time() - begin < 2


def reference(pattern: bytes, text: bytes) -> bool:
    """Match stars, question marks and letters in the obvious way."""
    if not pattern:
        return not text
    if pattern[:1] == b"*":
        return any(reference(pattern[1:], text[skip:]) for skip in range(len(text) + 1))
    return bool(text) and pattern[:1] in (b"?", text[:1]) and reference(pattern[1:], text[1:])


@given(st.text("ab*?", max_size=7).map(str.encode), st.text("ab", min_size=1, max_size=7).map(str.encode))
def test_stars_and_question_marks_agree_with_a_direct_matcher(pattern: bytes, text: bytes) -> None:
    assert Glob(pattern).matches(text) is reference(pattern, text)

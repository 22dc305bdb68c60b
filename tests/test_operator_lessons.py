"""docs/operator-lessons.md as a promise: every row has a test that exists, or says why it has none."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

TESTS = Path(__file__).resolve().parent
PAGE = TESTS.parent / "docs" / "operator-lessons.md"
LESSONS = [str(number) for number in range(1, 32)]
ORDEALS = [f"({number})" for number in range(1, 19)]
NAMED = re.compile(r"`([\w/]+\.py)::(test_\w+)`")
NAMED_AFTER_A_ROW = re.compile(r"test_lesson_0*(\d+)_")
REASON = "not yet"


def rows() -> dict[str, str]:
    """Return the rows of all tables by what stands in their first cell, which nobody else may have."""
    lines = [line for line in PAGE.read_text().splitlines() if re.match(r"\| \(?\d+\)? \|", line)]
    numbers = [line.split("|")[1].strip() for line in lines]
    assert len(numbers) == len(set(numbers)), "a row stands there twice"
    return dict(zip(numbers, lines, strict=True))


@functools.cache
def names_in(path: Path) -> frozenset[str]:
    definitions = (ast.FunctionDef, ast.AsyncFunctionDef)
    tree = ast.parse(path.read_text())
    return frozenset(node.name for node in tree.body if isinstance(node, definitions))


def test_every_lesson_and_every_ordeal_has_its_row() -> None:
    assert sorted(rows()) == sorted(LESSONS + ORDEALS)


def test_every_row_names_a_test_or_the_reason_why_there_is_none() -> None:
    bare = [number for number, row in rows().items() if not NAMED.search(row) and REASON not in row]
    assert bare == []


def test_every_test_that_is_named_exists() -> None:
    named = [match for row in rows().values() for match in NAMED.findall(row)]
    assert len(named) > len(LESSONS)
    missing = [
        f"{path}::{name}"
        for path, name in named
        if not (TESTS / path).is_file() or name not in names_in(TESTS / path)
    ]
    assert missing == []


def test_every_test_named_after_a_lesson_stands_in_its_row() -> None:
    page = rows()
    absent = []
    for path in sorted(TESTS.rglob("test_*.py")):
        for name in sorted(names_in(path)):
            found = NAMED_AFTER_A_ROW.match(name)
            reference = f"`{path.relative_to(TESTS)}::{name}`"
            if found and reference not in page.get(found[1], ""):
                absent.append(reference)
    assert absent == []

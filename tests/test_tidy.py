"""Style as a test: sizes, names, docstrings and words that the project keeps out of itself.

The limits are those of CONTRIBUTING.md. `tests/tidy_ratchet.txt` lists the few exceptions with their present
size; an entry may shrink or disappear, never grow, and nothing may be added silently. TigerBeetle's `tidy` is
the idea's origin.
"""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
RATCHET = ROOT / "tests" / "tidy_ratchet.txt"
MODULE_LINES_MAX = 600
FUNCTION_LINES_MAX = 70
LINE_COLUMNS_MAX = 110
DOCSTRING_LINES_MIN = 3
FORBIDDEN_NAMES = re.compile(r"(^|_)(mgr|utils?|helpers?|misc|common)(_|$)")
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|NotImplementedError)\b")
MACHINE_PATH = re.compile(r"(?<![\w./])/(work|farm|root)/")
PRODUCT = ("server/", "operator/", "devcluster/")


def tracked(*suffixes: str) -> list[Path]:
    """List the files that git tracks or would track, relative to the root."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    return sorted(Path(name) for name in listing if name.endswith(suffixes) and (ROOT / name).is_file())


PYTHON = tracked(".py")


def ratchet() -> dict[str, int]:
    """Read the exceptions: `path[:function] size` a line."""
    rows = (line.split() for line in RATCHET.read_text().splitlines() if line and not line.startswith("#"))
    return {name: int(size) for name, size in rows}


def tree_of(path: Path) -> ast.Module:
    return ast.parse((ROOT / path).read_text(), filename=str(path))


def test_no_module_is_longer_than_the_limit() -> None:
    allowed = ratchet()
    sizes = {str(path): len((ROOT / path).read_text().splitlines()) for path in PYTHON}
    too_long = {name: size for name, size in sizes.items() if size > allowed.get(name, MODULE_LINES_MAX)}
    assert too_long == {}


def test_no_function_is_longer_than_the_limit() -> None:
    allowed = ratchet()
    too_long = {}
    for path in PYTHON:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                size = (node.end_lineno or node.lineno) - node.lineno + 1
                name = f"{path}:{node.name}"
                if size >= allowed.get(name, FUNCTION_LINES_MAX):
                    too_long[name] = size
    assert too_long == {}


def test_no_line_is_wider_than_the_limit() -> None:
    wide = [
        f"{path}:{number}"
        for path in PYTHON
        for number, line in enumerate((ROOT / path).read_text().splitlines(), 1)
        if len(line) > LINE_COLUMNS_MAX
    ]
    assert wide == []


def test_the_ratchet_only_names_what_still_exceeds_a_limit() -> None:
    stale = []
    for name, size in ratchet().items():
        path, _, function = name.partition(":")
        if not (ROOT / path).is_file():
            stale.append(name)
        elif not function and len((ROOT / path).read_text().splitlines()) < size:
            stale.append(f"{name} has shrunk below {size}: lower it")
    assert stale == []


@pytest.mark.parametrize("path", [p for p in PYTHON if str(p).startswith(PRODUCT)], ids=str)
def test_every_module_says_what_it_is(path: Path) -> None:
    if path.name == "__init__.py" and not (ROOT / path).read_text().strip():
        return
    docstring = ast.get_docstring(tree_of(path))
    assert docstring, f"{path} has no docstring"
    if path.name not in {"__init__.py", "__main__.py"}:
        assert len(docstring.splitlines()) >= DOCSTRING_LINES_MIN, f"{path}: {docstring!r} says too little"


def is_declared_command(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> bool:
    """Say whether the declaration above a command handler is its documentation."""
    names = (
        each.func.id
        for each in node.decorator_list
        if isinstance(each, ast.Call) and isinstance(each.func, ast.Name)
    )
    return "command" in names


@pytest.mark.parametrize("path", [p for p in PYTHON if str(p).startswith(PRODUCT)], ids=str)
def test_every_public_function_and_class_has_a_docstring(path: Path) -> None:
    definitions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    bare = [
        f"{node.name} (line {node.lineno})"
        for node in tree_of(path).body
        if isinstance(node, definitions)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
        and not is_declared_command(node)
    ]
    assert bare == []


def test_module_names_are_nouns_of_the_field() -> None:
    assert [str(path) for path in PYTHON if FORBIDDEN_NAMES.search(path.stem)] == []


def test_nothing_is_left_unfinished() -> None:
    found = [
        f"{path}:{number}: {line.strip()}"
        for path in PYTHON
        if path.name != "test_tidy.py"
        for number, line in enumerate((ROOT / path).read_text().splitlines(), 1)
        if UNFINISHED.search(line)
    ]
    assert found == []


def test_no_path_of_one_machine_is_written_down() -> None:
    texts = tracked(".py", ".md", ".toml", ".yaml", ".yml", ".sh", "Makefile", "Dockerfile", "run", "test")
    found = [
        f"{path}:{number}"
        for path in texts
        if path.name != "test_tidy.py"
        for number, line in enumerate((ROOT / path).read_text(errors="replace").splitlines(), 1)
        if MACHINE_PATH.search(line)
    ]
    assert found == []


def test_tests_are_no_packages_and_the_operator_folder_shadows_nothing() -> None:
    strays = [
        *ROOT.glob("tests/**/__init__.py"),
        ROOT / "operator" / "__init__.py",
        ROOT / "tests" / "operator",
    ]
    assert [str(path) for path in strays if path.exists()] == []


def test_every_test_checks_something() -> None:
    empty = []
    for path in PYTHON:
        if not path.name.startswith("test_"):
            continue
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                kinds = (ast.Assert, ast.With, ast.AsyncWith, ast.Call, ast.Raise)
                if not any(isinstance(inner, kinds) for inner in ast.walk(node)):
                    empty.append(f"{path}:{node.name}")
    assert empty == []

"""COMMAND INFO and COMMAND DOCS of every command against real servers, and which of their commands there are.

Compared are arity, flags, key specifications, ACL categories, tips, group, version and the arguments, for
each command and subcommand that both have. What differs stands with its reason in `command_differences`: a
difference that is not listed there fails, and so does an entry that is no longer one.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

import redoubt.node  # noqa: F401 - declares every command of a node
from redoubt.commands.declare import ROWS
from redoubt.commands.introspection import description, documentation, subcommands
from redoubt.resp.replies import MapReply, SetReply, SimpleString
from tests.judges import judge_program
from tests.redoubt.commands.command_differences import DIFFERENCES, MISSING
from tests.redoubt.harness import redis_process

pytestmark = [
    pytest.mark.differential,
    pytest.mark.process,
    pytest.mark.skipif(shutil.which("redis-server") is None, reason="needs a redis-server to compare with"),
]

FIELDS = ("name", "arity", "flags", "first", "last", "step", "categories", "tips", "specs")
VERSION_OURS = (7, 2)


def plain(value: Any) -> Any:
    """Turn a reply of either side into dicts, lists and strings; sets of words become sorted lists."""
    if isinstance(value, MapReply):
        return {plain(key): plain(item) for key, item in value.pairs}
    if isinstance(value, SetReply):
        items = [plain(item) for item in value.items]
        return sorted(items) if all(isinstance(item, str) for item in items) else items
    if isinstance(value, SimpleString):
        return value.text.decode()
    if isinstance(value, bytes):
        return value.decode()
    return [plain(item) for item in value] if isinstance(value, list) else value


class Declarations:
    """What one server says: COMMAND INFO and COMMAND DOCS by name, subcommands included."""

    def __init__(self, judge: str, infos: dict[str, Any], docs: dict[str, Any]) -> None:
        self.judge = judge
        self.infos = infos
        self.docs = docs


def asked(judge: str, program: str) -> Declarations:
    """Ask a real server for everything that it declares."""
    with redis_process(program=program) as server:
        connection = server.connect()
        connection.ask("HELLO", 3)
        infos: dict[str, Any] = {}
        for info in plain(connection.ask("COMMAND")):
            for each in (info, *info[9]):
                infos[each[0]] = dict(zip(FIELDS, each[:9], strict=True))
        docs: dict[str, Any] = {}
        for name, doc in plain(connection.ask("COMMAND", "DOCS")).items():
            docs |= {name: doc, **doc.get("subcommands", {})}
        return Declarations(judge, infos, docs)


@pytest.fixture(scope="module")
def judge(request: pytest.FixtureRequest) -> Iterator[Declarations]:
    name = request.param
    yield asked(name, "redis-server" if name == "redis-7.0" else judge_program(name))


JUDGES = pytest.mark.parametrize("judge", ["redis-7.0", "redis-8.0"], indirect=True)


def ours() -> dict[str, Any]:
    """Every row that we have, by name."""
    rows = {row.name: row for row in ROWS.values()}
    return rows | {nested.name: nested for row in ROWS.values() for nested in subcommands(row)}


def listed(judge: str, fields: tuple[str, ...]) -> set[tuple[str, str]]:
    """Return the differences from a judge that are known: name and field."""
    return {
        (name, field)
        for names, differing, judges, _ in DIFFERENCES
        if judge in judges
        for name in names.split()
        for field in differing.split()
        if field in fields
    }


def without_notes(specs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in spec.items() if key != "notes"} for spec in specs]


@JUDGES
def test_command_info_is_that_of_redis(judge: Declarations) -> None:
    found: dict[tuple[str, str], Any] = {}
    for name, row in ours().items():
        if name not in judge.infos:
            continue
        expected, mine = judge.infos[name], dict(zip(FIELDS, plain(description(row))[:9], strict=True))
        expected["specs"] = without_notes(expected["specs"])
        for field in FIELDS:
            if expected[field] != mine[field]:
                found[name, field] = (expected[field], mine[field])
    known = listed(judge.judge, FIELDS)
    assert {place: found[place] for place in set(found) - known} == {}
    assert known - set(found) == set(), "these differ no longer"


def shape(argument: dict[str, Any]) -> dict[str, Any]:
    """Keep of an argument what a usage line says; groups have no names there."""
    kept = {key: argument[key] for key in ("type", "token", "flags", "key_spec_index") if key in argument}
    if "arguments" in argument:
        kept["arguments"] = [shape(nested) for nested in argument["arguments"]]
    else:
        kept["name"] = argument["name"]
    return kept


@JUDGES
def test_command_docs_are_those_of_redis(judge: Declarations) -> None:
    found: dict[tuple[str, str], Any] = {}
    for name, row in ours().items():
        if name not in judge.docs or name.endswith("|help"):
            continue
        expected, mine = judge.docs[name], plain(documentation(row))
        for field in ("since", "group"):
            if expected[field] != mine[field]:
                found[name, field] = (expected[field], mine[field])
        shapes = [list(map(shape, doc.get("arguments", []))) for doc in (expected, mine)]
        if shapes[0] != shapes[1]:
            found[name, "arguments"] = shapes
    known = listed(judge.judge, ("since", "group", "arguments"))
    assert {place: found[place] for place in set(found) - known} == {}
    assert known - set(found) == set(), "these differ no longer"


def is_wanted(name: str, doc: dict[str, Any]) -> bool:
    """Say whether a command of a newer server is one of 7.2, or of the family of fields that expire."""
    if doc.get("group") == "module":
        return False
    version = tuple(map(int, doc["since"].split(".")[:2]))
    return version <= VERSION_OURS or doc["group"] == "hash"


@JUDGES
def test_every_command_is_there_except_those_listed(judge: Declarations) -> None:
    wanted = {name for name, doc in judge.docs.items() if is_wanted(name, doc)}
    assert len(wanted) > 350
    assert wanted - set(ours()) == {name for name in MISSING if name in wanted}


def test_no_command_is_listed_as_missing_that_exists() -> None:
    assert set(MISSING) & set(ours()) == set()

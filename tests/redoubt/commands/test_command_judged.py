"""COMMAND INFO and COMMAND DOCS of every command that both have, against a real redis-server.

The judge is Redis 7.0; where 7.2 differs from it, or where the usage line cannot say what Redis keeps beside
it, the difference stands below with its reason. A difference that is not listed fails, and so does an entry
that is no longer one.
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
from tests.redoubt.harness import redis_process

pytestmark = [
    pytest.mark.differential,
    pytest.mark.process,
    pytest.mark.skipif(shutil.which("redis-server") is None, reason="needs a redis-server to compare with"),
]

FIELDS = ("name", "arity", "flags", "first", "last", "step", "categories", "tips", "specs")
# name: fields of COMMAND INFO that differ from Redis 7.0, and why.
INFO_DIFFERENCES: dict[str, tuple[set[str], str]] = {
    "wait": ({"flags", "categories"}, "it blocks, as the documentation of later versions says"),
    "zrank": ({"arity"}, "7.2 has WITHSCORE"),
    "zrevrank": ({"arity"}, "7.2 has WITHSCORE"),
}
# name: what differs in COMMAND DOCS, and why.
DOCS_DIFFERENCES: dict[str, tuple[set[str], str]] = {
    "client|kill": ({"arguments"}, "our line names the old form, and the filters are a sequence"),
    "client|list": ({"arguments"}, "a repeated argument after a token is no block of one here"),
    "cluster|meet": ({"arguments"}, "7.2 writes cluster-bus-port with dashes"),
    "command|getkeys": ({"arguments"}, "7.0 has no arguments, 7.2 has"),
    "command|getkeysandflags": ({"arguments"}, "7.0 has no arguments, 7.2 has"),
    "config|get": ({"arguments"}, "a repeated argument is no block of one here"),
    "debug": ({"arguments"}, "Redis documents none"),
    "hscan": ({"arguments"}, "7.4 has NOVALUES"),
    "migrate": ({"arguments"}, "7.2 writes empty-string with a dash"),
    "psubscribe": ({"arguments"}, "a repeated argument is no block of one here"),
    "replconf": ({"arguments"}, "Redis documents none"),
    "zadd": ({"arguments"}, "the flags CH and INCR are named as they are written"),
    **dict.fromkeys(
        ("zinter", "zinterstore", "zunion", "zunionstore"),
        ({"arguments"}, "a repeated argument after a token is no block of one here"),
    ),
    "zrank": ({"arguments"}, "7.2 has WITHSCORE"),
    "zrevrank": ({"arguments"}, "7.2 has WITHSCORE"),
}


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


@pytest.fixture(scope="module")
def judge() -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """What Redis says: COMMAND INFO and COMMAND DOCS by name, subcommands included."""
    with redis_process() as server:
        connection = server.connect()
        connection.ask("HELLO", 3)
        infos: dict[str, Any] = {}
        for info in plain(connection.ask("COMMAND")):
            for each in (info, *info[9]):
                infos[each[0]] = dict(zip(FIELDS, each[:9], strict=True))
        docs: dict[str, Any] = {}
        for name, doc in plain(connection.ask("COMMAND", "DOCS")).items():
            docs |= {name: doc, **doc.get("subcommands", {})}
        yield infos, docs


def ours() -> dict[str, Any]:
    """Every row that we have, by name."""
    rows = {row.name: row for row in ROWS.values()}
    return rows | {nested.name: nested for row in ROWS.values() for nested in subcommands(row)}


def without_notes(specs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in spec.items() if key != "notes"} for spec in specs]


def test_command_info_is_that_of_redis(judge: tuple[dict[str, Any], dict[str, Any]]) -> None:
    infos, _ = judge
    found: dict[str, set[str]] = {}
    details = {}
    for name, row in ours().items():
        if name not in infos:
            continue
        expected, mine = infos[name], dict(zip(FIELDS, plain(description(row))[:9], strict=True))
        expected["specs"] = without_notes(expected["specs"])
        differing = {field for field in FIELDS if expected[field] != mine[field]}
        if differing:
            found[name] = differing
            details[name] = {field: (expected[field], mine[field]) for field in differing}
    assert found == {name: fields for name, (fields, _) in INFO_DIFFERENCES.items()}, details


def shape(argument: dict[str, Any]) -> dict[str, Any]:
    """Keep of an argument what a usage line says; groups have no names there."""
    kept = {key: argument[key] for key in ("type", "token", "flags", "key_spec_index") if key in argument}
    if "arguments" in argument:
        kept["arguments"] = [shape(nested) for nested in argument["arguments"]]
    else:
        kept["name"] = argument["name"]
    return kept


def test_command_docs_have_the_arguments_of_redis(judge: tuple[dict[str, Any], dict[str, Any]]) -> None:
    _, docs = judge
    found: dict[str, set[str]] = {}
    details = {}
    for name, row in ours().items():
        if name not in docs or name.endswith("|help"):
            continue
        expected, mine = docs[name], plain(documentation(row))
        differing = {field for field in ("since", "group") if expected[field] != mine[field]}
        shapes = [list(map(shape, doc.get("arguments", []))) for doc in (expected, mine)]
        if shapes[0] != shapes[1]:
            differing.add("arguments")
            details[name] = shapes
        if differing:
            found[name] = differing
            details.setdefault(
                name, [(expected[f], mine[f]) for f in differing if f in mine and f != "arguments"]
            )
    assert found == {name: fields for name, (fields, _) in DOCS_DIFFERENCES.items()}, details

"""Nothing of Python, of the process or of other scripts is within reach of a script."""

from __future__ import annotations

import pytest

from redoubt.resp.replies import ErrorReply
from tests.redoubt.harness import Client, Harness

# Walks over everything that a script can reach, and names what is no plain value of Lua.
WALK = """
local seen, found = {}, {}
local function walk(value, path, depth)
  local kind = type(value)
  if kind == 'userdata' and value ~= cjson.null then found[#found + 1] = path end
  if kind ~= 'table' or seen[value] or depth > 6 then return end
  seen[value] = true
  for k, v in pairs(value) do
    walk(k, path .. '.key', depth + 1)
    walk(v, path .. '.' .. tostring(k), depth + 1)
  end
  local metatable = getmetatable(value)
  if metatable then walk(metatable, path .. '<meta>', depth + 1) end
end
walk(_G, '_G', 0)
walk(getmetatable(''), 'string<meta>', 0)
walk(getmetatable(cjson.null), 'null<meta>', 0)
return found
"""
# What an error of each kind looks like to whoever catches it.
CAUGHT = """
local function attempts()
  return {
    function() redis.call('nope') end, function() redis.call({}) end, function() redis.sha1hex() end,
    function() bit.band('x') end, function() struct.pack('i') end, function() math.random('x') end,
    function() cjson.decode('x') end, function() cmsgpack.unpack('x') end, function() redis.setresp(9) end,
    function() error({}) end,
  }
end
local kinds = {}
for _, attempt in ipairs(attempts()) do
  local _, e = pcall(attempt)
  kinds[type(e)] = true
  xpcall(attempt, function(e) kinds[type(e)] = true end)
  local _, e = coroutine.resume(coroutine.create(attempt))
  kinds[type(e)] = true
  local _, e = pcall(coroutine.wrap(attempt))
  kinds[type(e)] = true
  local _, e = pcall(string.gsub, 'x', 'x', attempt)
  kinds[type(e)] = true
  local _, e = pcall(table.sort, {1, 2}, attempt)
  kinds[type(e)] = true
  local _, e = pcall(function() return setmetatable({}, {__index = attempt}).x end)
  kinds[type(e)] = true
end
return kinds.userdata or false
"""
# What a function of ours may be given: never may it hand a Python object back.
ECHOES = [
    "return type(redis.status_reply(redis.call))",
    "return type(select(2, pcall(redis.call, redis.call)))",
    "return type(select(2, pcall(redis.call, cjson.null)))",
    "return type(select(2, pcall(bit.band, redis.call)))",
    "return type(select(2, pcall(struct.pack, 'i', redis.log)))",
    "return type(select(2, pcall(redis.sha1hex, redis.call)))",
    "return type(select(2, pcall(cmsgpack.pack, redis.call)))",
    "return type(select(2, pcall(cjson.encode, redis.call)))",
]


@pytest.fixture
def client() -> Client:
    return Harness().connect()


def test_a_walk_over_everything_finds_no_object_of_python(client: Client) -> None:
    assert client.ask("EVAL", WALK, 0) == []


def test_whoever_catches_an_error_gets_a_string_or_a_table(client: Client) -> None:
    assert client.ask("EVAL", CAUGHT, 0) is None


@pytest.mark.parametrize("source", ECHOES)
def test_functions_give_no_object_back(client: Client, source: str) -> None:
    kind = client.ask("EVAL", source, 0)
    assert kind in (b"string", b"table", b"nil"), kind


@pytest.mark.parametrize(
    "name",
    ["os", "io", "debug", "package", "require", "module", "dofile", "loadfile", "print", "python", "newproxy",
     "getfenv", "setfenv", "lupa"],
)  # fmt: skip
def test_what_reaches_out_does_not_exist(client: Client, name: str) -> None:
    reply = client.ask("EVAL", f"return {name}", 0)
    assert isinstance(reply, ErrorReply)
    assert f"nonexistent global variable '{name}'".encode() in reply.text


@pytest.mark.parametrize(
    "source",
    [
        "string.format = nil", "redis.call = nil", "_G.x = 1", "rawset(_G, 'x', 1)", "rawset(cjson, 'x', 1)",
        "table.insert(bit, 1)", "setmetatable(math, {})", "getmetatable('').__index = {}",
        "getmetatable('').__index.rep = nil", "local t = next({_G}) and _G t.y = 2", "loadstring('z = 1')()",
        "coroutine.wrap(function() z = 1 end)()", "for k, v in pairs(redis) do redis[k] = nil end",
    ],
)  # fmt: skip
def test_nothing_outlives_a_script(client: Client, source: str) -> None:
    reply = client.ask("EVAL", source, 0)
    assert isinstance(reply, ErrorReply) and b"Attempt to modify a readonly table" in reply.text
    kept = "return {string.format('%d', 1), type(redis.call), tostring(rawget(_G, 'x')), #bit, ('a'):rep(2)}"
    assert client.ask("EVAL", kept, 0) == [b"1", b"function", b"nil", 0, b"aa"]


def test_bytecode_is_not_loaded(client: Client) -> None:
    source = "return {tostring(loadstring(string.dump(function() return 1 end)))}"
    assert client.ask("EVAL", source, 0) == [b"nil"]
    dump = "local d, n = string.dump(function() return 1 end), 0 "
    source = dump + "return tostring(load(function() n = n + 1 return ({d})[n] end))"
    assert client.ask("EVAL", source, 0) == b"nil"
    reply = client.ask("EVAL", b"\x1bLua rest", 0)
    assert isinstance(reply, ErrorReply) and reply.text.startswith(b"ERR Error compiling script")


def test_the_memory_of_scripts_is_limited() -> None:
    client = Harness("--lua-memory-limit", "8mb").connect()
    client.ask("SET", "big", "x" * 9_000_000)
    for source in (
        "local s = 'x' while true do s = s .. s end",
        "local t = {} while true do t[#t + 1] = ('x'):rep(1000) .. #t end",
        "return #redis.call('get', 'big')",
        "return #redis.pcall('get', 'big')",
    ):
        reply = client.ask("EVAL", source, 0)
        assert isinstance(reply, ErrorReply) and b"not enough memory" in reply.text, (source, reply)
    reply = client.ask("EVAL", "return #ARGV[1]", 0, "x" * 9_000_000)
    assert isinstance(reply, ErrorReply) and b"not enough memory" in reply.text
    assert client.ask("EVAL", "return #ARGV[1]", 0, "x" * 5_000_000) == 5_000_000


def test_the_libraries_and_the_scripts_do_not_share_a_state() -> None:
    client = Harness().connect()
    client.ask("EVAL", "cjson.encode_number_precision(3)", 0)
    assert client.ask("EVAL", "return cjson.encode(1.23456)", 0) == b"1.23"
    code = "redis.register_function('f', function() return cjson.encode(1.23456) end)"
    client.ask("FUNCTION", "LOAD", "#!lua name=l\n" + code)
    assert client.ask("FCALL", "f", 0) == b"1.23456"
    client.ask("SCRIPT", "FLUSH")
    assert client.ask("EVAL", "return cjson.encode(1.23456)", 0) == b"1.23456"

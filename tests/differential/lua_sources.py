"""Lua scripts to be run side by side: each gets the keys k1, k2 and the arguments a1, a2.

Before each, the key `list` holds a, b, c; `hash` f: 1, g: 2; `zset` x: 1, y: 2.5; `text` the word "text". A
script that ends in an error is compared with the text of the error, script name and line included. A
  script stands on one line;
what is indented belongs to the line before.
"""

from __future__ import annotations

from typing import Final

RESULTS: Final = r"""
return 1
return 3.99
return -3.99
return {3.99, -0.5, 1e15, 2^53, 1/0, -1/0, 2^63, -2^63, 0/0}
return "text"
return "a\0b\r\n\255"
return true
return false
return nil
return
return {}
return {1, 2, nil, 4}
return {1, {2, {3, {"four"}}}, true, false}
return {nil}
return {[1] = "a", [3] = "c"}
return {a = 1}
return {"x", a = 1}
return print
return function() end
return coroutine.create(function() end)
return {ok = "fine"}
return {ok = "two\r\nlines"}
return {ok = 1}
return {err = "ERR bad"}
return {err = "bad"}
return {err = "MY bad\nline"}
return {err = 1}
return {ok = "fine", err = "ERR both"}
return {1, {err = "ERR inner"}, {ok = "inner"}}
return {double = 3.5}
return {double = "x"}
return {1, {double = 0.5}}
return {map = {a = 1}}
return {map = {}}
return {set = {a = true}}
return {set = {}}
return {big_number = "123456789012345678901234567890"}
return {verbatim_string = {format = "txt", string = "hello"}}
return {verbatim_string = {format = "txt"}}
return redis.status_reply("FINE")
return redis.error_reply("MY error")
return redis.error_reply("-MY error")
return redis.error_reply("word")
return redis.error_reply("")
return redis.error_reply()
return redis.status_reply()
return redis.status_reply(1)
return redis.status_reply({})
return redis.error_reply("a", "b")
return {#KEYS, #ARGV, KEYS[1], KEYS[2], ARGV[1], ARGV[2], KEYS[3]}
local t = {} for i = 1, 5000 do t[i] = i end return t
local t = {} for i = 1, 9000 do t[i] = "x" .. i end return t
return ("x"):rep(100000)
local t = {} t[1] = setmetatable({}, {__index = function() return "x" end}) return t
return setmetatable({1, 2}, {__index = function(t, k) return nil end})
redis.setresp(3) return true
redis.setresp(3) return false
redis.setresp(3) return nil
redis.setresp(3) return {true, false, 1}
redis.setresp(3) return redis.call("hgetall", "hash").map.f
redis.setresp(3) return redis.call("smembers", "none").set ~= nil
redis.setresp(3) return redis.call("zscore", "zset", "y").double
redis.setresp(3) return redis.call("get", "missing") == nil
redis.setresp(3) return redis.call("zrange", "zset", 0, -1, "withscores")
redis.setresp(3) return redis.call("hgetall", "hash")
redis.setresp(2) return redis.call("get", "missing") == false
redis.setresp("3") return redis.call("zscore", "zset", "y")
"""

COMMANDS: Final = r"""
return redis.call("get", "text")
return redis.call("get", "missing")
return redis.call("set", KEYS[1], ARGV[1])
return redis.call("set", KEYS[1], ARGV[1]).ok
return {redis.call("set", KEYS[1], 1), redis.call("incr", KEYS[1]), redis.call("incrby", KEYS[1], 10.0)}
return redis.call("set", KEYS[1], 3.5) and redis.call("get", KEYS[1])
return redis.call("set", KEYS[1], 1e15) and redis.call("get", KEYS[1])
return redis.call("set", KEYS[1], 0.1) and redis.call("get", KEYS[1])
return redis.call("set", KEYS[1], 1e100) and redis.call("get", KEYS[1])
return redis.call("set", KEYS[1], -12345678901234) and redis.call("get", KEYS[1])
return redis.call("lrange", "list", 0, -1)
return redis.call("hgetall", "hash")
return redis.call("zrange", "zset", 0, -1, "WITHSCORES")
return redis.call("zscore", "zset", "y")
return redis.call("mget", "text", "missing", "list")
return redis.call("exists", "text", "missing")
return type(redis.call("ping")) .. redis.call("ping").ok
return redis.call("type", "list")
return redis.call("incr", "list")
return redis.pcall("incr", "list")
return redis.pcall("incr", "list").err
local e = redis.pcall("incr", "list") return {tostring(e.ignore_error_stats_update), tostring(e.line)}
local ok, e = pcall(redis.call, "incr", "list") return {tostring(ok), type(e), e}
local ok, e = pcall(redis.call, "nope") return {tostring(ok), type(e), e}
local ok, e = pcall(function() return redis.call("incr", "list") end) return {tostring(ok), e}
local ok, e = xpcall(function() return redis.call("incr", "list") end, function(e) return e.err end)
  return {e}
local ok, e = xpcall(function() error("x") end, function(e) return e .. "!" end) return {tostring(ok), e}
return redis.call("nope")
return redis.call("NoPe", 1, 2)
return redis.call("get")
return redis.call("get", "a", "b")
return redis.call()
return redis.pcall()
return redis.call("get", nil)
return redis.call("get", {})
return redis.call("get", true)
return redis.pcall("get", true)
return redis.call("eval", "return 1", 0)
return redis.call("evalsha", "x", 0)
return redis.call("script", "flush")
return redis.call("function", "flush")
return redis.call("fcall", "x", 0)
return redis.call("multi")
return redis.call("exec")
return redis.call("watch", "x")
return redis.call("auth", "x")
return redis.call("subscribe", "x")
return redis.call("client", "id")
return redis.call("config")
return redis.call("config", "nope")
return redis.call("config", "get", "maxmemory")
return redis.call("object", "encoding", "hash")
return redis.call("blpop", "missing", 0)
return redis.call("blpop", "list", 0)
return redis.call("brpoplpush", "missing", "x", 0)
return redis.call("bzpopmin", "missing", 0)
return redis.call("blmove", "list", "other", "left", "right", 0)
return redis.call("wait", 0, 0)
return redis.call("select", 1) and redis.call("exists", "text")
redis.call("select", 1) redis.call("set", "text", "other") redis.call("select", 0) return
  redis.call("get", "text")
redis.call("set", KEYS[1], 1) return redis.call("incr", "list")
redis.call("set", "k1", "x", "ex", 100) return redis.call("ttl", "k1")
redis.call("del", "list") redis.call("rpush", "list", 1, 2) return redis.call("llen", "list")
return redis.call("echo", "a\0b")
return redis.sha1hex("")
return redis.sha1hex("text")
return redis.sha1hex(1)
return redis.sha1hex({})
return redis.sha1hex()
return redis.sha1hex("a", "b")
return redis.log(redis.LOG_DEBUG, "x")
return redis.log(redis.LOG_WARNING, "x", 1, {})
return redis.log("x", "y")
return redis.log(9, "y")
return redis.log(1)
return redis.setresp()
return redis.setresp(4)
return redis.setresp("x")
return redis.set_repl(redis.REPL_ALL)
return redis.set_repl(9)
return redis.set_repl()
return redis.set_repl(redis.REPL_NONE, 1)
return redis.replicate_commands()
return redis.breakpoint()
return redis.debug("x")
return redis.acl_check_cmd("get", "x")
return redis.acl_check_cmd("nope")
return redis.acl_check_cmd()
return redis.acl_check_cmd("get", {})
return {redis.LOG_DEBUG, redis.LOG_VERBOSE, redis.LOG_NOTICE, redis.LOG_WARNING}
return {redis.REPL_ALL, redis.REPL_NONE, redis.REPL_AOF, redis.REPL_SLAVE, redis.REPL_REPLICA}
"""

ERRORS: Final = r"""
error("x")
error("x", 0)
error("x", 2)
error()
error(nil)
error(true)
error(12)
error({err = "MY x"})
error({err = "MY x", line = 7})
error({err = "MY x"}, 0)
error(redis.error_reply("MY y"))
local x = nil + 1
local x = nil .. "a"
local x = {} < {}
local x = nil; x()
local x = nil; return x.y
local x = {}; x.y.z = 1
return redis.nope()
return string.nope("x")
return #nil
for i = 1, "x" do end
return 1 +
return
return 1 return 2
syntax error here
x = = 1
return "unfinished
return ...
goto x
local function f() return f() + 1 end return f()
return unpack({}, 1, 10000)
return string.rep()
return string.rep("x", {})
return ("x"):bad()
return tonumber()
return tonumber("z", 99)
return setmetatable(1, {})
return setmetatable({}, 1)
return setmetatable({})
return setmetatable(setmetatable({}, {__metatable = 1}), {})
return getmetatable(setmetatable({}, {__metatable = "m"}))
return getmetatable()
return rawget(1, 2)
return rawset(1, 2, 3)
return rawset({}, nil, 3)
return rawequal(1)
return next(nil)
return next({}, "x")
return select(0)
return select("#", 1, 2, 3)
return ipairs()
return pairs()
local a = pairs(nil)
return table.concat({{}})
return table.concat({1, 2, 3}, ", ")
return table.insert(nil, 1)
return table.insert({}, 1, 2, 3)
return table.insert({})
local t = {1, 2} table.insert(t, 3) table.insert(t, 1, 0) return t
local t = {1, 2, 3} table.remove(t, 1) return t
local t = {3, 1, 2} table.sort(t) return t
local t = {3, 1, 2} table.sort(t, function(a, b) return a > b end) return t
table.sort({3, 1, 2}, function(a, b) error("in sort") end)
return assert(false)
return assert(false, "message")
return assert(nil, "message")
return assert(1, 2)
return pcall()
return {pcall(error)}
return {pcall(error, "a")}
return {pcall(error, {err = "A b"})}
return {tostring(pcall(error, {}))}
return {xpcall(error, function() return "handled" end)}
return {xpcall(function() return 1, 2 end, error)}
return loadstring("return 5")()
return loadstring("return redis.call('get', 'text')")()
return {loadstring("return 1 +")}
return {loadstring("return 1 +", "@chunk")}
return {loadstring("return 1 +", "=chunk")}
return loadstring("error('x')")()
return loadstring("y = 1")()
return {loadstring(string.dump(function() end))}
return load(function() return nil end)()
local n = 0 return load(function() n = n + 1 return ({"return ", "7"})[n] end)()
return load(1)
return {load(function() return {} end)}
return loadstring({})
return coroutine.resume(1)
return coroutine.wrap(1)
return coroutine.create(1)
local co = coroutine.create(function(a) local b = coroutine.yield(a + 1) return b * 2 end) local _, x =
  coroutine.resume(co, 1) local _, y = coroutine.resume(co, 10) return {x, y, coroutine.status(co)}
local co = coroutine.wrap(function() redis.call("set", "k1", 1) coroutine.yield(redis.call("get", "k1"))
  end) return co()
local co = coroutine.create(function() error("in coroutine") end) return {coroutine.resume(co)}
local co = coroutine.create(function() error({err = "A b"}) end) local ok, e = coroutine.resume(co) return e
local co = coroutine.create(function() redis.call("incr", "list") end) local ok, e = coroutine.resume(co)
  return e
local co = coroutine.create(function() return 1 end) coroutine.resume(co) return {coroutine.resume(co)}
return coroutine.running() == nil
return math.floor(3.7) + math.max(1, 2, 3)
return math.random(0)
return math.random(1, 2, 3)
return math.random("x")
math.randomseed(42) return {math.random(100), math.random(5, 9), math.random(1000000)}
math.randomseed(42) return tostring(math.random())
return math.randomseed()
return tostring(1e15) .. tostring(0.1) .. tostring(-0) .. tostring(1/0)
return tostring(2^53) .. " " .. 2^63
return string.format("%d %s %5.2f %q %x", 3.0, "s", 2.5, "q\n", 255)
return string.format("%d", "x")
return ("hello world"):gsub("o", "0")
return {("a,b,c"):match("(%w),(%w)")}
return ("x"):rep(3, ",")
local t = {} for w in ("one two"):gmatch("%a+") do t[#t + 1] = w end return t
return {string.byte("abc", 1, -1)}
return string.char(0, 255, 10)
return {tostring(nil), tostring(true), type(tostring({}))}
return {tonumber("0x10"), tonumber("  12  "), tostring(tonumber("1e1")), tostring(tonumber("z"))}
return {tonumber("11", 2), tonumber("zz", 36)}
return _VERSION
return type(gcinfo())
return type(collectgarbage("count"))
return table.getn({1, 2, 3})
return table.maxn({1, 2, [10] = 3})
local n = 0 table.foreach({1, 2, 3}, function(k, v) n = n + v end) return n
"""

PROTECTION: Final = r"""
x = 1
return x
return _G.x
_G.x = 1
_G["redis"] = nil
redis = nil
redis.call = nil
redis.x = 1
string.rep = nil
math.x = 1
KEYS = {}
ARGV[3] = "x" return ARGV
function f() end
local function f() return 1 end return f()
rawset(_G, "x", 1)
rawset(redis, "x", 1)
rawset(string, "x", 1)
return rawget(_G, "x")
return type(rawget(_G, "redis"))
return type(rawget(redis, "call"))
table.insert(redis, 1)
table.insert(_G, 1)
setmetatable(_G, {})
setmetatable(redis, {})
setmetatable(string, nil)
getmetatable("").__index = 1
getmetatable("").__index.x = 1
return type(getmetatable(""))
return type(getmetatable("").__index)
return getmetatable(1)
return getmetatable(redis)
return type(_G._G) .. type(_G.redis) .. tostring(_G == _G._G)
return _G[{}]
return _G[1]
return redis.foo
return string.foo
return os
return io
return debug
return require
return package
return dofile
return loadfile
return print
return module
return python
return newproxy
return getfenv
return setfenv
return lupa
return type(next(_G))
local n = 0 for k in pairs(_G) do n = n + 1 end return n > 20
local t = {} for k, v in pairs(redis) do if type(v) == "function" then t[#t + 1] = k end end
  table.sort(t) return t
local t = {} for k, v in pairs(math) do t[#t + 1] = k end table.sort(t) return t
local t = {} for k, v in pairs(cjson) do t[#t + 1] = k end table.sort(t) return t
local t = {} for k, v in pairs(cmsgpack) do t[#t + 1] = k end table.sort(t) return t
local t = {} for k, v in pairs(bit) do t[#t + 1] = k end table.sort(t) return t
local t = {} for k, v in pairs(struct) do t[#t + 1] = k end table.sort(t) return t
local t = {} for k, v in pairs(string) do t[#t + 1] = k end table.sort(t) return t
local t = {} for k, v in pairs(table) do t[#t + 1] = k end table.sort(t) return t
local t = {} for k, v in pairs(coroutine) do t[#t + 1] = k end table.sort(t) return t
return {type(redis.call), type(cjson.encode), type(bit.band), type(struct.pack), type(pcall),
  type(math.random)}
local ok, e = pcall(function() x = 1 end) return e
local ok, e = pcall(function() return x end) return e
"""

LIBRARIES: Final = r"""
return cjson.encode({1, 2, 3})
return cjson.encode({})
return cjson.encode({a = 1})
return cjson.encode({[1] = 1, [2] = 2, [4] = 4})
return cjson.encode({[1] = 1, [100] = 2})
return cjson.encode({[1.5] = 1})
return cjson.encode({[0] = 1})
return cjson.encode({[{}] = 1})
return cjson.encode({[true] = 1})
return cjson.encode({{{}}, {{{1}}}})
return cjson.encode("a\"b\\c/d\b\f\n\r\t\0\1\31\127\128\255")
return cjson.encode({1.5, 1e20, 1e-5, 123456789012345678, 0.1, -0.5, 100})
return cjson.encode(1/0)
return cjson.encode(0/0)
return cjson.encode({1, true, false, cjson.null})
return cjson.encode(nil)
return cjson.encode()
return cjson.encode(1, 2)
return cjson.encode(print)
return cjson.encode({function() end})
return cjson.encode({tostring})
local t = {} for i = 1, 1001 do t = {t} end return cjson.encode(t)
local t = {} t[1] = t return cjson.encode(t)
return cjson.decode("[1,2,3]")
return cjson.decode('{"a":{"b":[1,"x",true,false,null]}}').a.b
return cjson.decode('{"a":1,"a":2}').a
return cjson.decode('"a\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\u00e9\\u20ac\\ud83d\\ude00"')
return tostring(cjson.decode("1.5")) .. tostring(cjson.decode("-1e3")) .. tostring(cjson.decode("0x1f"))
return tostring(cjson.decode("[nan]")[1] ~= cjson.decode("[nan]")[1]) ..
  tostring(cjson.decode("[-inf, Infinity]")[1])
return cjson.decode("null") == cjson.null
return type(cjson.null)
return cjson.decode("")
return cjson.decode("   ")
return cjson.decode("[")
return cjson.decode("]")
return cjson.decode("{")
return cjson.decode("{a:1}")
return cjson.decode('{"a" 1}')
return cjson.decode('{"a":}')
return cjson.decode('{"a":1,}')
return cjson.decode('{"a":1 "b":2}')
return cjson.decode("[1,]")
return cjson.decode("[1 2]")
return cjson.decode("[1,2] x")
return cjson.decode("tru")
return cjson.decode("nul")
return cjson.decode("x")
return cjson.decode("-")
return cjson.decode("01")
return cjson.decode("+1")
return cjson.decode(".5")
return cjson.decode("1.")
return cjson.decode("1e")
return cjson.decode('"abc')
return cjson.decode('"a\\x"')
return cjson.decode('"a\\u12"')
return cjson.decode('"\\ud800"')
return cjson.decode('"\\ud800\\u0041"')
return cjson.decode('"\\udc00"')
return cjson.decode("[1,2")
return cjson.decode(1)
return cjson.decode({})
return cjson.decode()
return cjson.decode(("["):rep(1001))
return #cjson.decode(("["):rep(999) .. ("]"):rep(999))
return cjson.encode(cjson.decode('{"list":[1,2,{"x":null}]}').list)
return {cjson._NAME, cjson._VERSION}
return {cjson.encode_max_depth(), cjson.decode_max_depth(), cjson.encode_number_precision()}
return {tostring(cjson.encode_keep_buffer()), tostring(cjson.encode_invalid_numbers()),
  tostring(cjson.decode_invalid_numbers())}
return {cjson.encode_sparse_array()}
return cmsgpack.pack(1)
return cmsgpack.pack(-1, 127, 128, 255, 256, 65535, 65536, 4294967295, 4294967296, -32, -33, -128, -129,
  -32768, -32769)
return cmsgpack.pack(1.5, 0.1, 1e300, 2^63, -2^63, 1/0)
return cmsgpack.pack("a", ("x"):rep(31), ("x"):rep(32), ("x"):rep(255), ("x"):rep(256))
return cmsgpack.pack(nil, true, false)
return cmsgpack.pack({}, {1, 2, 3}, {a = 1}, {1, {2, {3}}})
return cmsgpack.pack({[1] = 1, [3] = 3})
return cmsgpack.pack()
return cmsgpack.pack(print)
local t = {} for i = 1, 20 do t = {t} end return cmsgpack.pack(t)
local t = {} for i = 1, 20 do t[i] = i end return cmsgpack.pack(t)
return {cmsgpack.unpack(cmsgpack.pack(1, "a", true, {1, 2}))}
return cmsgpack.unpack(cmsgpack.pack({a = {b = "c"}})).a.b
return tostring(cmsgpack.unpack(cmsgpack.pack(1.5))) .. tostring(cmsgpack.unpack(cmsgpack.pack(-12345678)))
return {cmsgpack.unpack_one(cmsgpack.pack(1, 2, 3))}
return {cmsgpack.unpack_one(cmsgpack.pack(1, 2, 3), 1)}
return {cmsgpack.unpack_one(cmsgpack.pack(1, 2, 3), 2)}
return {cmsgpack.unpack_limit(cmsgpack.pack(1, 2, 3), 2)}
return {cmsgpack.unpack_limit(cmsgpack.pack(1, 2, 3), 2, 1)}
return cmsgpack.unpack("")
return cmsgpack.unpack("\193")
return cmsgpack.unpack("\146\1")
return cmsgpack.unpack("\217")
return cmsgpack.unpack({})
return cmsgpack.unpack()
return cmsgpack.unpack_one("abc", 10)
return cmsgpack.unpack_limit("abc", -1)
return {cmsgpack._NAME, cmsgpack._VERSION}
return bit.tobit(0xffffffff)
return bit.tobit(2^31)
return bit.bnot(0)
return {bit.band(0xff, 0x0f), bit.bor(1, 2, 4), bit.bxor(0xff, 0x0f)}
return {bit.lshift(1, 31), bit.rshift(-1, 28), bit.arshift(-16, 2), bit.rol(0x80000001, 1), bit.ror(1, 1)}
return {bit.bswap(0x12345678), bit.tohex(255), bit.tohex(-1, 4), bit.tohex(0xABC, -3)}
return bit.band()
return bit.band("x")
return bit.band("12", 4)
return bit.band(nil)
return bit.tobit(1.5) + bit.tobit(2.5)
return struct.pack(">I2i4", 1, -2)
return struct.pack("<hHlLbB", -1, 65535, -2, 3, -4, 255)
return struct.pack("<fd", 1.5, -0.1)
return struct.pack("sc3c0", "abc", "defgh", "rest")
return struct.pack("!4bi4", 1, 2)
return struct.pack(">bxb", 1, 2)
return {struct.unpack("<hH", struct.pack("<hH", -5, 5))}
return {struct.unpack("bc0", "\3abcdef")}
return {struct.unpack("s", "abc\0def")}
return {struct.unpack("<i4", "\1\0\0\0\2\0\0\0", 5)}
return tostring(struct.unpack("<d", struct.pack("<d", 0.1)))
return {struct.size("<i4"), struct.size("!8bd"), struct.size("bhilT")}
return struct.size("s")
return struct.size("c0")
return struct.pack("i4")
return struct.pack("z", 1)
return struct.pack("i33", 1)
return struct.pack("c5", "abc")
return struct.unpack("i4", "abc")
return struct.unpack("s", "abc")
return struct.unpack("c0", "abc")
return struct.pack()
"""


def sources() -> list[str]:
    """List every script."""
    text = "\n".join([RESULTS, COMMANDS, ERRORS, PROTECTION, LIBRARIES])
    return [line for line in text.replace("\n  ", " ").splitlines() if line]

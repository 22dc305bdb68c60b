"""Function libraries to be loaded side by side, and calls of FUNCTION and FCALL; see `lua_sources`.

Each library is loaded, its function `a` called, and the libraries listed; most of them cannot be loaded.
"""

from __future__ import annotations

from typing import Final

HEAD: Final = "#!lua name=lib\n"
WORKING: Final = HEAD + "redis.register_function('f', function(keys, args) return {keys, args} end)"

_BODIES: Final = r"""
redis.register_function("a")
====
redis.register_function()
====
redis.register_function(1,2)
====
redis.register_function("a", 1)
====
redis.register_function("a", function() end, 3)
====
redis.register_function("a-b", function() end)
====
redis.register_function("a", function() end) redis.register_function("a", function() end)
====
redis.register_function{function_name="a"}
====
redis.register_function{callback=function() end}
====
redis.register_function{function_name="a", callback=function() return 7 end, flags={"no-writes"},
description="d"}
====
redis.register_function{function_name="a", callback=function() return redis.call("set","k","v") end,
flags={"no-writes"}}
====
redis.register_function{function_name="a", callback=function() end, flags={"x"}}
====
redis.register_function{function_name="a", callback=function() end, flags="x"}
====
redis.register_function{function_name=1, callback=function() end}
====
redis.register_function{function_name="a", callback=1}
====
redis.register_function{function_name="a", callback=function() end, foo=1}
====
redis.register_function{1}
====
redis.register_function{[{}]=1}
====
redis.register_function{function_name="a", callback=function() end, description=1}
====
redis.call("get","x")
====
x=1
====
local x = math.floor(1)
====
return redis.foo
====
error("x")
====
syntax error
====
while false do end
====
redis.log(redis.LOG_DEBUG,"x") redis.register_function("a", function() return redis.REDIS_VERSION ~= nil end)
====
local n = 0 redis.register_function("a", function() n = n + 1 return n end)
====
redis.register_function("a", function(k,a) return KEYS end)
====
redis.register_function("a", function(k,a) x = 1 end)
====
redis.register_function("a", function(k,a) return redis.register_function("b", function() end) end)
====
redis.register_function("a", function(k,a) error("x") end)
====

redis.register_function("a",
function(k,a)
 local x = nil + 1
end)
====
redis.register_function("a", function(k,a) return redis.call("incr","l") end)
====
redis.register_function("a", function(k,a) return redis.pcall("incr","l") end)
====
redis.register_function("a", function(k,a) return redis.breakpoint end)
====
redis.register_function("a", function(k,a) return math.random() < 1 end)
====
redis.register_function("a", function(k,a) return {k,a} end)
====
redis.register_function("a", function(k,a) return loadstring("return 3")() end)
====
redis.register_function("a", string.rep)
====
redis.setresp(3)
====
redis.register_function("a", function(k,a) redis.setresp(3) return redis.call("hgetall","h") end)
====
redis.register_function("a", function(...) return select("#", ...) end)
====
redis.register_function{function_name="a", callback=function() return redis.call("set","k","v") end,
flags={"no-cluster","allow-oom","allow-stale"}}
====
redis.register_function{function_name="a", callback=function() return 1 end, flags={"NO-WRITES"}}
====
redis.register_function{FUNCTION_NAME="a", callback=function() return 1 end}
====
redis["register_function"]("a", function() return _G.redis ~= nil end)
====
redis.register_function("a", function() local t = {} for k in pairs(redis) do t[#t+1]=k end table.sort(t)
return t end)
====
local t = {} for k,v in pairs({}) do end redis.register_function("a", function() end)
====
redis.register_function("a", function() return type(pairs) end)
"""

# One line a call; LIB stands for a library that works, OTHER for one of another name with the same function.
CALLS: Final = """
FUNCTION LOAD x
FUNCTION LOAD #!lua
FUNCTION LOAD
FUNCTION LOAD LIB
FUNCTION LOAD LIB
FUNCTION LOAD REPLACE LIB
FUNCTION LOAD replace REPLACE LIB
FUNCTION LOAD foo LIB
FUNCTION LOAD OTHER
FCALL f 1 k a
FCALL f 0
FCALL nope 0
FCALL f x
FCALL f -1
FCALL f 2 a
FCALL f
FCALL_RO f 0
FUNCTION LIST
FUNCTION LIST WITHCODE
FUNCTION LIST LIBRARYNAME l*
FUNCTION LIST LIBRARYNAME
FUNCTION LIST LIBRARYNAME LIB WITHCODE
FUNCTION LIST foo
FUNCTION LIST WITHCODE WITHCODE
FUNCTION LIST libraryname nope
FUNCTION STATS
FUNCTION KILL
FUNCTION DUMP
FUNCTION RESTORE x
FUNCTION RESTORE
FUNCTION DELETE nope
FUNCTION DELETE lib
FUNCTION DELETE
FCALL f 0
FUNCTION FLUSH FOO
FUNCTION FLUSH SYNC
FUNCTION FLUSH ASYNC
FUNCTION FLUSH ASYNC x
FUNCTION DUMP
FUNCTION
FUNCTION x
EVALSHA x 0
EVALSHA_RO x 0
SCRIPT LOAD returning
SCRIPT LOAD
SCRIPT EXISTS
SCRIPT EXISTS e0e1f9fabfc9d4800c877a703b823ac0578ff8db x
SCRIPT FLUSH x
SCRIPT FLUSH ASYNC
SCRIPT FLUSH ASYNC x
SCRIPT DEBUG x
SCRIPT DEBUG NO
SCRIPT KILL
SCRIPT x
EVAL script x
EVAL script -1
EVAL script 1
EVAL script
EVAL script 01 a
EVAL script 9999999999999999999
"""


def bodies() -> list[str]:
    """List the code of every library, without its first line."""
    return _BODIES.removeprefix("\n").removesuffix("\n").split("\n====\n")

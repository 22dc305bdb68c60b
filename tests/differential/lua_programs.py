"""Lua scripts of several lines to be run side by side, like those of `lua_sources`.

First those where the line in an error matters, then what applications really send: rate limiters, locks as
redlock and redis-py release and extend them, job queues, documents, delayed queues. Last, shebang lines.
"""

from __future__ import annotations

from typing import Final

_PROGRAMS: Final = r"""
local a = 1

error('third')

====
local t = nil
local function f()
  return t.x
end
return f() + 1

====
local x = 1
redis.call('incr', 'list')
return x
====
-- a comment
local r = redis.pcall('incr', 'list')
return r
====
return redis.call(
 'incr',
 'list')
====
local ok = pcall(function()
  error('x')
end)
return tostring(ok)
====


return 1 +

====
local n = redis.call('INCR', KEYS[1])
if n == 1 then redis.call('EXPIRE', KEYS[1], 60) end
return n
====
redis.call('ZREMRANGEBYSCORE', KEYS[1], 0, 10)
if redis.call('ZCARD', KEYS[1]) < 3 then
  redis.call('ZADD', KEYS[1], 11, ARGV[1])
  return 1
end
return 0
====
if redis.call('get', KEYS[1]) == ARGV[1] then
  return redis.call('del', KEYS[1])
else
  return 0
end
====
local token = redis.call('get', KEYS[1])
if not token or token ~= ARGV[1] then
    return 0
end
local expiration = redis.call('pttl', KEYS[1])
if not expiration then
    expiration = 0
end
return 1
====
local id = redis.call('RPOPLPUSH', 'list', KEYS[1])
if id then
  redis.call('HSET', KEYS[2], id, ARGV[1])
  redis.call('HINCRBY', KEYS[2], 'taken', 1)
  return {id, redis.call('HGETALL', KEYS[2])}
end
return false
====
local doc = cjson.decode('{"n":1,"tags":["a"]}')
doc.n = doc.n + 1
redis.call('SET', KEYS[1], cjson.encode(doc.tags))
return {doc.n, redis.call('GET', KEYS[1])}
====
local due = redis.call('ZRANGEBYSCORE', 'zset', '-inf', 2, 'LIMIT', 0, 10)
for _, id in ipairs(due) do
  redis.call('ZREM', 'zset', id)
  redis.call('LPUSH', 'list', id)
end
return #due
====
#!lua
return redis.call('get', 'text')
====
#!lua flags=no-writes
return redis.call('set', 'k1', 'x')
====
#!lua flags=no-writes,allow-stale
return redis.call('get', 'text')
====
#!lua flags=nope
return 1
====
#!lua flags=
return 1
====
#!lua name=x
return 1
====
#!js
return 1
====
#!lua
====
#!lua  flags=no-writes
return 1
====
#!lua flags=no-writes flags=allow-oom
error('line')
"""


def programs() -> list[str]:
    """List every script."""
    return _PROGRAMS.strip("\n").split("\n====\n")

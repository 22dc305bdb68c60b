"""The Lua side of an interpreter: the sandbox, and how a script is compiled, run, and its result handed over.

`SOURCE` is run once in a new Lua state, before any script. It takes everything it needs of the standard
library and of lupa into local variables, empties the state's table of globals, and makes another one, in
which every chunk of a script runs and which holds what Redis's scripts see:

- Globals and libraries are empty tables in front of the real ones, which no script can reach. Reading goes
  through `__index`, writing is refused, and the functions that would bypass metatables (`rawset`, `rawget`,
  `next`, `pairs`, `setmetatable`, `getmetatable`, `table.insert`) know these tables.
- What Python offers stands behind C closures (`python.as_function`): real functions to a script. An error
  that Python raises travels as an exception object; `pcall`, `xpcall`, `coroutine.resume` and the top level
  exchange it for the Lua value that Python meant, so no script ever holds a Python object.
- No bytecode is loaded, since vanilla Lua 5.1 trusts it; every coroutine gets the hook that counts
  instructions, so none escapes the time limit.

The functions at the end are what `redoubt.scripting.interpreter` calls. A result goes to Python flat: a kind,
then either one value or many in the form of `redoubt.scripting.lua_results`.

Source: the Lua 5.1 manual; Redis `src/script_lua.c` for names and texts; behaviour compared with 7.0.15.
"""

from __future__ import annotations

from typing import Final

# Instructions between two looks at the clock; Redis: 100,000, about a millisecond.
HOOK_INSTRUCTIONS: Final = 100_000
# Redis stops where Lua's C stack ends (8,000 places); our encoder recurses, and our clients read 128 levels.
NESTING_MAX: Final = 120
# Values handed to Python at once; Lua's `unpack` ends at 8,000.
CHUNK_VALUES: Final = 4000

# Kinds of results.
KIND_ERROR: Final = 0
KIND_SCALAR: Final = 1
KIND_FLAT: Final = 2
KIND_LONG: Final = 3

SOURCE: Final = rb"""
local host, redis_table, is_library_engine, hook_instructions, nesting_max, chunk_values = ...
local as_function = python.as_function
local object_metatable = getmetatable(host.take_error)
local take_error, tick = as_function(host.take_error), as_function(host.tick)
local getinfo, sethook = debug.getinfo, debug.sethook
local type, tostring, select, error = type, tostring, select, error
local raw_pairs, raw_next, raw_pcall, raw_xpcall = pairs, next, pcall, xpcall
local raw_get, raw_set, raw_load, raw_insert = rawget, rawset, loadstring, table.insert
local raw_getmetatable, raw_setmetatable = getmetatable, setmetatable
local raw_create, raw_resume, raw_yield = coroutine.create, coroutine.resume, coroutine.yield
local raw_collect, unpack, byte, concat = collectgarbage, unpack, string.byte, table.concat
local raw_setfenv = setfenv
local G = _G
-- What scripts have as their table of globals. The state's own, which lupa looks into, stays empty.
local world = {}
local READ_ONLY = "Attempt to modify a readonly table"

-- Where the innermost frame of a script stands. A frame that a tail call has replaced has no line any more.
local function caller()
  local level = 3
  local info = getinfo(level, "Sl")
  while info and (info.what == "C" or info.source == "=redoubt") do
    level = level + 1
    info = getinfo(level, "Sl")
  end
  if not info or info.currentline < 1 then
    return is_library_engine and "user_function:1: " or "user_script:1: "
  end
  return info.short_src .. ":" .. info.currentline .. ": "
end

local function raise(message)
  error(caller() .. message, 0)
end

local function refuse_argument(position, name, expected, ...)
  local found = select("#", ...) == 0 and "no value" or type((...))
  error(caller() .. "bad argument #" .. position .. " to '" .. name .. "' (" .. expected .. " expected, got "
        .. found .. ")", 0)
end

-- Tables that scripts may read and not change: proxy to real.
local real_of = raw_setmetatable({}, {__mode = "k"})

local function refuse_change()
  raise(READ_ONLY)
end

local function protect(real)
  local proxy = raw_setmetatable({}, {__index = real, __newindex = refuse_change, __metatable = false})
  real_of[proxy] = real
  return proxy
end

-- Errors.

local killed = nil

local function translate(e)
  if type(e) == "userdata" and raw_getmetatable(e) == object_metatable then
    e = take_error()
    if e == nil then e = "internal error" end
  end
  return e
end

local function settle(ok, ...)
  if ok then return true, ... end
  if killed then error(killed, 0) end
  return false, translate((...))
end

local function settle_pcall(ok, ...)
  if ok then return true, ... end
  if killed then error(killed, 0) end
  local e = translate((...))
  if type(e) == "table" then
    local message = e.err
    if type(message) == "string" or type(message) == "number" then e = message end
  end
  return false, e
end

local function on_error(e)
  e = translate(e)
  local level = 2
  local info = getinfo(level, "Sl")
  while info and (info.what == "C" or info.source == "=redoubt") do
    level = level + 1
    info = getinfo(level, "Sl")
  end
  if type(e) ~= "table" then
    e = {err = "ERR " .. tostring(e)}
  elseif real_of[e] then
    e = {}
  end
  if info then
    if info.currentline < 1 then
      raw_set(e, "source", is_library_engine and "@user_function" or "@user_script")
      raw_set(e, "line", 1)
    else
      raw_set(e, "source", info.source)
      raw_set(e, "line", info.currentline)
    end
  end
  return e
end

-- The time limit.

-- From then on every line of the script raises; the lines of this chunk must clean up behind it.
local function on_killed()
  if getinfo(2, "S").source ~= "=redoubt" then error(killed, 0) end
end

local function on_count()
  local message = tick()
  if message then
    killed = {err = message}
    sethook(on_killed, "l")
    error(killed, 0)
  end
end

-- What stands for functions of the standard library.

local lib = {}

function lib.pcall(...)
  if select("#", ...) == 0 then return false end
  return settle_pcall(raw_pcall(...))
end

function lib.xpcall(f, handler, ...)
  return settle(raw_xpcall(f, function(e)
    if killed then return e end
    return handler(translate(e))
  end))
end

function lib.next(t, key, ...)
  if type(t) ~= "table" then refuse_argument(1, "next", "table", t) end
  return raw_next(real_of[t] or t, key)
end

function lib.pairs(...)
  local t = ...
  if type(t) ~= "table" then refuse_argument(1, "pairs", "table", ...) end
  if real_of[t] then return lib.next, t, nil end
  return raw_pairs(t)
end

function lib.rawget(...)
  local t, key = ...
  if type(t) ~= "table" then refuse_argument(1, "rawget", "table", ...) end
  return raw_get(real_of[t] or t, key)
end

function lib.rawset(...)
  local t, key, value = ...
  if type(t) ~= "table" then refuse_argument(1, "rawset", "table", ...) end
  if real_of[t] then error(READ_ONLY, 0) end
  return raw_set(t, key, value)
end

function lib.setmetatable(...)
  local t, metatable = ...
  if type(t) ~= "table" then refuse_argument(1, "setmetatable", "table", ...) end
  if select("#", ...) < 2 or (metatable ~= nil and type(metatable) ~= "table") then
    raise("bad argument #2 to 'setmetatable' (nil or table expected)")
  end
  if real_of[t] then error(READ_ONLY, 0) end
  if not raw_pcall(raw_setmetatable, t, metatable) then raise("cannot change a protected metatable") end
  return t
end

local string_metatable

function lib.getmetatable(...)
  if select("#", ...) == 0 then raise("bad argument #1 to 'getmetatable' (value expected)") end
  local value = ...
  if type(value) == "string" then return string_metatable end
  if type(value) == "table" then
    if value == world then return protect({__index = refuse_change}) end
    if real_of[value] then return nil end
    return raw_getmetatable(value)
  end
  return nil
end

function lib.insert(...)
  local t, count = ..., select("#", ...)
  if type(t) ~= "table" then refuse_argument(1, "insert", "table", ...) end
  if real_of[t] then error(READ_ONLY, 0) end
  if count == 2 then
    t[#t + 1] = select(2, ...)
    return
  end
  if count ~= 3 then raise("wrong number of arguments to 'insert'") end
  local position = select(2, ...)
  if type(position) ~= "number" and not tonumber(position) then
    refuse_argument(2, "insert", "number", position)
  end
  raw_insert(...)
end

local function in_world(chunk, complaint)
  if chunk then return raw_setfenv(chunk, world) end
  return nil, complaint
end

function lib.loadstring(...)
  local code, name = ...
  if type(code) ~= "string" and type(code) ~= "number" then
    refuse_argument(1, "loadstring", "string", ...)
  end
  code = tostring(code)
  if name == nil then name = code end
  if byte(code) == 27 then
    local _, message = raw_load("?", name)
    return nil, (message:gsub("near '.*$", "near 'char(27)'"))
  end
  return in_world(raw_load(code, name))
end

function lib.load(...)
  local reader, name = ...
  if type(reader) ~= "function" then refuse_argument(1, "load", "function", ...) end
  local pieces = {}
  while true do
    local piece = reader()
    if piece == nil or piece == "" then break end
    if type(piece) ~= "string" then return nil, "reader function must return a string" end
    pieces[#pieces + 1] = piece
  end
  return lib.loadstring(concat(pieces), name or "=(load)")
end

function lib.collectgarbage(option, argument)
  -- How the collector works is not a script's business: it would stay so for all that follow.
  local is_setting = option == "stop" or option == "restart" or option == "setpause" or option == "setstepmul"
  if is_setting then return 0 end
  if option == nil then return raw_collect() end
  return raw_collect(option, argument)
end

local function create(name, f)
  if type(f) ~= "function" then raise("bad argument #1 to '" .. name .. "' (Lua function expected)") end
  local thread = raw_create(f)
  sethook(thread, on_count, "", hook_instructions)
  return thread
end

local function unwrap(ok, ...)
  if ok then return ... end
  local e = translate((...))
  if type(e) == "string" then e = caller() .. e end
  error(e, 0)
end

-- The tables of a script's world.

local function copied(original, names)
  local copy = {}
  for name in names:gmatch("%S+") do copy[name] = original[name] end
  return copy
end

local string_lib = copied(string,
  "byte char dump find format gfind gmatch gsub len lower match rep reverse sub upper")
local table_lib = copied(table, "concat foreach foreachi getn maxn remove setn sort")
table_lib.insert = lib.insert
local math_lib = copied(math, "abs acos asin atan atan2 ceil cos cosh deg exp floor fmod frexp huge ldexp "
  .. "log log10 max min mod modf pi pow rad sin sinh sqrt tan tanh")
math_lib.random, math_lib.randomseed = as_function(host.random), as_function(host.randomseed)
local coroutine_lib = {
  running = coroutine.running, status = coroutine.status, yield = raw_yield,
  create = function(f) return create("create", f) end,
  resume = function(thread, ...)
    if type(thread) ~= "thread" then raise("bad argument #1 to 'resume' (coroutine expected)") end
    return settle(raw_resume(thread, ...))
  end,
  wrap = function(f)
    local thread = create("wrap", f)
    return function(...) return unwrap(raw_resume(thread, ...)) end
  end,
}

local null = newproxy(false)
local tools = {
  raise = raise, null = null, real_of = real_of, as_function = as_function,
}

local redis_lib = {}
for name, value in raw_pairs(redis_table) do
  redis_lib[name] = type(value) == "userdata" and as_function(value) or value
end
local bit_lib = {}
for name, value in raw_pairs(host.bit) do bit_lib[name] = as_function(value) end
local struct_lib = {}
for name, value in raw_pairs(host.struct) do struct_lib[name] = as_function(value) end

local globals = copied(G, "_VERSION assert error gcinfo ipairs rawequal select tonumber tostring type unpack")
for _, name in ipairs({"pcall", "xpcall", "next", "pairs", "rawget", "rawset", "setmetatable", "getmetatable",
                       "loadstring", "load", "collectgarbage"}) do
  globals[name] = lib[name]
end
globals._G = world
globals.string, globals.table = protect(string_lib), protect(table_lib)
globals.math, globals.coroutine = protect(math_lib), protect(coroutine_lib)
globals.bit, globals.struct = protect(bit_lib), protect(struct_lib)
globals.redis = protect(redis_lib)
raw_getmetatable("").__index = string_lib
string_metatable = protect({__index = globals.string})

local function missing(_, name)
  if type(name) ~= "string" and type(name) ~= "number" then
    raise("Second argument to luaProtectedTableError must be a string or number")
  end
  raise("Script attempted to access nonexistent global variable '" .. name .. "'")
end
raw_setmetatable(globals, {__index = missing})

-- While a library is loaded it sees little more than how to register.
local load_globals
if is_library_engine then
  local narrow = {register_function = redis_lib.register_function}
  for _, name in ipairs({"log", "LOG_DEBUG", "LOG_VERBOSE", "LOG_NOTICE", "LOG_WARNING", "REDIS_VERSION",
                         "REDIS_VERSION_NUM"}) do
    narrow[name] = redis_lib[name]
  end
  redis_lib.register_function = nil
  raw_setmetatable(narrow, {__index = missing})
  load_globals = raw_setmetatable({redis = protect(narrow)}, {__index = missing})
end

local installed = {}
local function install(name, source)
  local loader = raw_load(source, "=redoubt")
  globals[name] = protect(loader(tools, copied(globals, "type tostring tonumber select unpack"), string_lib,
                                 math_lib, concat, raw_next, raw_getmetatable, host))
end
install("cjson", host.cjson)
install("cmsgpack", host.cmsgpack)

for name in raw_pairs(G) do G[name] = nil end
local globals_metatable = {__index = globals, __newindex = refuse_change, __metatable = false}
raw_setmetatable(world, globals_metatable)
real_of[world] = globals
sethook(on_count, "", hook_instructions)

-- What Python calls.

local flatten = raw_load(host.results, "=redoubt")(tools, nesting_max, type, raw_get, raw_next)
local tail

local function text_of(value)
  if type(value) == "string" or type(value) == "number" then return tostring(value) end
  return nil
end

local function finish(ok, value)
  if killed then
    killed = nil
    sethook(on_count, "", hook_instructions)
  end
  if not ok then
    value = translate(value)
    if type(value) ~= "table" then return 0, nil, text_of(value) or "execution failure", nil, false end
    return 0, text_of(value.err) or "ERR unknown error", text_of(value.source), text_of(value.line),
           value.ignore_error_stats_update == true
  end
  local kind = type(value)
  if kind == "string" or kind == "number" or kind == "boolean" then return 1, value end
  if kind ~= "table" then return 1, nil end
  local out = {}
  local n = flatten(value, out, 1, 1)
  if n <= chunk_values then return 2, unpack(out, 1, n - 1) end
  tail = {out, n - 1}
  return 3, n - 1
end

-- A call with metamethods of the script in it may fail, too.
local function finish_safely(ok, value)
  if ok and type(value) ~= "table" then return finish(ok, value) end
  local function all(done, ...)
    if done then return ... end
    killed = nil
    return 0, nil, text_of((...)) or "execution failure", nil, false
  end
  return all(raw_pcall(finish, ok, value))
end

local entry = {}

function entry.run(f, key_count, ...)
  if key_count == 0 and select("#", ...) == 0 then
    globals.KEYS, globals.ARGV = {}, {}
    return finish_safely(raw_xpcall(f, on_error))
  end
  local words = {...}
  if key_count == 0 then
    globals.KEYS, globals.ARGV = {}, words
  else
    local keys, arguments = {}, {}
    local count = #words
    for i = 1, key_count do keys[i] = words[i] end
    for i = key_count + 1, count do arguments[i - key_count] = words[i] end
    globals.KEYS, globals.ARGV = keys, arguments
  end
  return finish_safely(raw_xpcall(f, on_error))
end

function entry.run_with(f, keys, arguments)
  globals.KEYS, globals.ARGV = keys, arguments
  return finish_safely(raw_xpcall(f, on_error))
end

function entry.call(f, keys, arguments)
  return finish_safely(raw_xpcall(function() return f(keys, arguments) end, on_error))
end

function entry.more(first, last)
  local out = tail[1]
  if last >= tail[2] then
    last = tail[2]
    tail = nil
  end
  return true, unpack(out, first, last)
end

function entry.compile(source, name)
  if byte(source) == 27 then return nil, "user_script:1: unexpected symbol near 'char(27)'" end
  return in_world(raw_load(source, name))
end

function entry.load_library(f)
  globals_metatable.__index = load_globals
  local ok, e = raw_xpcall(f, on_error)
  globals_metatable.__index = globals
  if killed then
    killed = nil
    sethook(on_count, "", hook_instructions)
  end
  if ok then return true end
  if type(e) ~= "table" then return false, "ERR " .. (text_of(e) or "execution failure") end
  return false, text_of(e.err) or "ERR unknown error"
end

function entry.status(text) return {ok = text} end
function entry.error(text, is_counted)
  return {err = text, ignore_error_stats_update = is_counted or nil}
end
function entry.double(number) return {double = number} end
function entry.big_number(text) return {big_number = text} end
function entry.verbatim(form, text) return {verbatim_string = {format = form, string = text}} end
function entry.map(...)
  local map = {}
  for i = 1, select("#", ...), 2 do
    local key, value = select(i, ...)
    map[key] = value
  end
  return {map = map}
end
function entry.where() return caller() end
function entry.null() return null end

return entry
"""

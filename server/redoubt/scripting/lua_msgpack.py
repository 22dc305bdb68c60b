"""The library `cmsgpack` of scripts: MessagePack, in Lua, with the layout of numbers done in Python.

It packs as lua-cmsgpack does: integers in the shortest form, other numbers as a float where that loses
nothing, a table whose keys are 1..n as an array, and what lies deeper than 16 tables as nil.

`redoubt.scripting.sandbox` runs the chunk once. Source: the MessagePack specification; the README of
lua-cmsgpack; compared with Redis 7.0.
"""

from __future__ import annotations

import struct
from typing import Any, Final

_FLOAT_FORMATS: Final = {b"f": ">f", b"d": ">d"}


def pack_double(number: Any) -> Any:
    """Pack a number that is no integer, with its leading byte."""
    try:
        short = struct.pack(">f", number)
        if struct.unpack(">f", short)[0] == number:
            return b"\xca" + short
    except OverflowError:
        pass
    return b"\xcb" + struct.pack(">d", number)


def pack_integer(number: Any) -> Any:
    """Pack an integer in its shortest form, with its leading byte."""
    number = int(number)
    if number >= 0:
        if number <= 0x7F:
            return bytes([number])
        for lead, size in ((b"\xcc", 1), (b"\xcd", 2), (b"\xce", 4)):
            if number < 1 << (8 * size):
                return lead + number.to_bytes(size, "big")
        return b"\xcf" + number.to_bytes(8, "big")
    if number >= -32:
        return bytes([number & 0xFF])
    for lead, size in ((b"\xd0", 1), (b"\xd1", 2), (b"\xd2", 4)):
        if number >= -(1 << (8 * size - 1)):
            return lead + number.to_bytes(size, "big", signed=True)
    return b"\xd3" + number.to_bytes(8, "big", signed=True)


def unpack_number(form: Any, data: Any) -> Any:
    """Unpack the bytes of a number: f and d floating point, i signed, u unsigned."""
    if form in _FLOAT_FORMATS:
        return struct.unpack(_FLOAT_FORMATS[form], data)[0]
    return float(int.from_bytes(data, "big", signed=form == b"i"))


SOURCE: Final = rb"""
local tools, lua, string, math, concat, next, getmetatable, host = ...
local type, tostring, tonumber, select, unpack = lua.type, lua.tostring, lua.tonumber, lua.select, lua.unpack
local raise = tools.raise
local char, sub, byte = string.char, string.sub, string.byte
local floor = math.floor
local pack_double, pack_integer = tools.as_function(host.pack_double), tools.as_function(host.pack_integer)
local unpack_number = tools.as_function(host.unpack_number)
local NESTING_MAX = 16

local function big_endian(value, size)
  local bytes = {}
  for i = size, 1, -1 do
    bytes[i] = char(value % 256)
    value = floor(value / 256)
  end
  return concat(bytes)
end

-- Packing.

local append

local function append_string(text, out, n)
  local length = #text
  if length < 32 then
    out[n + 1] = char(0xA0 + length)
  elseif length <= 0xFF then
    out[n + 1] = char(0xD9, length)
  elseif length <= 0xFFFF then
    out[n + 1] = "\218" .. big_endian(length, 2)
  else
    out[n + 1] = "\219" .. big_endian(length, 4)
  end
  out[n + 2] = text
  return n + 2
end

local function header(count, short, long)
  if count <= 15 then return char(short + count) end
  if count <= 0xFFFF then return char(long) .. big_endian(count, 2) end
  return char(long + 1) .. big_endian(count, 4)
end

local function append_table(t, out, n, depth)
  local count, last, is_array = 0, 0, true
  for key in next, t do
    count = count + 1
    if type(key) ~= "number" or key <= 0 or floor(key) ~= key then
      is_array = false
    elseif key > last then
      last = key
    end
  end
  if is_array and last == count then
    n = n + 1
    out[n] = header(count, 0x90, 0xDC)
    for i = 1, count do n = append(t[i], out, n, depth + 1) end
    return n
  end
  n = n + 1
  out[n] = header(count, 0x80, 0xDE)
  for key, value in next, t do
    n = append(key, out, n, depth + 1)
    n = append(value, out, n, depth + 1)
  end
  return n
end

function append(value, out, n, depth)
  local kind = type(value)
  if kind == "table" and depth == NESTING_MAX then kind = "nil" end
  if kind == "string" then return append_string(value, out, n) end
  if kind == "number" then
    if value == floor(value) and value >= -9223372036854775808 and value < 9223372036854775808 then
      out[n + 1] = pack_integer(value)
    else
      out[n + 1] = pack_double(value)
    end
  elseif kind == "boolean" then
    out[n + 1] = value and "\195" or "\194"
  elseif kind == "table" then
    return append_table(value, out, n, depth)
  else
    out[n + 1] = "\192"
  end
  return n + 1
end

local function pack(...)
  local count = select("#", ...)
  if count == 0 then raise("bad argument #0 to 'pack' (MessagePack pack needs input.)") end
  local out, n = {}, 0
  for i = 1, count do n = append((select(i, ...)), out, n, 0) end
  return concat(out)
end

-- Unpacking.

local function missing()
  raise("Missing bytes in input.")
end

local function take(data, at, size)
  if at + size - 1 > #data then missing() end
  return sub(data, at, at + size - 1), at + size
end

local function length_at(data, at, size)
  local text
  text, at = take(data, at, size)
  local value = 0
  for i = 1, size do value = value * 256 + byte(text, i) end
  return value, at
end

local value_at

local function array_at(data, at, count, depth)
  local array = {}
  for i = 1, count do array[i], at = value_at(data, at, depth) end
  return array, at
end

local function map_at(data, at, count, depth)
  local map = {}
  for _ = 1, count do
    local key, value
    key, at = value_at(data, at, depth)
    value, at = value_at(data, at, depth)
    if key == nil then raise("table index is nil") end
    map[key] = value
  end
  return map, at
end

local numbers = {
  [0xCA] = {"f", 4}, [0xCB] = {"d", 8}, [0xCC] = {"u", 1}, [0xCD] = {"u", 2}, [0xCE] = {"u", 4},
  [0xCF] = {"u", 8}, [0xD0] = {"i", 1}, [0xD1] = {"i", 2}, [0xD2] = {"i", 4}, [0xD3] = {"i", 8},
}
local texts = {[0xC4] = 1, [0xC5] = 2, [0xC6] = 4, [0xD9] = 1, [0xDA] = 2, [0xDB] = 4}

function value_at(data, at, depth)
  local lead = byte(data, at)
  if not lead then missing() end
  at = at + 1
  if lead <= 0x7F then return lead, at end
  if lead >= 0xE0 then return lead - 256, at end
  if lead >= 0xA0 and lead <= 0xBF then return take(data, at, lead - 0xA0) end
  if lead <= 0x8F then return map_at(data, at, lead - 0x80, depth) end
  if lead <= 0x9F then return array_at(data, at, lead - 0x90, depth) end
  if lead == 0xC0 then return nil, at end
  if lead == 0xC2 then return false, at end
  if lead == 0xC3 then return true, at end
  local number = numbers[lead]
  if number then
    local text
    text, at = take(data, at, number[2])
    return unpack_number(number[1], text), at
  end
  local count
  if texts[lead] then
    count, at = length_at(data, at, texts[lead])
    return take(data, at, count)
  end
  if lead == 0xDC or lead == 0xDD then
    count, at = length_at(data, at, lead == 0xDC and 2 or 4)
    return array_at(data, at, count, depth)
  end
  if lead == 0xDE or lead == 0xDF then
    count, at = length_at(data, at, lead == 0xDE and 2 or 4)
    return map_at(data, at, count, depth)
  end
  raise("Bad data format in input.")
end

local function text_argument(name, ...)
  local data = ...
  if type(data) == "number" then data = tostring(data) end
  if type(data) ~= "string" then
    local found = select("#", ...) == 0 and "no value" or type(data)
    raise("bad argument #1 to '" .. name .. "' (string expected, got " .. found .. ")")
  end
  return data
end

-- Up to `limit` values from `offset` on; with a limit the first result is where to go on, or -1.
local function unpack_some(data, limit, offset, returns_place)
  if limit < 0 or offset < 0 then
    raise("Invalid request to unpack with offset of " .. offset .. " and limit of " .. #data .. ".")
  end
  if offset > #data then raise("Start offset " .. offset .. " greater than input length " .. #data .. ".") end
  local values, n, at = {}, 0, offset + 1
  while at <= #data and (limit == 0 or n < limit) do
    n = n + 1
    values[n], at = value_at(data, at, 0)
  end
  if returns_place then return at > #data and -1 or at - 1, unpack(values, 1, n) end
  return unpack(values, 1, n)
end

return {
  _NAME = "cmsgpack", _VERSION = "lua-cmsgpack 0.4.0",
  _COPYRIGHT = "Copyright (C) 2012, Salvatore Sanfilippo",
  _DESCRIPTION = "MessagePack C implementation for Lua",
  pack = pack,
  unpack = function(...) return unpack_some(text_argument("unpack", ...), 0, 0, false) end,
  unpack_one = function(...)
    local data, offset = ...
    return unpack_some(text_argument("unpack_one", data), 1, tonumber(offset) or 0, true)
  end,
  unpack_limit = function(...)
    local data, limit, offset = ...
    if type(limit) ~= "number" then
      raise("bad argument #2 to 'unpack_limit' (number expected, got "
            .. (select("#", ...) < 2 and "no value" or type(limit)) .. ")")
    end
    return unpack_some(text_argument("unpack_limit", data), limit, tonumber(offset) or 0, true)
  end,
}
"""

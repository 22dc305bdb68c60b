"""The library `cjson` of scripts, in Lua: tables of a script never cross the border.

Encoding and decoding take lua-cjson's decisions: which tables are arrays, how sparse one may be, "\\/" and
"\\u007f" in strings, 14 digits, and its error texts. What `cjson.encode_max_depth` and its relatives set
holds for all later scripts, as in Redis.

`redoubt.scripting.sandbox` runs this chunk once. Source: the lua-cjson 2.1 manual; compared with Redis 7.0.
"""

from __future__ import annotations

from typing import Final

SOURCE: Final = rb"""
local tools, lua, string, math, concat, next, getmetatable, host = ...
local type, tostring, tonumber, select = lua.type, lua.tostring, lua.tonumber, lua.select
local raise, null = tools.raise, tools.null
local format, gsub, find, sub = string.format, string.gsub, string.find, string.sub
local byte, char = string.byte, string.char
local floor, huge = math.floor, math.huge

local encode_max_depth, decode_max_depth = 1000, 1000
local sparse_convert, sparse_ratio, sparse_safe = false, 2, 10
local number_format, precision = "%.14g", 14
local encode_invalid, decode_invalid = false, true
local keep_buffer = true

-- Encoding.

local escapes = {['"'] = '\\"', ["\\"] = "\\\\", ["/"] = "\\/", ["\b"] = "\\b", ["\f"] = "\\f",
                 ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t", ["\127"] = "\\u007f"}
for code = 0, 31 do
  local letter = char(code)
  if not escapes[letter] then escapes[letter] = format("\\u%04x", code) end
end

local function quoted(text)
  if find(text, '[%c"\\/\127]') or find(text, "%z") then text = gsub(text, '[%z%c"\\/\127]', escapes) end
  return '"' .. text .. '"'
end

local function cannot(value, reason)
  raise("Cannot serialise " .. type(value) .. ": " .. reason)
end

local function number_text(value)
  if value ~= value or value == huge or value == -huge then
    if encode_invalid == "null" then return "null" end
    if not encode_invalid then cannot(value, "must not be NaN or Inf") end
    if value ~= value then return "nan" end
  end
  return format(number_format, value)
end

-- The length of a table that is an array, or -1.
local function array_length(t)
  local last, count = 0, 0
  for key in next, t do
    if type(key) == "number" and floor(key) == key and key >= 1 then
      if key > last then last = key end
      count = count + 1
    else
      return -1
    end
  end
  if sparse_ratio > 0 and last > count * sparse_ratio and last > sparse_safe then
    if not sparse_convert then cannot(t, "excessively sparse array") end
    return -1
  end
  return last
end

local append

local function append_table(t, out, n, depth)
  if depth > encode_max_depth then raise("Cannot serialise, excessive nesting (" .. depth .. ")") end
  local length = array_length(t)
  if length > 0 then
    n = n + 1
    out[n] = "["
    for i = 1, length do
      if i > 1 then
        n = n + 1
        out[n] = ","
      end
      n = append(t[i], out, n, depth)
    end
    n = n + 1
    out[n] = "]"
    return n
  end
  n = n + 1
  out[n] = "{"
  local is_first = true
  for key, value in next, t do
    if not is_first then
      n = n + 1
      out[n] = ","
    end
    is_first = false
    local kind = type(key)
    n = n + 1
    if kind == "string" then
      out[n] = quoted(key) .. ":"
    elseif kind == "number" then
      out[n] = '"' .. number_text(key) .. '":'
    else
      cannot(key, "table key must be a number or string")
    end
    n = append(value, out, n, depth)
  end
  n = n + 1
  out[n] = "}"
  return n
end

function append(value, out, n, depth)
  local kind = type(value)
  if kind == "string" then
    out[n + 1] = quoted(value)
  elseif kind == "number" then
    out[n + 1] = number_text(value)
  elseif kind == "table" then
    return append_table(value, out, n, depth + 1)
  elseif kind == "boolean" then
    out[n + 1] = value and "true" or "false"
  elseif kind == "nil" or value == null then
    out[n + 1] = "null"
  else
    cannot(value, "type not supported")
  end
  return n + 1
end

local function encode(...)
  if select("#", ...) ~= 1 then raise("bad argument #1 to 'encode' (expected 1 argument)") end
  local out = {}
  append((...), out, 0, 0)
  return concat(out)
end

-- Decoding. A token is its kind, its value, and where the text goes on.

local spellings = {["{"] = "T_OBJ_BEGIN", ["}"] = "T_OBJ_END", ["["] = "T_ARR_BEGIN", ["]"] = "T_ARR_END",
                   [","] = "T_COMMA", [":"] = "T_COLON"}
local literals = {t = {"true", "T_BOOLEAN", true}, f = {"false", "T_BOOLEAN", false},
                  n = {"null", "T_NULL", null}}
local unescaped = {['"'] = '"', ["\\"] = "\\", ["/"] = "/", b = "\b", f = "\f", n = "\n", r = "\r", t = "\t"}

local function utf8(code)
  if code < 0x80 then return char(code) end
  if code < 0x800 then return char(0xC0 + floor(code / 64), 0x80 + code % 64) end
  if code < 0x10000 then
    return char(0xE0 + floor(code / 4096), 0x80 + floor(code / 64) % 64, 0x80 + code % 64)
  end
  return char(0xF0 + floor(code / 262144), 0x80 + floor(code / 4096) % 64, 0x80 + floor(code / 64) % 64,
              0x80 + code % 64)
end

local function unicode_escape(text, at)
  local digits = find(text, "^%x%x%x%x", at + 2) and sub(text, at + 2, at + 5)
  if not digits then return nil end
  local code = tonumber(digits, 16)
  if code < 0xD800 or code > 0xDFFF then return utf8(code), at + 6 end
  if code > 0xDBFF then return nil end
  local low = find(text, "^\\u%x%x%x%x", at + 6) and tonumber(sub(text, at + 8, at + 11), 16)
  if not low or low < 0xDC00 or low > 0xDFFF then return nil end
  return utf8(0x10000 + (code - 0xD800) * 1024 + (low - 0xDC00)), at + 12
end

-- A string with escapes in it; `at` stands behind the quotation mark.
local function string_token(text, at, start)
  local pieces, n = {}, 0
  while true do
    local stop = find(text, '[%z\\"]', at)
    if not stop or byte(text, stop) == 0 then
      return "T_ERROR", "unexpected end of string", stop or #text + 1, stop or #text + 1
    end
    n = n + 1
    pieces[n] = sub(text, at, stop - 1)
    if byte(text, stop) == 34 then return "T_STRING", concat(pieces), stop + 1, start end
    local letter = sub(text, stop + 1, stop + 1)
    n = n + 1
    if letter == "u" then
      local piece, behind = unicode_escape(text, stop)
      if not piece then return "T_ERROR", "invalid unicode escape code", stop, stop end
      pieces[n], at = piece, behind
    else
      local piece = unescaped[letter]
      if not piece then return "T_ERROR", "invalid escape code", stop, stop end
      pieces[n], at = piece, stop + 2
    end
  end
end

local function number_token(text, at)
  local stop
  if find(text, "^[-+]?0[xX]%x", at) then
    if not decode_invalid then return "T_ERROR", "invalid number", at, at end
    _, stop = find(text, "^[-+]?0[xX]%x+", at)
    local sign = sub(text, at, at) == "-" and -1 or 1
    local digits = gsub(sub(text, at, stop), "^[-+]?0[xX]", "")
    return "T_NUMBER", sign * tonumber(digits, 16), stop + 1, at
  end
  local name_start, name_end, sign, name = find(text, "^([-+]?)([iInN]%a+)", at)
  if name_start then
    local lower = string.lower(name)
    local value = sub(lower, 1, 3) == "nan" and 0 / 0 or sub(lower, 1, 3) == "inf" and huge
    if not value or not decode_invalid then return "T_ERROR", "invalid token", at, at end
    local length = sub(lower, 1, 8) == "infinity" and 8 or 3
    return "T_NUMBER", sign == "-" and -value or value, at + #sign + length, at
  end
  if not decode_invalid and (find(text, "^%+", at) or find(text, "^-?0%d", at)) then
    return "T_ERROR", "invalid number", at, at
  end
  _, stop = find(text, "^[-+]?%d+%.?%d*[eE][-+]?%d+", at)
  if not stop then _, stop = find(text, "^[-+]?%d+%.?%d*", at) end
  if not stop then _, stop = find(text, "^[-+]?%.%d+", at) end
  if not stop then return "T_ERROR", "invalid number", at, at end
  return "T_NUMBER", tonumber(sub(text, at, stop)), stop + 1, at
end

local function token(text, at)
  at = find(text, "[^ \t\n\r]", at)
  if not at then return "T_END", nil, #text + 1, #text + 1 end
  local letter = sub(text, at, at)
  if letter == '"' then
    local stop = find(text, '[%z\\"]', at + 1)
    if stop and byte(text, stop) == 34 then return "T_STRING", sub(text, at + 1, stop - 1), stop + 1, at end
    return string_token(text, at + 1, at)
  end
  local spelling = spellings[letter]
  if spelling then return spelling, nil, at + 1, at end
  if find(letter, "[%d%-+]") then return number_token(text, at) end
  local literal = literals[letter]
  if literal and sub(text, at, at + #literal[1] - 1) == literal[1] then
    return literal[2], literal[3], at + #literal[1], at
  end
  if decode_invalid and find(text, "^[iInN][nNaA][fFnN]", at) then return number_token(text, at) end
  if letter == "\0" then return "T_END", nil, at, at end
  return "T_ERROR", "invalid token", at, at
end

local function unexpected(expected, kind, value, at)
  local found = kind == "T_ERROR" and value or kind
  raise("Expected " .. expected .. " but found " .. found .. " at character " .. at)
end

local decode_value

local function deeper(depth, at)
  depth = depth + 1
  if depth > decode_max_depth then
    raise("Found too many nested data structures (" .. depth .. ") at character " .. at)
  end
  return depth
end

local function decode_object(text, at, depth, place)
  depth = deeper(depth, place)
  local object = {}
  local kind, value, behind, start = token(text, at)
  if kind == "T_OBJ_END" then return object, behind end
  while true do
    if kind ~= "T_STRING" then unexpected("object key string", kind, value, start) end
    local key = value
    kind, value, behind, start = token(text, behind)
    if kind ~= "T_COLON" then unexpected("colon", kind, value, start) end
    kind, value, behind, start = token(text, behind)
    object[key], behind = decode_value(text, kind, value, behind, start, depth)
    kind, value, behind, start = token(text, behind)
    if kind == "T_OBJ_END" then return object, behind end
    if kind ~= "T_COMMA" then unexpected("comma or object end", kind, value, start) end
    kind, value, behind, start = token(text, behind)
  end
end

local function decode_array(text, at, depth, place)
  depth = deeper(depth, place)
  local array, n = {}, 0
  local kind, value, behind, start = token(text, at)
  if kind == "T_ARR_END" then return array, behind end
  while true do
    n = n + 1
    array[n], behind = decode_value(text, kind, value, behind, start, depth)
    kind, value, behind, start = token(text, behind)
    if kind == "T_ARR_END" then return array, behind end
    if kind ~= "T_COMMA" then unexpected("comma or array end", kind, value, start) end
    kind, value, behind, start = token(text, behind)
  end
end

function decode_value(text, kind, value, behind, start, depth)
  if kind == "T_STRING" or kind == "T_NUMBER" or kind == "T_BOOLEAN" or kind == "T_NULL" then
    return value, behind
  end
  if kind == "T_OBJ_BEGIN" then return decode_object(text, behind, depth, start) end
  if kind == "T_ARR_BEGIN" then return decode_array(text, behind, depth, start) end
  unexpected("value", kind, value, start)
end

local function decode(...)
  local text = ...
  if select("#", ...) ~= 1 then raise("bad argument #1 to 'decode' (expected 1 argument)") end
  if type(text) == "number" then text = tostring(text) end
  if type(text) ~= "string" then
    raise("bad argument #1 to 'decode' (string expected, got " .. type(text) .. ")")
  end
  if #text >= 2 and (byte(text, 1) == 0 or byte(text, 2) == 0) then
    raise("JSON parser does not support UTF-16 or UTF-32")
  end
  local kind, value, behind, start = token(text, 1)
  local result
  result, behind = decode_value(text, kind, value, behind, start, 0)
  kind, value, behind, start = token(text, behind)
  if kind ~= "T_END" or start <= #text then unexpected("the end", kind, value, start) end
  return result
end

-- Settings.

local function whole(value, name, position, low, high)
  value = tonumber(value)
  if not value then raise("bad argument #" .. position .. " to '" .. name .. "' (number expected)") end
  value = floor(value)
  if value < low or value > high then
    raise("bad argument #" .. position .. " to '" .. name .. "' (expected integer between " .. low .. " and "
          .. high .. ")")
  end
  return value
end

local function depth_setting(name, get, set)
  return function(...)
    if ... ~= nil then set(whole((...), name, 1, 1, 2147483647)) end
    return get()
  end
end

local function switch(value, name)
  if type(value) == "boolean" then return value end
  if value == "on" then return true end
  if value == "off" then return false end
  raise("bad argument #1 to '" .. name .. "' (invalid option '" .. tostring(value) .. "')")
end

local cjson = {
  _NAME = "cjson", _VERSION = "2.1.0", null = null, encode = encode, decode = decode,
  encode_max_depth = depth_setting("encode_max_depth", function() return encode_max_depth end,
                                   function(value) encode_max_depth = value end),
  decode_max_depth = depth_setting("decode_max_depth", function() return decode_max_depth end,
                                   function(value) decode_max_depth = value end),
}

function cjson.encode_sparse_array(convert, ratio, safe)
  if convert ~= nil then sparse_convert = switch(convert, "encode_sparse_array") end
  if ratio ~= nil then sparse_ratio = whole(ratio, "encode_sparse_array", 2, 0, 2147483647) end
  if safe ~= nil then sparse_safe = whole(safe, "encode_sparse_array", 3, 0, 2147483647) end
  return sparse_convert, sparse_ratio, sparse_safe
end

function cjson.encode_number_precision(value)
  if value ~= nil then
    precision = whole(value, "encode_number_precision", 1, 1, 14)
    number_format = "%." .. precision .. "g"
  end
  return precision
end

function cjson.encode_keep_buffer(value)
  if value ~= nil then keep_buffer = switch(value, "encode_keep_buffer") end
  return keep_buffer
end

function cjson.encode_invalid_numbers(value)
  if value == "null" then
    encode_invalid = "null"
  elseif value ~= nil then
    encode_invalid = switch(value, "encode_invalid_numbers")
  end
  return encode_invalid
end

function cjson.decode_invalid_numbers(value)
  if value ~= nil then decode_invalid = switch(value, "decode_invalid_numbers") end
  return decode_invalid
end

function cjson.new()
  local copy = {}
  for name, value in next, cjson do copy[name] = value end
  return copy
end

return cjson
"""

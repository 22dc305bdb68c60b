"""The flat form in which a table that a script returns crosses the border, and the Lua that makes it.

Every value is written in prefix order: a string as itself, everything else as a tag with what belongs to it.
One call then hands a whole nested result over, instead of one call for each table and element. Fields are
read past metatables, as Redis does.

`redoubt.scripting.sandbox` runs the chunk, `redoubt.scripting.results` reads the form.
Source: "Lua to RESP data type conversion" in the Redis documentation.
"""

from __future__ import annotations

from typing import Final

# Tags of a flat result.
TAG_NUMBER: Final = 1
TAG_TRUE: Final = 2
TAG_FALSE: Final = 3
TAG_NIL: Final = 4
TAG_ARRAY: Final = 5
TAG_ERROR: Final = 6
TAG_STATUS: Final = 7
TAG_DOUBLE: Final = 8
TAG_BIG_NUMBER: Final = 9
TAG_VERBATIM: Final = 10
TAG_MAP: Final = 11
TAG_SET: Final = 12
TAG_TOO_DEEP: Final = 13

SOURCE: Final = rb"""
local tools, nesting_max, type, raw_get, raw_next = ...

local function flatten(value, out, n, depth)
  local kind = type(value)
  if kind == "string" then
    out[n] = value
    return n + 1
  elseif kind == "number" then
    out[n], out[n + 1] = 1, value
    return n + 2
  elseif kind == "boolean" then
    out[n] = value and 2 or 3
    return n + 1
  elseif kind ~= "table" then
    out[n] = 4
    return n + 1
  end
  if depth > nesting_max then
    out[n] = 13
    return n + 1
  end
  value = tools.real_of[value] or value
  local field = raw_get(value, "err")
  if type(field) == "string" then
    out[n], out[n + 1] = 6, field
    return n + 2
  end
  field = raw_get(value, "ok")
  if type(field) == "string" then
    out[n], out[n + 1] = 7, field
    return n + 2
  end
  field = raw_get(value, "double")
  if type(field) == "number" then
    out[n], out[n + 1] = 8, field
    return n + 2
  end
  field = raw_get(value, "big_number")
  if type(field) == "string" then
    out[n], out[n + 1] = 9, field
    return n + 2
  end
  field = raw_get(value, "verbatim_string")
  if type(field) == "table" then
    local form, text = raw_get(field, "format"), raw_get(field, "string")
    if type(form) == "string" and type(text) == "string" then
      out[n], out[n + 1], out[n + 2] = 10, form, text
      return n + 3
    end
  end
  field = raw_get(value, "map")
  if type(field) == "table" then
    local place, count = n + 1, 0
    out[n] = 11
    n = n + 2
    for k, v in raw_next, field do
      n = flatten(k, out, n, depth + 1)
      n = flatten(v, out, n, depth + 1)
      count = count + 1
    end
    out[place] = count
    return n
  end
  field = raw_get(value, "set")
  if type(field) == "table" then
    local place, count = n + 1, 0
    out[n] = 12
    n = n + 2
    for k in raw_next, field do
      n = flatten(k, out, n, depth + 1)
      count = count + 1
    end
    out[place] = count
    return n
  end
  local place, count = n + 1, 0
  out[n] = 5
  n = n + 2
  while true do
    local item = raw_get(value, count + 1)
    if item == nil then break end
    count = count + 1
    n = flatten(item, out, n, depth + 1)
  end
  out[place] = count
  return n
end

return flatten
"""

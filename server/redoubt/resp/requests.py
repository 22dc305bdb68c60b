"""The incremental parser of what clients send: arrays of bulk strings, or a line of words (inline).

One parser belongs to one connection. `feed` takes bytes as they came from the socket, `next` returns one
command at a time, or None when the rest has not arrived. It works by index over one buffer: no splitting,
no copy besides the arguments themselves. A command that arrives in pieces is never parsed twice, and a big
bulk string is gathered as a list of pieces and joined once, so no input costs quadratic time.

Whatever breaks the protocol raises ProtocolError with Redis's text; the dispatcher sends it and closes.
Every length has a limit; unauthenticated clients get tight ones. The parser executes nothing and knows no
commands.

Rules: the RESP specification of the Redis documentation; the limits and texts are those of Redis 7.2.
"""

from __future__ import annotations

from typing import Final

from redoubt.resp.inline import split_words
from redoubt.resp.replies import ProtocolError

INLINE_BYTES_MAX: Final = 64 * 1024  # Redis: PROTO_INLINE_MAX_SIZE, also for the lines of lengths
ARGUMENTS_MAX: Final = (1 << 31) - 1  # Redis: INT_MAX
BULK_BYTES_MAX_DEFAULT: Final = 512 * 1024 * 1024  # Redis: proto-max-bulk-len
UNAUTHENTICATED_ARGUMENTS_MAX: Final = 10  # Redis: hard-coded since CVE-2021-32675
UNAUTHENTICATED_BULK_BYTES_MAX: Final = 16384
# Bulk strings from this length on are gathered piecewise while incomplete (Redis: PROTO_MBULK_BIG_ARG).
BIG_BULK_BYTES: Final = 32 * 1024
# A length of more digits than this is certainly over every limit.
LENGTH_DIGITS_MAX: Final = 19

ASTERISK: Final = 0x2A
DOLLAR: Final = 0x24
ZERO: Final = 0x30
NINE: Final = 0x39
CARRIAGE_RETURN: Final = 0x0D


class RequestParser:
    """The parser of one connection; see the module's docstring."""

    def __init__(self, bulk_bytes_max: int = BULK_BYTES_MAX_DEFAULT) -> None:
        self.bulk_bytes_max = bulk_bytes_max
        self.is_unauthenticated = False
        self.buffer = b""
        self.position = 0
        # Bytes that were trimmed from the buffer's front, for `consumed_bytes`.
        self.trimmed_bytes = 0
        # The command whose arguments are arriving.
        self.argv: list[bytes] = []
        self.arguments_missing = 0
        # Length of the bulk whose header has been read while its body has not arrived, else -1.
        self.bulk_length = -1
        # A big bulk in pieces; `big_missing` counts what has not arrived, with its closing CRLF.
        self.big_parts: list[bytes] = []
        self.big_missing = 0
        # Bytes fed since the last whole command, for the limit of the query buffer.
        self.gathered_bytes = 0

    def feed(self, data: bytes) -> None:
        """Take bytes that arrived."""
        self.gathered_bytes += len(data)
        if self.big_missing > 0:
            size = len(data)
            if size <= self.big_missing:
                self.big_parts.append(data)
                self.big_missing -= size
                self.trimmed_bytes += size
                return
            cut = self.big_missing
            self.big_parts.append(data[:cut])
            self.trimmed_bytes += cut
            data = data[cut:]
            self.big_missing = 0
        if self.position == len(self.buffer):
            self.trimmed_bytes += self.position
            self.buffer = data
        else:
            self.trimmed_bytes += self.position
            self.buffer = self.buffer[self.position :] + data
        self.position = 0

    def pending_bytes(self) -> int:
        """Bound from above what has been fed and not yet returned as commands."""
        return self.gathered_bytes + len(self.buffer) - self.position

    def consumed_bytes(self) -> int:
        """Count the bytes of the stream up to the end of the last command that `next` returned."""
        return self.trimmed_bytes + self.position

    def next(self) -> list[bytes] | None:
        """Return the next command (never empty), or None if it has not arrived whole."""
        while True:
            if self.arguments_missing == 0:
                if self.position >= len(self.buffer):
                    return None
                if self.buffer[self.position] != ASTERISK:
                    words = self.next_inline()
                    if words is None:
                        return None
                    self.gathered_bytes = 0
                    if words:
                        return words
                    continue
                if not self.begin_array():
                    return None
                continue
            if self.bulk_length >= 0 and not self.finish_bulk():
                return None
            if self.arguments_missing > 0 and not self.read_bulks():
                return None
            argv = self.argv
            self.argv = []
            self.gathered_bytes = 0
            return argv

    def begin_array(self) -> bool:
        """Read the line with the number of arguments; False if it has not arrived."""
        buffer = self.buffer
        start = self.position
        if start + 4 <= len(buffer) and buffer[start + 2] == CARRIAGE_RETURN:
            digit = buffer[start + 1]
            if ZERO < digit <= NINE:  # nearly every command has one digit's worth of arguments
                self.position = start + 4
                self.arguments_missing = digit - ZERO
                return True
        line_end = self.line_end(b"too big mbulk count string")
        if line_end < 0:
            return False
        count = self.read_length(self.position + 1, line_end)
        if count > ARGUMENTS_MAX or count == -2:
            raise ProtocolError(b"invalid multibulk length")
        if count > UNAUTHENTICATED_ARGUMENTS_MAX and self.is_unauthenticated:
            raise ProtocolError(b"unauthenticated multibulk length")
        self.position = line_end + 2
        self.arguments_missing = max(count, 0)  # Redis skips an empty or negative array silently
        return True

    def read_bulks(self) -> bool:
        """Read the missing arguments by index; False if they have not arrived whole.

        This is the innermost loop of the server. The length of a bulk is read digit by digit, since that
        compiles to a few machine instructions; whatever is not plain digits goes to `begin_bulk`.
        """
        buffer = self.buffer
        end = len(buffer)
        position = self.position
        missing = self.arguments_missing
        argv = self.argv
        while missing > 0:
            # The shortest header is "$0\r\n"; nothing is decided on less.
            cursor = position + 1
            if position + 4 <= end and buffer[position] == DOLLAR and buffer[cursor] != ZERO:
                length = 0
                # Seven digits at most: a longer number is big and takes the other way.
                while cursor < end and cursor < position + 8:
                    digit = buffer[cursor]
                    if digit < ZERO or digit > NINE:
                        break
                    length = length * 10 + (digit - ZERO)
                    cursor += 1
                # `cursor` stands on the carriage return if the line was well-formed and has arrived.
                body = cursor + 2
                if length < BIG_BULK_BYTES and body + length + 2 <= end and buffer[cursor] == CARRIAGE_RETURN:
                    if length > UNAUTHENTICATED_BULK_BYTES_MAX and self.is_unauthenticated:
                        raise ProtocolError(b"unauthenticated bulk length")
                    if cursor == position + 1:
                        raise ProtocolError(b"invalid bulk length")
                    position = body + length
                    argv.append(buffer[body:position])
                    position += 2
                    missing -= 1
                    continue
            self.position = position
            self.arguments_missing = missing
            if not self.begin_bulk() or not self.finish_bulk():
                return False
            position = self.position
            missing = self.arguments_missing
        self.position = position
        self.arguments_missing = 0
        return True

    def begin_bulk(self) -> bool:
        """Read the header of one bulk string with every check; False if it has not arrived."""
        if self.position >= len(self.buffer):
            return False
        line_end = self.line_end(b"too big bulk count string")
        if line_end < 0:
            return False
        first = self.buffer[self.position]
        if first != DOLLAR:
            raise ProtocolError(b"expected '$', got '%c'" % first)
        length = self.read_length(self.position + 1, line_end)
        if length < 0 or length > self.bulk_bytes_max:
            raise ProtocolError(b"invalid bulk length")
        if length > UNAUTHENTICATED_BULK_BYTES_MAX and self.is_unauthenticated:
            raise ProtocolError(b"unauthenticated bulk length")
        self.position = line_end + 2
        self.bulk_length = length
        if length >= BIG_BULK_BYTES and len(self.buffer) - self.position < length + 2:
            rest = self.buffer[self.position :]
            self.big_parts = [rest]
            self.big_missing = length + 2 - len(rest)
            self.trimmed_bytes += len(self.buffer)
            self.buffer = b""
            self.position = 0
        return True

    def finish_bulk(self) -> bool:
        """Take the body of the bulk whose header has been read; False if it has not arrived whole."""
        if self.big_missing > 0:
            return False
        length = self.bulk_length
        if self.big_parts:
            self.argv.append(b"".join(self.big_parts)[:length])
            self.big_parts = []
        else:
            start = self.position
            if len(self.buffer) - start < length + 2:
                return False
            self.argv.append(self.buffer[start : start + length])
            self.position = start + length + 2
        self.bulk_length = -1
        self.arguments_missing -= 1
        return True

    def line_end(self, text: bytes) -> int:
        """Return where the CRLF of the line at `position` stands, -1 if it has not arrived."""
        found = self.buffer.find(b"\r", self.position)
        if found >= 0 and found + 1 < len(self.buffer):
            return found
        if found < 0 and len(self.buffer) - self.position > INLINE_BYTES_MAX:
            raise ProtocolError(text)
        return -1

    def read_length(self, start: int, end: int) -> int:
        """Read a decimal as strictly as Redis does (no sign but one minus, no leading zero).

        Returns -1 for every negative number and -2 for what is no number.
        """
        text = self.buffer[start:end]
        digits = text[1:] if text.startswith(b"-") else text
        if not digits.isdigit() or len(digits) > LENGTH_DIGITS_MAX or (digits[0] == ZERO and text != b"0"):
            return -2
        return -1 if len(digits) < len(text) else int(digits)

    def next_inline(self) -> list[bytes] | None:
        """Read one line of words; an empty list for an empty line, None if it has not arrived whole."""
        line_end = self.buffer.find(b"\n", self.position)
        if line_end < 0:
            if len(self.buffer) - self.position > INLINE_BYTES_MAX:
                raise ProtocolError(b"too big inline request")
            return None
        line = self.buffer[self.position : line_end]
        if line.endswith(b"\r"):
            line = line[:-1]
        words = split_words(line)
        if words is None:
            raise ProtocolError(b"unbalanced quotes in request")
        self.position = line_end + 1
        return words

"""An error that quotes a client's word stays a line that every reader of lines accepts."""

from __future__ import annotations

from redoubt.resp.replies import ERROR_BYTES_MAX, ErrorReply, encoded
from tests.redoubt.harness import Harness


def test_an_error_that_quotes_a_huge_word_is_cut() -> None:
    client = Harness("--proto-max-bulk-len", "4mb").connect()
    client.send(b"EXPIRE k 1 %s\r\n" % (b"x" * 50_000))
    assert client.received == b"-ERR Unsupported option %s\r\n" % (b"x" * 50_000)
    wire = encoded(ErrorReply(b"ERR Unsupported option " + b"x" * (1 << 21)))
    assert len(wire) == ERROR_BYTES_MAX + 3
    assert wire.startswith(b"-ERR Unsupported option xx") and wire.endswith(b"x\r\n")

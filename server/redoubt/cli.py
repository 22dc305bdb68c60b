"""`redoubt-cli`: one command, or a prompt, on a server or a cluster.

    redoubt-cli [-h host] [-p port] [-a password] [-n db] [-3] [-c] [--raw] [command word ...]

Replies are shown as redis-cli shows them: typed and numbered on a terminal, raw in a pipe. With -c the client
follows MOVED and ASK. The exit code is 1 if the connection failed or the command was answered with an error.
The password may stand in REDISCLI_AUTH, since arguments are seen by everybody on a machine.

It speaks through a plain blocking socket and the server's own codec; it is no library.
Source: the page on redis-cli in the Redis documentation.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
from typing import Any, Final

from redoubt.resp.decoder import NEED_MORE, ReplyDecoder
from redoubt.resp.inline import split_words
from redoubt.resp.replies import (
    BigNumber,
    Boolean,
    Double,
    ErrorReply,
    MapReply,
    ProtocolError,
    Push,
    SetReply,
    SimpleString,
    Verbatim,
    encode_command,
)
from redoubt.version import REDOUBT_VERSION

CONNECT_S_MAX: Final = 5.0
REDIRECTS_MAX: Final = 16  # a cluster that sends us round in circles is broken
READ_BYTES: Final = 1 << 16


class Client:
    """One connection at a time, to the node that answered last."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.host: str = options.host
        self.port: int = options.port
        self.socket: socket.socket | None = None
        self.decoder = ReplyDecoder()

    def connect(self) -> None:
        """Connect and log in; raises OSError."""
        self.close()
        self.decoder = ReplyDecoder()
        self.socket = socket.create_connection((self.host, self.port), CONNECT_S_MAX)
        self.socket.settimeout(None)
        password = self.options.password or os.environ.get("REDISCLI_AUTH", "")
        opening: list[list[bytes]] = []
        if password:
            user = [self.options.user.encode()] if self.options.user else []
            opening.append([b"AUTH", *user, password.encode()])
        if self.options.resp3:
            opening.append([b"HELLO", b"3"])
        if self.options.database:
            opening.append([b"SELECT", b"%d" % self.options.database])
        for words in opening:
            reply = self.exchange(words)
            if isinstance(reply, ErrorReply):
                print(f"{words[0].decode()} failed: {reply.text.decode()}", file=sys.stderr)

    def close(self) -> None:
        """End the connection, if there is one."""
        if self.socket is not None:
            self.socket.close()
            self.socket = None

    def exchange(self, words: list[bytes]) -> Any:
        """Send one command and return the next reply; raises OSError when the server closes."""
        assert self.socket is not None
        self.socket.sendall(encode_command(words))
        return self.read()

    def read(self) -> Any:
        """Return the next reply or push."""
        assert self.socket is not None
        while (reply := self.decoder.next()) is NEED_MORE:
            data = self.socket.recv(READ_BYTES)
            if not data:
                raise ConnectionError("Server closed the connection")
            self.decoder.feed(data)
        return reply

    def ask(self, words: list[bytes]) -> Any:
        """Run one command, following redirections with -c; reconnects once if the connection was lost."""
        if self.socket is None:
            self.connect()
        try:
            reply = self.exchange(words)
        except ConnectionError:
            self.close()
            if words[0].upper() in (b"QUIT", b"SHUTDOWN"):
                return None
            raise
        for _ in range(REDIRECTS_MAX):
            if not (self.options.cluster and isinstance(reply, ErrorReply)):
                break
            code, *rest = reply.text.split()
            if code not in (b"MOVED", b"ASK") or len(rest) != 2:
                break
            host, _, port = rest[1].decode().rpartition(":")
            self.host, self.port = host or self.host, int(port)
            print(
                f"-> Redirected to slot [{rest[0].decode()}] located at {self.host}:{self.port}",
                file=sys.stderr,
            )
            self.connect()
            if code == b"ASK":
                self.exchange([b"ASKING"])
            reply = self.exchange(words)
        return reply


def quoted(text: bytes) -> str:
    """Write a bulk string as redis-cli does: in quotes, with escapes."""
    named = {0x5C: "\\\\", 0x22: '\\"', 0x0A: "\\n", 0x0D: "\\r", 0x09: "\\t", 0x07: "\\a", 0x08: "\\b"}
    shown = [named.get(byte) or (chr(byte) if 0x20 <= byte < 0x7F else f"\\x{byte:02x}") for byte in text]
    return '"' + "".join(shown) + '"'


def rendered(reply: Any, prefix: str = "") -> str:
    """Write a reply for people; `prefix` is what nested lines are indented by."""
    if isinstance(reply, ErrorReply):
        return f"(error) {reply.text.decode(errors='backslashreplace')}"
    if isinstance(reply, SimpleString):
        return reply.text.decode(errors="backslashreplace")
    if isinstance(reply, bytes):
        return quoted(reply)
    if isinstance(reply, Verbatim):
        return reply.text.decode(errors="backslashreplace")
    if isinstance(reply, Boolean):
        return "(true)" if reply.value else "(false)"
    if isinstance(reply, int | BigNumber):
        return f"(integer) {reply.value if isinstance(reply, BigNumber) else reply}"
    if isinstance(reply, Double):
        return f"(double) {reply.value:.17g}"
    if isinstance(reply, MapReply):
        return rendered_map(reply.pairs, prefix)
    if isinstance(reply, list | SetReply | Push):
        items = reply if isinstance(reply, list) else reply.items
        return rendered_list(items, "~" if isinstance(reply, SetReply) else ")", prefix)
    return "(nil)"


def rendered_list(items: list[Any], mark: str, prefix: str) -> str:
    """Number the items, all numbers equally wide."""
    if not items:
        return "(empty set)" if mark == "~" else "(empty array)"
    width = len(str(len(items)))
    lines = []
    for number, item in enumerate(items, 1):
        head = f"{number:>{width}}{mark} "
        nested = rendered(item, prefix + " " * len(head))
        lines.append(("" if number == 1 else prefix) + head + nested)
    return "\n".join(lines)


def rendered_map(pairs: list[tuple[Any, Any]], prefix: str) -> str:
    """Number the pairs, keys and values joined by an arrow."""
    if not pairs:
        return "(empty hash)"
    width = len(str(len(pairs)))
    lines = []
    for number, (key, value) in enumerate(pairs, 1):
        # An aggregate of several items begins on a line of its own.
        head = f"{number:>{width}}# "
        indent = prefix + " " * len(head)
        gap = "\n" + indent if size_of(value) > 1 else ""
        shown = f"{head}{rendered(key, indent)} => {gap}{rendered(value, indent)}"
        lines.append(("" if number == 1 else prefix) + shown)
    return "\n".join(lines)


def size_of(reply: Any) -> int:
    """Count the items of an aggregate; 0 for everything else."""
    if isinstance(reply, MapReply):
        return len(reply.pairs)
    if isinstance(reply, SetReply | Push):
        return len(reply.items)
    return len(reply) if isinstance(reply, list) else 0


def raw(reply: Any) -> bytes:
    """Write a reply for programs: no types, no numbers, one item a line."""
    if isinstance(reply, bytes):
        return reply
    if isinstance(reply, ErrorReply | SimpleString | Verbatim):
        return reply.text
    if isinstance(reply, Boolean | BigNumber | Double):
        return str(reply.value).lower().encode()
    if isinstance(reply, int):
        return b"%d" % reply
    if isinstance(reply, MapReply):
        return b"\n".join(raw(item) for pair in reply.pairs for item in pair)
    if isinstance(reply, list):
        return b"\n".join(map(raw, reply))
    return b"\n".join(map(raw, reply.items)) if isinstance(reply, SetReply | Push) else b""


def show(reply: Any, is_raw: bool) -> None:
    """Print a reply; binary strings stay as they are in raw form."""
    text = raw(reply) if is_raw else rendered(reply).encode()
    sys.stdout.buffer.write(text if text.endswith(b"\n") else text + b"\n")
    sys.stdout.buffer.flush()


def run_once(client: Client, words: list[bytes], is_raw: bool) -> int:
    """Run one command; return the exit code."""
    try:
        reply = client.ask(words)
    except (OSError, ProtocolError) as error:
        print(f"Could not talk to {client.host}:{client.port}: {error}", file=sys.stderr)
        return 1
    show(reply, is_raw)
    return 1 if isinstance(reply, ErrorReply) else 0


def run_lines(client: Client, is_raw: bool) -> int:
    """Read commands from a prompt or a pipe until the end; return the exit code of the last one."""
    is_terminal = sys.stdin.isatty()
    if is_terminal:
        import readline  # noqa: F401 - gives input() a history and line editing
    code = 0
    while True:
        try:
            line = input(f"{client.host}:{client.port}> ") if is_terminal else input()
        except EOFError:
            return code
        except KeyboardInterrupt:
            print()
            continue
        words = split_words(line.encode("utf-8", "surrogateescape"))
        if words is None:
            print("Invalid argument(s)")
        elif words and words[0].lower() in (b"exit", b"quit"):
            return 0
        elif words:
            code = run_once(client, words, is_raw)


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the options; everything from the first word on is the command."""
    parser = argparse.ArgumentParser(
        "redoubt-cli", description="Talk to a Redoubt or Redis server.", add_help=False
    )
    parser.add_argument("--help", action="help", help="show this and exit")
    parser.add_argument("--version", action="version", version=f"redoubt-cli {REDOUBT_VERSION}")
    parser.add_argument("-h", dest="host", default="127.0.0.1", help="host (127.0.0.1)")
    parser.add_argument("-p", dest="port", type=int, default=6379, help="port (6379)")
    parser.add_argument("-a", "--pass", dest="password", default="", help="password; better: REDISCLI_AUTH")
    parser.add_argument("--user", default="", help="user name that goes with the password")
    parser.add_argument("-n", dest="database", type=int, default=0, help="database")
    parser.add_argument("-3", dest="resp3", action="store_true", help="speak RESP3")
    parser.add_argument("-c", dest="cluster", action="store_true", help="follow the cluster's redirections")
    parser.add_argument("--raw", action="store_true", help="raw replies (the default in a pipe)")
    parser.add_argument("--no-raw", action="store_true", help="replies for people, also in a pipe")
    parser.add_argument("words", nargs=argparse.REMAINDER, help="a command; without one, a prompt")
    return parser.parse_args(arguments)


def main() -> int:
    """Run with the arguments of the process."""
    options = parse(sys.argv[1:])
    is_raw = options.raw or (not sys.stdout.isatty() and not options.no_raw)
    client = Client(options)
    try:
        if options.words:
            words = [word.encode("utf-8", "surrogateescape") for word in options.words]
            return run_once(client, words, is_raw)
        return run_lines(client, is_raw)
    finally:
        client.close()


if __name__ == "__main__":
    sys.exit(main())

"""One question to another node, asked on its client port as any client would ask it.

Two things that nodes need of one another have no message on Redis's bus: how a node sees the whole cluster
(CLUSTER NODES), and that a replica take over (CLUSTER FAILOVER). So they are asked as commands, with
masterauth, over a stream of their own that is closed after the answer; real Redis answers them, too. Works
while our own bus port is closed.

Called by `confirmation.py` and `handover.py`. It repeats nothing and decides nothing: an answer, or that
there will be none, goes to the one who asked.
"""

from __future__ import annotations

from typing import Final

from redoubt.interfaces import LANE_BUS, Dial, Link, LinkOwner
from redoubt.resp.decoder import NeedMore, ReplyDecoder
from redoubt.resp.replies import ErrorReply, ProtocolError, Reply, encode_command
from redoubt.state import ServerState

# A node that has not taken the connection by then is asked again later by whoever needs its answer.
DIAL_TIMEOUT_MS: Final = 500


class Inquirer:
    """Who asks. Subclassed by the parts that ask."""

    def answered(self, inquiry: Inquiry, reply: Reply, now_ms: int) -> None:
        """Take the answer, which may be an ErrorReply."""
        raise AssertionError

    def unanswered(self, inquiry: Inquiry, now_ms: int) -> None:
        """Take note that no answer will come: refused, closed, or not understood."""


class Inquiry(LinkOwner):
    """One command on its way to one node, and its answer on the way back."""

    def __init__(
        self, state: ServerState, asker: Inquirer, node_id: str, argv: list[bytes], now_ms: int
    ) -> None:
        self.state = state
        self.asker = asker
        self.node_id = node_id
        self.argv = argv
        self.asked_ms = now_ms
        self.is_over = False
        self._decoder = ReplyDecoder()
        self._link = Link(self, LANE_BUS)
        # The answer to AUTH comes first.
        self._skipped = 0

    def begin(self, host: str, port: int) -> None:
        """Dial the node."""
        self.state.effects.append(Dial(self._link, host, port, DIAL_TIMEOUT_MS))

    def abandon(self) -> None:
        """Want no answer any more."""
        if not self.is_over:
            self.is_over = True
            self.state.close(self._link)

    # LinkOwner.

    def opened(self, link: Link, now_ms: int) -> None:
        """Send the command, behind AUTH where a password is configured."""
        config = self.state.config
        if config.masterauth:
            user = [config.masteruser.encode()] if config.masteruser else []
            self.state.send(link, encode_command([b"AUTH", *user, config.masterauth.encode()]))
            self._skipped = 1
        self.state.send(link, encode_command(self.argv))

    def failed(self, link: Link, is_refused: bool, now_ms: int) -> None:
        """Give up: nobody listens."""
        self._end(None, now_ms)

    def received(self, link: Link, data: bytes, now_ms: int) -> None:
        """Decode; the first answer that is not AUTH's ends the inquiry, and so does a refused AUTH."""
        try:
            self._decoder.feed(data)
            while not self.is_over:
                reply = self._decoder.next()
                if isinstance(reply, NeedMore):
                    return
                if self._skipped and not isinstance(reply, ErrorReply):
                    self._skipped -= 1
                    continue
                self.state.close(link)
                self._end(reply, now_ms)
        except ProtocolError:
            self.state.close(link)
            self._end(None, now_ms)

    def closed(self, link: Link, now_ms: int) -> None:
        """Give up if the answer has not come."""
        self._end(None, now_ms)

    def _end(self, reply: Reply, now_ms: int) -> None:
        if self.is_over:
            return
        self.is_over = True
        if reply is None:
            self.asker.unanswered(self, now_ms)
        else:
            self.asker.answered(self, reply, now_ms)

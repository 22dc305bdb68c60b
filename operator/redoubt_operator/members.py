"""Asks the servers what they are: REDOUBT STATUS, CLUSTER NODES and CONFIG GET, all servers at once.

One round of questions is one round trip on the link to each server, and costs at most the deadline however
many servers are silent. What did not answer becomes `Unknown` with the reason: a server that could not be
asked is not a dead server, and a reply that cannot be read is not an empty one.

Called by the observer; `status_of` and `known_nodes` are pure and read the replies. Nothing here changes a
server. The reply of CLUSTER NODES is documented by Redis, that of REDOUBT STATUS by `docs/operations.md`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from typing import Any, Final, get_type_hints

from redoubt.resp.replies import MapReply, Reply
from redoubt_operator.links import DEADLINE_S, Address, Link, LinkError, Links, Refused, accepted
from redoubt_operator.observation import (
    NOT_ASKED,
    KnownNode,
    Member,
    MemberStatus,
    Role,
    Seen,
    SlotFigures,
    SlotMigration,
    SlotRange,
    Unknown,
)

# How many servers are asked at the same time: more connections at once would only queue on our own core.
ASKED_AT_ONCE_MAX: Final = 128
# The figures of a slot take a server some 20 us: its clients wait 10 ms at most.
SLOTS_ASKED_AT_ONCE: Final = 512
FIGURES_DEADLINE_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Questions:
    """What to ask beside the status and the map: only what a change under way needs."""

    directives: Sequence[str] = ()
    migrations: bool = False
    slot_figures: bool = False  # of masters: some hundred bytes for each slot


async def ask_all(
    links: Links, addresses: Sequence[Address], password: str, questions: Questions
) -> list[Member]:
    """Ask every server; the members come in the order of the addresses, their samples still unknown."""
    gate = asyncio.Semaphore(ASKED_AT_ONCE_MAX)

    async def ask_gated(address: Address) -> Member:
        async with gate:
            return await ask(links, address, password, questions)

    return list(await asyncio.gather(*(ask_gated(address) for address in addresses)))


async def ask(links: Links, address: Address, password: str, questions: Questions) -> Member:
    """Ask one server; never raises for what the server does."""
    try:
        link = await links.get(address, password)
        futures = [link.send("REDOUBT", "STATUS"), link.send("CLUSTER", "NODES")]
        if questions.migrations:
            futures.append(link.send("CLUSTER", "GETSLOTMIGRATIONS"))
        if questions.directives:
            futures.append(link.send("CONFIG", "GET", *questions.directives))
    except (LinkError, Refused) as error:
        unknown = Unknown(str(error), time.time())
        return Member(address.uid, unknown, unknown, unknown, _not_scraped())
    loop = asyncio.get_running_loop()
    ends_at_s = loop.time() + DEADLINE_S
    replies = [await _answer(link, future, max(0.0, ends_at_s - loop.time())) for future in futures]
    member = Member(
        pod_uid=address.uid,
        status=_understood(replies[0], status_of),
        nodes=_understood(replies[1], known_nodes),
        config=_understood(replies[-1], directives_of) if questions.directives else {},
        sample=_not_scraped(),
        migrations=_understood(replies[2], slot_migrations) if questions.migrations else NOT_ASKED,
    )
    if questions.slot_figures:
        return replace(member, slot_figures=await _slot_figures(link, member))
    return member


async def _slot_figures(link: Link, member: Member) -> Seen[tuple[SlotFigures, ...]]:
    """Ask a master what its slots hold, some of them at a time: its clients wait for each answer."""
    status, nodes = member.status, member.nodes
    if isinstance(status, Unknown) or isinstance(nodes, Unknown) or status.role is not Role.MASTER:
        return NOT_ASKED
    owned = next((one.slots for one in nodes if one.node_id == status.node_id), ())
    ends_at_s = asyncio.get_running_loop().time() + FIGURES_DEADLINE_S
    figures: list[SlotFigures] = []
    for slots in owned:
        for first in range(slots.first, slots.last + 1, SLOTS_ASKED_AT_ONCE):
            last = min(first + SLOTS_ASKED_AT_ONCE - 1, slots.last)
            if asyncio.get_running_loop().time() > ends_at_s:
                return Unknown("the figures of all slots took too long", time.time())
            try:
                future = link.send("CLUSTER", "SLOT-STATS", "SLOTSRANGE", first, last)
            except LinkError as error:
                return Unknown(str(error), time.time())
            part = _understood(await _answer(link, future, DEADLINE_S), slot_figures)
            if isinstance(part, Unknown):
                return part
            figures += part
    return tuple(figures)


async def _answer(link: Link, future: asyncio.Future[Reply], deadline_s: float) -> Seen[Any]:
    try:
        return accepted(await link.receive(future, deadline_s))
    except (LinkError, Refused) as error:
        return Unknown(str(error), time.time())


def _understood(reply: Any, read: Any) -> Any:
    if isinstance(reply, Unknown):
        return reply
    try:
        return read(reply)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        return Unknown(f"reply not understood: {type(error).__name__}: {error}", time.time())


def _not_scraped() -> Unknown:
    return Unknown("not scraped yet", time.time())


def pairs_of(reply: Reply) -> dict[str, str]:
    """Read a map, or the flat array that RESP2 makes of it, as text."""
    if isinstance(reply, MapReply):
        pairs = reply.pairs
    elif isinstance(reply, list) and len(reply) % 2 == 0:
        pairs = list(zip(reply[::2], reply[1::2], strict=True))
    else:
        raise ValueError(f"expected a map, found {type(reply).__name__}")
    return {_text(key): _text(value) for key, value in pairs}


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, int):
        return str(value)
    text = getattr(value, "text", None)  # a simple or verbatim string
    if isinstance(text, bytes):
        return text.decode(errors="replace")
    raise ValueError(f"expected text, found {type(value).__name__}")


_STATUS_TYPES: Final = get_type_hints(MemberStatus)
_STATUS_REQUIRED: Final = {field.name for field in fields(MemberStatus) if field.default is MISSING}


def status_of(reply: Reply) -> MemberStatus:
    """Read the reply of REDOUBT STATUS. Fields that we do not know are left out: the server may be newer."""
    values: dict[str, Any] = {}
    for key, text in pairs_of(reply).items():
        name = key.replace("-", "_")
        kind = _STATUS_TYPES.get(name)
        if kind is None:
            continue
        values[name] = bool(int(text)) if kind is bool else kind(text)
    missing = _STATUS_REQUIRED - values.keys()
    if missing:
        raise ValueError(f"fields missing: {', '.join(sorted(missing))}")
    return MemberStatus(**values)


def directives_of(reply: Reply) -> Mapping[str, str]:
    """Read the reply of CONFIG GET."""
    return pairs_of(reply)


def known_nodes(reply: Reply) -> tuple[KnownNode, ...]:
    """Read the reply of CLUSTER NODES."""
    return tuple(_known_node(line) for line in _text(reply).splitlines() if line)


def slot_migrations(reply: Reply) -> tuple[SlotMigration, ...]:
    """Read the reply of CLUSTER GETSLOTMIGRATIONS."""
    if not isinstance(reply, list):
        raise ValueError(f"expected a list of moves, found {type(reply).__name__}")
    moves = []
    for row in reply:
        pairs = pairs_of(row)
        moves.append(
            SlotMigration(
                name=pairs["name"],
                operation=pairs["operation"].upper(),
                slots=tuple(_slot_range(text) for text in pairs["slot_ranges"].split()),
                source_id=pairs["source_node"],
                target_id=pairs["target_node"],
                state=pairs["state"].lower(),
                message=pairs.get("message", ""),
            )
        )
    return tuple(moves)


def slot_figures(reply: Reply) -> tuple[SlotFigures, ...]:
    """Read the reply of CLUSTER SLOT-STATS."""
    if not isinstance(reply, list):
        raise ValueError(f"expected a list of slots, found {type(reply).__name__}")
    figures = []
    for slot, row in reply:
        pairs = pairs_of(row)
        figures.append(
            SlotFigures(
                slot=int(slot),
                keys=int(pairs["key-count"]),
                memory_bytes=int(pairs.get("memory-bytes", 0)),
                cpu_us=int(pairs.get("cpu-usec", 0)),
            )
        )
    return tuple(figures)


def _known_node(line: str) -> KnownNode:
    node_id, address, flags, master_id, _, _, epoch, link_state, *slots = line.split(" ")
    endpoint, _, bus = address.partition(",")[0].partition("@")
    ip, _, port = endpoint.rpartition(":")
    return KnownNode(
        node_id=node_id,
        ip=ip.strip("[]"),
        port=int(port),
        bus_port=int(bus or 0),
        flags=tuple(flags.split(",")),
        master_id="" if master_id == "-" else master_id,
        config_epoch=int(epoch),
        is_connected=link_state == "connected",
        slots=tuple(_slot_range(text) for text in slots if text and not text.startswith("[")),
        open_slots=tuple(text for text in slots if text.startswith("[")),
    )


def _slot_range(text: str) -> SlotRange:
    first, _, last = text.partition("-")
    return SlotRange(int(first), int(last or first))

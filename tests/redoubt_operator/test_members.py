"""Questions to servers: replies read to values, and whatever cannot be read or asked is unknown."""

from __future__ import annotations

import asyncio

import pytest

from redoubt.resp.replies import ErrorReply, MapReply, Reply
from redoubt_operator.links import Address, Links
from redoubt_operator.members import Questions, ask_all, known_nodes, status_of
from redoubt_operator.names import PORT_CLIENT
from redoubt_operator.observation import KnownNode, MemberStatus, Phase, Role, SlotRange, Unknown
from tests.redoubt_operator.fake_api import run
from tests.redoubt_operator.fake_server import NODE_ID, PASSWORD, free_address, server, status_reply

SERVING = MemberStatus(NODE_ID, Phase.ASSIGNED, Role.MASTER, config_epoch=3, slots=5461, uptime_ms=60_000)


def test_status_is_read_from_a_map_and_from_the_flat_array_of_resp2() -> None:
    reply = status_reply()
    flat: list[Reply] = [item for pair in reply.pairs for item in pair]
    assert status_of(reply) == SERVING
    assert status_of(flat) == SERVING


def test_flags_are_booleans_and_fields_of_a_newer_server_are_left_out() -> None:
    status = status_of(status_reply(synced=1, loading=0, data_lost=1, mood="good"))
    assert (status.synced, status.loading, status.data_lost) == (True, False, True)


@pytest.mark.parametrize(
    "reply",
    [
        MapReply([(b"node-id", b"x")]),
        status_reply(phase="dancing"),
        status_reply(slots="many"),
        [b"node-id"],
        None,
        7,
    ],
)
def test_status_that_cannot_be_read_is_an_error_and_no_guess(reply: Reply) -> None:
    with pytest.raises((ValueError, TypeError)):
        status_of(reply)


def test_nodes_are_read_with_slots_open_slots_hostnames_and_missing_addresses() -> None:
    text = (
        f"{'a' * 40} 10.0.0.1:6379@16379,host-a myself,master - 0 0 7 connected 0-5460 9999 "
        f"[93->-{'b' * 40}]\n"
        f"{'b' * 40} fd00::2:6379@16379 slave,fail? {'a' * 40} 0 1700000000 7 disconnected\n"
        f"{'c' * 40} :0@0 master,fail,noaddr - 0 0 2 disconnected\n"
    )
    assert known_nodes(text.encode()) == (
        KnownNode(
            "a" * 40,
            "10.0.0.1",
            6379,
            16379,
            ("myself", "master"),
            "",
            7,
            True,
            (SlotRange(0, 5460), SlotRange(9999, 9999)),
            (f"[93->-{'b' * 40}]",),
        ),
        KnownNode("b" * 40, "fd00::2", 6379, 16379, ("slave", "fail?"), "a" * 40, 7, False),
        KnownNode("c" * 40, "", 0, 0, ("master", "fail", "noaddr"), "", 2, False),
    )


def test_one_round_trip_asks_everything_and_servers_are_asked_at_once() -> None:
    async def scenario() -> None:
        async with server() as one, server() as two:
            two.replies["REDOUBT STATUS"] = status_reply(role="replica", slots=0)
            links = Links(lambda _: None)
            addresses = [Address("uid-1", one.ip, PORT_CLIENT), Address("uid-2", two.ip, PORT_CLIENT)]
            members = await ask_all(links, addresses, PASSWORD, Questions(["maxmemory"]))
            assert members[0].status == SERVING
            assert members[0].config == {"maxmemory": "100"}
            assert isinstance(members[0].nodes, tuple) and members[0].nodes[0].node_id == NODE_ID
            assert isinstance(members[1].status, MemberStatus) and members[1].status.role is Role.REPLICA
            assert [argv[0] for argv in one.commands] == ["AUTH", "REDOUBT", "CLUSTER", "CONFIG"]
            links.close()

    run(scenario())


def test_silent_refusing_and_failing_servers_are_unknown_each_with_its_reason() -> None:
    async def scenario() -> None:
        async with server() as silent, server() as failing:
            silent.silent_from = "CLUSTER"
            failing.replies["REDOUBT STATUS"] = ErrorReply(b"ERR unknown command 'REDOUBT'")
            links = Links(lambda _: None)
            addresses = [
                Address("silent", silent.ip, PORT_CLIENT),
                Address("dead", free_address(), PORT_CLIENT),
                Address("failing", failing.ip, PORT_CLIENT),
            ]
            begun = asyncio.get_running_loop().time()
            members = await ask_all(links, addresses, PASSWORD, Questions())
            assert asyncio.get_running_loop().time() - begun < 1.5
            reasons = [m.status.reason if isinstance(m.status, Unknown) else "" for m in members]
            assert reasons == ["", "connection refused", "ERR unknown command 'REDOUBT'"]
            assert isinstance(members[0].nodes, Unknown) and members[0].nodes.reason == "no answer in time"
            assert isinstance(members[2].nodes, tuple)
            links.close()

    run(scenario())

"""Links to servers over real sockets: order, deadlines, and who is told when a link ends."""

from __future__ import annotations

import asyncio

import pytest

from redoubt.resp.replies import ErrorReply, SimpleString
from redoubt_operator.links import Address, LinkError, Links, Refused
from redoubt_operator.names import PORT_CLIENT
from tests.redoubt_operator.fake_api import run
from tests.redoubt_operator.fake_server import PASSWORD, free_address, server


def address(ip: str, uid: str = "uid-1") -> Address:
    return Address(uid, ip, PORT_CLIENT)


def test_link_authenticates_once_and_is_kept() -> None:
    async def scenario() -> None:
        async with server() as fake:
            fake.replies["PING"] = SimpleString(b"PONG")
            links = Links(lambda _: None)
            first = await links.get(address(fake.ip), PASSWORD)
            assert await first.call("PING") == SimpleString(b"PONG")
            assert await links.get(address(fake.ip), PASSWORD) is first
            assert fake.commands == [["AUTH", PASSWORD], ["PING"]]
            assert fake.connections == 1
            links.close()

    run(scenario())


def test_commands_sent_together_get_their_own_replies() -> None:
    async def scenario() -> None:
        async with server() as fake:
            fake.replies |= {"ONE": b"1", "TWO": ErrorReply(b"ERR two"), "THREE": 3}
            links = Links(lambda _: None)
            link = await links.get(address(fake.ip), PASSWORD)
            futures = [link.send(word) for word in ("ONE", "TWO", "THREE")]
            assert [await link.receive(future) for future in futures] == [b"1", ErrorReply(b"ERR two"), 3]
            links.close()

    run(scenario())


def test_death_of_a_server_is_told_at_once_and_once() -> None:
    async def scenario() -> None:
        ended: list[str] = []
        async with server() as fake:
            links = Links(ended.append)
            await links.get(address(fake.ip), PASSWORD)
            begun = asyncio.get_running_loop().time()
            fake.die()
            while not ended:
                await asyncio.sleep(0.001)
            assert asyncio.get_running_loop().time() - begun < 0.5
            assert ended == ["uid-1"]
            with pytest.raises(LinkError, match="since the server was seen"):
                links.seen("uid-1")
            with pytest.raises(LinkError, match="connection refused"):
                await links.get(address(fake.ip), PASSWORD)
            assert ended == ["uid-1"]

    run(scenario())


def test_link_that_we_drop_is_told_to_nobody() -> None:
    async def scenario() -> None:
        ended: list[str] = []
        async with server() as fake:
            links = Links(ended.append)
            await links.get(address(fake.ip), PASSWORD)
            links.drop("uid-1")
            await asyncio.sleep(0.05)
            assert ended == []

    run(scenario())


def test_silent_server_costs_the_deadline_and_its_link_is_not_used_again() -> None:
    async def scenario() -> None:
        ended: list[str] = []
        async with server() as fake:
            fake.silent_from = "SLOW"
            links = Links(ended.append)
            link = await links.get(address(fake.ip), PASSWORD)
            with pytest.raises(LinkError, match="no answer in time"):
                await link.call("SLOW", deadline_s=0.05)
            assert not link.is_open, "a late reply would answer the next question"
            assert await links.get(address(fake.ip), PASSWORD) is not link
            assert ended == [], "silence is no death"
            links.close()

    run(scenario())


def test_wrong_password_is_refused_and_no_link_stays() -> None:
    async def scenario() -> None:
        async with server() as fake:
            fake.replies["AUTH"] = ErrorReply(
                b"WRONGPASS invalid username-password pair or user is disabled."
            )
            links = Links(lambda _: None)
            with pytest.raises(Refused) as refused:
                await links.get(address(fake.ip), "wrong")
            assert refused.value.text.startswith("WRONGPASS")
            assert len(links) == 0

    run(scenario())


def test_peer_that_speaks_no_resp_is_not_understood() -> None:
    async def scenario() -> None:
        ip = free_address()

        async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(100)
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        babbler = await asyncio.start_server(babble, ip, PORT_CLIENT)
        with pytest.raises(LinkError, match="not understood"):
            await Links(lambda _: None).get(address(ip), PASSWORD)
        babbler.close()

    run(scenario())

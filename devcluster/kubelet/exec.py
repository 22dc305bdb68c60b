"""`kubectl exec` over WebSocket: the streams of a process as channels of binary messages.

The first byte of a message names its channel: 0 input, 1 output, 2 error output, 3 the final status, 4 the
size of the terminal; in version 5 of the protocol channel 255 closes the channel named by the second byte.
SPDY, which old clients speak, is refused. Called by `server.py`. Source: "v5.channel.k8s.io" in the
Kubernetes enhancement proposal 4006.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import struct
import subprocess
import termios
from typing import Any, Final

from aiohttp import WSMsgType, web

from devcluster.kubelet.process import ContainerProcess

STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
PROTOCOLS: Final = ("v5.channel.k8s.io", "v4.channel.k8s.io")
CHUNK: Final = 32 << 10


async def serve_exec(request: web.Request, process: ContainerProcess) -> web.StreamResponse:
    """Run the asked command inside the container, connected to the caller."""
    if request.headers.get("Upgrade", "").lower() != "websocket":
        raise web.HTTPBadRequest(text="devcluster's exec speaks WebSocket only; this client asked for SPDY")
    asked = request.query
    socket = web.WebSocketResponse(protocols=PROTOCOLS, max_msg_size=0)
    await socket.prepare(request)
    has_input, is_terminal = asked.get("input") in ("1", "true"), asked.get("tty") in ("1", "true")
    command = process.entering(asked.getall("command", []))
    session = _Session(socket)
    status = await session.run(command, process.spec.environment, has_input, is_terminal)
    await socket.send_bytes(bytes([ERROR]) + json.dumps(_outcome(status)).encode())
    await socket.close()
    return socket


class _Session:
    def __init__(self, socket: web.WebSocketResponse) -> None:
        self._socket = socket
        self._terminal: int | None = None

    async def run(
        self, command: list[str], environment: dict[str, str], has_input: bool, is_terminal: bool
    ) -> int:
        """Return the exit status of the command."""
        if is_terminal:
            return await self._run_on_terminal(command, environment)
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=subprocess.PIPE if has_input else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
        assert process.stdout and process.stderr
        outputs = [
            asyncio.create_task(self._copy_out(process.stdout, STDOUT)),
            asyncio.create_task(self._copy_out(process.stderr, STDERR)),
        ]
        receiver = asyncio.create_task(self._receive(process.stdin))
        try:
            await self._until_ended(process, receiver)
            await asyncio.gather(*outputs, return_exceptions=True)
        finally:
            for task in (*outputs, receiver):
                task.cancel()
        return process.returncode or 0

    async def _run_on_terminal(self, command: list[str], environment: dict[str, str]) -> int:
        controlling, controlled = os.openpty()
        self._terminal = controlling
        process = await asyncio.create_subprocess_exec(
            *["setsid", "--ctty", "--wait", *command],
            stdin=controlled,
            stdout=controlled,
            stderr=controlled,
            env={"TERM": "xterm"} | environment,
        )
        os.close(controlled)
        output = asyncio.create_task(self._copy_terminal(controlling))
        receiver = asyncio.create_task(self._receive(None))
        try:
            await self._until_ended(process, receiver)
            await asyncio.wait({output}, timeout=1)
        finally:
            output.cancel()
            receiver.cancel()
            os.close(controlling)
        return process.returncode or 0

    async def _until_ended(self, process: asyncio.subprocess.Process, receiver: asyncio.Task[None]) -> None:
        """Wait for the process; if the caller goes away first, end it."""
        ended = asyncio.create_task(process.wait())
        await asyncio.wait({ended, receiver}, return_when=asyncio.FIRST_COMPLETED)
        if not ended.done():
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                process.kill()
        await ended

    async def _copy_out(self, stream: asyncio.StreamReader, channel: int) -> None:
        while chunk := await stream.read(CHUNK):
            await self._socket.send_bytes(bytes([channel]) + chunk)

    async def _copy_terminal(self, descriptor: int) -> None:
        loop = asyncio.get_running_loop()
        readable = asyncio.Event()
        loop.add_reader(descriptor, readable.set)
        try:
            while True:
                await readable.wait()
                readable.clear()
                try:
                    chunk = os.read(descriptor, CHUNK)
                except OSError:  # the last process has closed the terminal
                    return
                await self._socket.send_bytes(bytes([STDOUT]) + chunk)
        finally:
            loop.remove_reader(descriptor)

    async def _receive(self, into: asyncio.StreamWriter | None) -> None:
        """Take messages until the caller goes away."""
        async for message in self._socket:
            if message.type != WSMsgType.BINARY or not message.data:
                continue
            channel, data = message.data[0], message.data[1:]
            if channel == STDIN and self._terminal is not None:
                os.write(self._terminal, data)
            elif channel == STDIN and into:
                into.write(data)
                try:
                    await into.drain()
                except ConnectionError:
                    pass  # the command does not read its input
            elif channel == CLOSE and data[:1] == bytes([STDIN]) and into:
                into.close()
            elif channel == RESIZE and self._terminal is not None:
                size = json.loads(data)
                packed = struct.pack("HHHH", size.get("Height", 24), size.get("Width", 80), 0, 0)
                fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, packed)


def _outcome(status: int) -> dict[str, Any]:
    if status == 0:
        return {"metadata": {}, "status": "Success"}
    return {
        "metadata": {},
        "status": "Failure",
        "reason": "NonZeroExitCode",
        "message": f"command terminated with non-zero exit code: exit status {status}",
        "details": {"causes": [{"reason": "ExitCode", "message": str(status)}]},
    }

"""Probes carried out: HTTP, TCP and exec, on their periods, with their time-outs.

The first attempt is made as soon as the initial delay allows, later ones a period apart. Connections come
from the node's address, as a real kubelet's do, so that a network fault between pods leaves probes alone.
An HTTP probe speaks HTTP/1.1 over a plain connection, because forty pods probed each second must cost next
to nothing. gRPC probes do not exist here and fail with a message. Used by `container.py`; `probe.py` has
the thresholds.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any, Final

from devcluster.kubelet.probe import ProbeSpec, ProbeState
from devcluster.kubelet.process import ContainerProcess

ANSWER_BYTES_MAX: Final = 10 << 10
UNVERIFIED: Final = ssl.create_default_context()  # a probe accepts every certificate
UNVERIFIED.check_hostname = False
UNVERIFIED.verify_mode = ssl.CERT_NONE


class ProbeTarget:
    """Where the probes of one container go."""

    def __init__(
        self, process: ContainerProcess, address: str, node_address: str, ports: dict[str, int]
    ) -> None:
        self.process: Final = process
        self.address: Final = address
        self.node_address: Final = node_address
        self._ports = ports

    def port(self, named: int | str) -> int:
        """Return the number of a port given by number or by name."""
        if isinstance(named, int) or named.isdigit():
            return int(named)
        if named not in self._ports:
            raise ValueError(f'the container has no port named "{named}"')
        return self._ports[named]


async def run_probe(
    spec: ProbeSpec,
    target: ProbeTarget,
    changed: Callable[[bool], None],
    failed: Callable[[str], None],
) -> None:
    """Probe for ever; `changed(verdict)` when the verdict changes, `failed(why)` at each failed attempt."""
    loop = asyncio.get_running_loop()
    state = ProbeState(spec)
    await asyncio.sleep(spec.initial_delay_s)
    due = loop.time()
    while True:
        why = await attempt(spec.handler, target, spec.timeout_s)
        if why is not None:
            failed(why)
        if state.record(why is None):
            assert state.verdict is not None
            changed(state.verdict)
            if spec.kind == "startup":
                return
        # A time-out longer than the period delays the next attempt, and none is made up for.
        due = max(due + spec.period_s, loop.time())
        await asyncio.sleep(due - loop.time())


async def attempt(handler: dict[str, Any], target: ProbeTarget, timeout_s: float) -> str | None:
    """Try once; return None for success, else what went wrong."""
    try:
        if "exec" in handler:
            status, output = await target.process.run_inside(handler["exec"].get("command", []), timeout_s)
            return None if status == 0 else output or f"command exited with {status}"
        async with asyncio.timeout(timeout_s):
            if "httpGet" in handler:
                return await _http_get(handler["httpGet"], target)
            if "tcpSocket" in handler:
                socket = handler["tcpSocket"]
                host = socket.get("host") or target.address
                _, writer = await asyncio.open_connection(
                    host, target.port(socket["port"]), local_addr=_source(host, target)
                )
                writer.close()
                return None
        return "this kind of probe is not supported by devcluster"
    except TimeoutError:
        return f"timed out after {timeout_s:g} s"
    except (OSError, ValueError, asyncio.IncompleteReadError) as failed:
        return str(failed)


async def _http_get(get: dict[str, Any], target: ProbeTarget) -> str | None:
    host = get.get("host") or target.address
    port = target.port(get["port"])
    path = get.get("path") or "/"
    headers = {
        "Host": f"{host}:{port}",
        "User-Agent": "kube-probe/1.36",
        "Accept": "*/*",
        "Connection": "close",
    }
    for header in get.get("httpHeaders") or []:
        headers[header["name"]] = header["value"]
    reader, writer = await asyncio.open_connection(
        host,
        port,
        ssl=UNVERIFIED if get.get("scheme") == "HTTPS" else None,
        local_addr=_source(host, target),
    )
    try:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        writer.write(f"GET {path if path.startswith('/') else '/' + path} HTTP/1.1\r\n{lines}\r\n".encode())
        first = await reader.readline()
        parts = first.split(None, 2)
        if len(parts) < 2 or not parts[0].startswith(b"HTTP/") or not parts[1].isdigit():
            return f"not an HTTP answer: {first[:80]!r}"
        status = int(parts[1])
        if 200 <= status < 400:
            return None
        body = (await reader.read(ANSWER_BYTES_MAX)).partition(b"\r\n\r\n")[2]
        said = f": {body.decode(errors='replace').strip()[:200]}" if body else ""
        return f"HTTP probe failed with statuscode: {status}{said}"
    finally:
        writer.close()


def _source(host: str, target: ProbeTarget) -> tuple[str, int] | None:
    return (target.node_address, 0) if host.startswith("127.") else None

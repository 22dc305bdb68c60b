"""The nodes' HTTPS port, which the API server calls for `kubectl logs` and `kubectl exec`.

One application serves all nodes, each at its own address; only the API server's client certificate opens
it. Logs are the raw output files of containers, so they have no times of their own: `--timestamps` and
`--since` are refused, not ignored. exec speaks the WebSocket protocol that kubectl and the API server speak
(`exec.py`); attach and port-forward do not exist here: a pod's ports can be reached at its address. Started
by `kubelet.py`.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Final

from aiohttp import web

from devcluster.kubelet.container import Container
from devcluster.kubelet.exec import serve_exec

if TYPE_CHECKING:
    from devcluster.kubelet.kubelet import Kubelet

CHUNK: Final = 64 << 10
FOLLOW_INTERVAL_S: Final = 0.1  # only while somebody follows


async def serve_nodes(kubelet: Kubelet) -> None:
    """Start to listen on every node's address."""
    state, settings = kubelet.context.state, kubelet.context.settings
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(state.pki / "ca.crt"))
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(state.pki / "kubelet.crt", state.pki / "kubelet.key")
    pods = _Pods(kubelet)
    application = web.Application()
    application.add_routes([
        web.get("/containerLogs/{namespace}/{pod}/{container}", pods.logs),
        web.get("/exec/{namespace}/{pod}/{container}", pods.exec),
        web.post("/exec/{namespace}/{pod}/{container}", pods.exec),
        web.route("*", "/attach/{rest:.*}", pods.unsupported),
        web.route("*", "/portForward/{rest:.*}", pods.unsupported),
    ])  # fmt: skip
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    for node in kubelet.nodes.values():
        await web.TCPSite(runner, node.address, settings.kubelet_port, ssl_context=context).start()


class _Pods:
    def __init__(self, kubelet: Kubelet) -> None:
        self._kubelet = kubelet

    async def logs(self, request: web.Request) -> web.StreamResponse:
        asked = request.query
        container = self._container(request)
        for refused in ("timestamps", "sinceSeconds", "sinceTime"):
            if asked.get(refused) not in (None, "false"):
                raise web.HTTPBadRequest(text=f"devcluster's logs have no times, {refused} is not possible")
        is_previous = asked.get("previous") == "true"
        path = container.log_path(container.facts.restart_count - (1 if is_previous else 0))
        if not path.exists():
            what = "previous terminated container" if is_previous else "container"
            raise web.HTTPBadRequest(text=f'{what} "{container.name}" in pod has no log')
        tail = int(asked["tailLines"]) if "tailLines" in asked else None
        limit = int(asked["limitBytes"]) if "limitBytes" in asked else None
        answer = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await answer.prepare(request)
        with open(path, "rb") as file:
            if tail is not None:
                file.seek(tail_offset(path, tail))
            is_followed = asked.get("follow") == "true" and not is_previous
            process = container.process
            while limit is None or limit > 0:
                # Asked before reading: what the process wrote before its end is then surely read.
                is_over = not is_followed or process is None or not process.is_running
                if chunk := file.read(min(CHUNK, limit) if limit is not None else CHUNK):
                    limit = None if limit is None else limit - len(chunk)
                    await answer.write(chunk)
                elif is_over:
                    break
                else:
                    await asyncio.sleep(FOLLOW_INTERVAL_S)
                    if request.transport is None or request.transport.is_closing():
                        break
        return answer

    async def exec(self, request: web.Request) -> web.StreamResponse:
        container = self._container(request)
        if not container.process or not container.process.is_running:
            raise web.HTTPBadRequest(text=f"container {container.name} is not running")
        return await serve_exec(request, container.process)

    async def unsupported(self, _: web.Request) -> web.StreamResponse:
        raise web.HTTPNotImplemented(
            text="devcluster has no attach and no port-forward; use the pod's address"
        )

    def _container(self, request: web.Request) -> Container:
        match = request.match_info
        container = self._kubelet.find_container(match["namespace"], match["pod"], match["container"])
        if not container:
            raise web.HTTPNotFound(text=f"container {match['container']} not found")
        return container


def tail_offset(path: Path, lines: int) -> int:
    """Return where the last `lines` lines of a file begin; reads backwards, so its size does not matter."""
    end = os.path.getsize(path)
    if lines <= 0:
        return end
    with open(path, "rb") as file:
        position, found = end, 0
        while position > 0:
            size = min(CHUNK, position)
            position -= size
            file.seek(position)
            chunk = file.read(size)
            at = len(chunk)
            while (at := chunk.rfind(b"\n", 0, at)) >= 0:
                if position + at == end - 1:
                    continue  # the newline that ends the file ends its last line
                found += 1
                if found == lines:
                    return position + at + 1
    return 0

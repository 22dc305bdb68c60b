"""The control port: faults and status for `DevCluster` and the command line, over HTTP on loopback.

It stands outside the Kubernetes API on purpose: a fault must work when the API server is down, and no API
should offer it. Only the administrator's token opens it. Every answer is JSON; a fault is answered when it
has happened.
"""

from __future__ import annotations

import asyncio
import hmac
import signal
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from aiohttp import web

if TYPE_CHECKING:
    from devcluster.kubelet.kubelet import Kubelet
    from devcluster.kubelet.pod import PodWorker


async def serve_control(kubelet: Kubelet) -> None:
    """Start to listen."""
    settings = kubelet.context.settings
    expected = f"Bearer {settings.admin_token}"

    @web.middleware
    async def authenticated(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if not hmac.compare_digest(request.headers.get("Authorization", ""), expected):
            raise web.HTTPUnauthorized
        return await handler(request)

    control = _Control(kubelet)
    application = web.Application(middlewares=[authenticated])
    application.add_routes([web.get("/status", control.status), web.post("/faults/{fault}", control.fault)])
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, settings.control_plane_address, settings.control_port).start()


class _Control:
    def __init__(self, kubelet: Kubelet) -> None:
        self._kubelet = kubelet

    async def status(self, _: web.Request) -> web.Response:
        nodes: list[dict[str, Any]] = [
            {
                "name": node.name,
                "address": node.address,
                "zone": node.zone,
                "pod_range": f"{self._kubelet.context.settings.pod_prefix}.{node.index + 1}.0/24",
                "state": "lost" if node.is_lost else "running",
                "pods": [
                    _described(each) for each in self._kubelet.workers.values() if each.node == node.name
                ],
            }
            for node in self._kubelet.nodes.values()
        ]
        return web.json_response({"nodes": nodes})

    async def fault(self, request: web.Request) -> web.Response:
        asked = await request.json()
        match request.match_info["fault"]:
            case "kill":
                container = self._kubelet.find_container(asked["namespace"], asked["pod"], asked["container"])
                if not container or not container.process or not container.process.is_running:
                    raise web.HTTPNotFound(text=f"{asked['pod']} has no such running container")
                container.kill()
                await asyncio.shield(container.process.exited)
            case "freeze" | "thaw" as verb:
                number = signal.SIGSTOP if verb == "freeze" else signal.SIGCONT
                if not self._kubelet.signal_pod(asked["namespace"], asked["pod"], number):
                    raise web.HTTPNotFound(text=f"no pod {asked['namespace']}/{asked['pod']} runs here")
            case "lose-node" | "restore-node" as verb:
                if asked["node"] not in self._kubelet.nodes:
                    raise web.HTTPNotFound(text=f"there is no node {asked['node']}")
                if verb == "lose-node":
                    self._kubelet.lose_node(asked["node"])
                else:
                    await self._kubelet.restore_node(asked["node"])
            case unknown:
                raise web.HTTPNotFound(text=f"there is no fault {unknown}")
        return web.json_response({})


def _described(worker: PodWorker) -> dict[str, Any]:
    metadata = worker.pod["metadata"]
    return {
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "address": worker.pod_ip,
        "containers": [
            {
                "name": each.name,
                "state": next(iter(each.facts.state)),
                "pid": each.process.pid if each.process and each.process.is_running else None,
                "restarts": each.facts.restart_count,
            }
            for each in worker.containers
        ],
    }

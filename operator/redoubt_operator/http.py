"""The operator's own HTTP port: /metrics for Prometheus, /livez and /readyz for the kubelet.

Alive is a process whose event loop answers. Ready is one that could lead: a standby is ready, too, or a
rolling update of the operator would wait for ever. Started by `main.py`.
"""

from __future__ import annotations

from aiohttp import web

from redoubt_operator.metrics import Metrics


async def start(metrics: Metrics, address: str, port: int) -> web.AppRunner:
    """Serve until `cleanup()` of the runner that is returned."""

    async def render(_: web.Request) -> web.Response:
        return web.Response(body=metrics.render(), headers={"Content-Type": "text/plain; version=0.0.4"})

    async def alive(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    application = web.Application()
    application.add_routes(
        [
            web.get("/metrics", render),
            web.get("/livez", alive),
            web.get("/healthz", alive),
            web.get("/readyz", alive),
        ]
    )
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, address, port).start()
    return runner

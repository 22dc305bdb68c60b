"""A Kubernetes API server in a few lines: objects in a dict behind real HTTP, for tests below `kube.py`.

It keeps what the operator relies on: resourceVersions that grow, conflicts of versions and uids, apply that
changes nothing when nothing differs, label selectors, preconditions of deletes. `answers` holds statuses to
give before anything is looked at, one for each request; `requests` is what was asked. It validates nothing.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from copy import deepcopy
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio.client import Configuration

from redoubt_operator.kube import Kube

Json = dict[str, Any]


class FakeApi:
    """The server's state; see the module's docstring."""

    def __init__(self) -> None:
        self.objects: dict[str, Json] = {}
        self.version = 100
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.bodies: list[Any] = []
        self.answers: list[tuple[int, dict[str, str]]] = []
        # Only requests whose path ends so take from `answers`: where several are under way at once.
        self.answers_to = ""
        self.tokens: list[str] = []
        # Awaited before each request is answered; a test may hold a request with it.
        self.gate: Callable[[], Coroutine[Any, Any, None]] | None = None

    @property
    def writes(self) -> list[tuple[str, str]]:
        """What was asked beside reading: method and path."""
        return [(method, path) for method, path, _ in self.requests if method != "GET"]

    def put(self, path: str, manifest: Json) -> Json:
        """Place an object at its path as if it had been created."""
        self.version += 1
        stored = deepcopy(manifest)
        metadata = stored.setdefault("metadata", {})
        parts = path.split("/")
        metadata.setdefault("name", parts[-1])
        if "namespaces" in parts:
            metadata.setdefault("namespace", parts[parts.index("namespaces") + 1])
        metadata.setdefault("uid", f"uid-{self.version}")
        metadata["resourceVersion"] = str(self.version)
        self.objects[path] = stored
        return stored

    async def handle(self, request: web.Request) -> web.Response:
        text = await request.text()
        body: Any = json.loads(text) if text else None
        self.requests.append((request.method, request.path, dict(request.query)))
        self.bodies.append(body)
        self.tokens.append(request.headers.get("Authorization", ""))
        if self.gate is not None:
            await self.gate()
        if self.answers and request.path.endswith(self.answers_to):
            status, headers = self.answers.pop(0)
            if status != 200:
                return _status(status, "Injected", headers)
        match request.method:
            case "GET":
                return self._get(request)
            case "POST":
                return self._post(request.path, body)
            case "PUT":
                return self._put(request.path, body)
            case "PATCH":
                return self._patch(request, body)
            case "DELETE":
                return self._delete(request.path, body or {})
        return _status(405, "MethodNotAllowed")

    def _get(self, request: web.Request) -> web.Response:
        if request.path in self.objects:
            return web.json_response(self.objects[request.path])
        if request.path.split("/")[-1] in {"secrets", "pods", "services", "configmaps"} or (
            "/" not in request.path.partition("/namespaces/")[2].partition("/")[2]
        ):
            selector = request.query.get("labelSelector", "")
            wanted = dict(pair.split("=") for pair in selector.split(",") if pair)
            items = [
                manifest
                for path, manifest in self.objects.items()
                if path.rpartition("/")[0] == request.path
                and wanted.items() <= (manifest["metadata"].get("labels") or {}).items()
            ]
            return web.json_response(
                {"kind": "List", "metadata": {"resourceVersion": str(self.version)}, "items": items}
            )
        return _status(404, "NotFound")

    def _post(self, path: str, body: Json) -> web.Response:
        path = f"{path}/{body['metadata']['name']}"
        if path in self.objects:
            return _status(409, "AlreadyExists")
        return web.json_response(self.put(path, body), status=201)

    def _put(self, path: str, body: Json) -> web.Response:
        live = self.objects.get(path)
        if live is None:
            return _status(404, "NotFound")
        if body["metadata"].get("resourceVersion") != live["metadata"]["resourceVersion"]:
            return _status(409, "Conflict")
        return web.json_response(self.put(path, live | body))

    def _patch(self, request: web.Request, body: Json) -> web.Response:
        path = request.path.removesuffix("/status")
        live = self.objects.get(path)
        is_apply = request.headers["Content-Type"].startswith("application/apply-patch")
        if live is None:
            if not is_apply:
                return _status(404, "NotFound")
            return web.json_response(self.put(path, body), status=201)
        fences = {
            key: body["metadata"][key]
            for key in ("uid", "resourceVersion")
            if key in body.get("metadata", {})
        }
        if any(live["metadata"][key] != value for key, value in fences.items()):
            return _status(409, "Conflict")
        merged = _merged(live, body)
        merged["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"]
        if merged == live:
            return web.json_response(live)
        return web.json_response(self.put(path, merged))

    def _delete(self, path: str, body: Json) -> web.Response:
        live = self.objects.get(path)
        if live is None:
            return _status(404, "NotFound")
        for key, value in (body.get("preconditions") or {}).items():
            if live["metadata"][key] != value:
                return _status(409, "Conflict")
        del self.objects[path]
        return web.json_response(live)


def _merged(live: Any, patch: Any) -> Any:
    if not isinstance(live, dict) or not isinstance(patch, dict):
        return deepcopy(patch)
    merged = deepcopy(live)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merged(merged.get(key), value)
    return merged


def _status(status: int, reason: str, headers: dict[str, str] | None = None) -> web.Response:
    body = {"kind": "Status", "reason": reason, "message": f"{reason} by the test", "code": status}
    return web.json_response(body, status=status, headers=headers)


@asynccontextmanager
async def serve(api: FakeApi) -> AsyncIterator[Kube]:
    """Serve `api` on a free port of loopback and yield a client of it."""
    application = web.Application()
    application.router.add_route("*", "/{tail:.*}", api.handle)
    server = TestServer(application)
    await server.start_server()
    configuration = Configuration()
    configuration.host = str(server.make_url("")).rstrip("/")
    configuration.api_key["BearerToken"] = "bearer secret"
    kube = Kube(configuration)
    try:
        yield kube
    finally:
        await kube.close()
        await server.close()


def run(scenario: Coroutine[Any, Any, None]) -> None:
    """Run a test's coroutine to its end, or fail after ten seconds."""
    asyncio.run(asyncio.wait_for(scenario, 10))

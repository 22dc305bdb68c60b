"""Services without kube-proxy: a listener on each cluster address that forwards to the ready pods in turn.

Cluster addresses are loopback addresses here, so a Service is simply somebody who listens there. The pods
are found by the Service's own selector, since EndpointSlices may not hold loopback addresses. A connection
without a ready pod is reset. TCP only, no node ports, no session affinity; headless Services have no
address and need nothing. The Service `kubernetes` leads to the API server where ports below 1024 may be
bound. Started by `kubelet.py`.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import socket
import struct
from collections.abc import Callable
from typing import Final

from devcluster.kubelet.api import ApiClient, Key, Object, WatchCache, key_of
from devcluster.kubelet.status import is_pod_ready
from devcluster.state import Settings

LOG: Final = logging.getLogger("devcluster.services")
BIND_RETRY_S: Final = 0.2
BIND_TRIES: Final = 25  # an earlier Service's listener on the address may just be closing
RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)
BUFFER_HIGH_BYTES: Final = 1 << 20
Backend = tuple[str, int]


class ServiceForwarder:
    """All Services of the cluster."""

    def __init__(self, client: ApiClient, settings: Settings, pods: WatchCache) -> None:
        self._settings = settings
        self._pods = pods
        self._services = WatchCache(client, "/api/v1/services", self._changed)
        self._listening: dict[Key, dict[Backend, asyncio.Task[None]]] = {}

    async def run(self) -> None:
        """Follow the Services for ever."""
        await self._services.run()

    def _changed(self, service: Object, is_gone: bool) -> None:
        key = key_of(service)
        wanted = set() if is_gone else {(address, port) for address, port, _ in _ports(service)}
        listening = self._listening.setdefault(key, {})
        for place in [place for place in listening if place not in wanted]:
            listening.pop(place).cancel()
        for address, port in sorted(wanted - set(listening)):
            listening[address, port] = asyncio.create_task(self._listen(key, address, port))
        if not listening:
            del self._listening[key]

    async def _listen(self, key: Key, address: str, port: int) -> None:
        turn = itertools.count()
        loop = asyncio.get_running_loop()

        def connected() -> asyncio.Protocol:
            return _Front(lambda: self._choose(key, port, turn))

        for tries in range(BIND_TRIES):
            try:
                server = await loop.create_server(connected, address, port)
                break
            except OSError as refused:
                if tries == 0:
                    LOG.info("service %s/%s cannot listen on %s:%d: %s", *key, address, port, refused)
                if isinstance(refused, PermissionError):
                    return
                await asyncio.sleep(BIND_RETRY_S)
        else:
            return
        try:
            await server.serve_forever()
        finally:
            server.close()

    def _choose(self, key: Key, port: int, turn: itertools.count[int]) -> Backend | None:
        """Return where the next connection goes."""
        if key == ("default", "kubernetes"):
            return self._settings.control_plane_address, self._settings.api_port
        service = self._services.objects.get(key)
        target = (
            next((target for _, each, target in _ports(service) if each == port), None) if service else None
        )
        selector = service["spec"].get("selector") if service else None
        if not service or target is None or not selector:
            return None
        accepts_unready = bool(service["spec"].get("publishNotReadyAddresses"))
        backends = []
        for (namespace, _), pod in self._pods.objects.items():
            if namespace != key[0] or pod["metadata"].get("deletionTimestamp"):
                continue
            labels = pod["metadata"].get("labels") or {}
            if any(labels.get(name) != value for name, value in selector.items()):
                continue
            if not (accepts_unready or is_pod_ready(pod)) or not pod.get("status", {}).get("podIP"):
                continue
            if (number := _pod_port(pod, target)) is not None:
                backends.append((str(pod["status"]["podIP"]), number))
        return sorted(backends)[next(turn) % len(backends)] if backends else None


class _Front(asyncio.Protocol):
    """The client's side of one forwarded connection."""

    def __init__(self, choose: Callable[[], Backend | None]) -> None:
        self._choose = choose
        self._waiting = bytearray()
        self._is_half_closed = False
        self.transport: asyncio.Transport
        self._back: _Back | None = None
        self._dial: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.set_write_buffer_limits(high=BUFFER_HIGH_BYTES)
        if backend := self._choose():
            self._dial = asyncio.get_running_loop().create_task(self._connect(backend))
        else:
            self.reset()

    async def _connect(self, backend: Backend) -> None:
        try:
            _, back = await asyncio.get_running_loop().create_connection(lambda: _Back(self), *backend)
        except OSError:
            self.reset()
            return
        self._back = back
        if self._waiting:
            back.transport.write(bytes(self._waiting))
            self._waiting.clear()
        if self._is_half_closed:
            back.transport.write_eof()

    def reset(self) -> None:
        """Close so that the client sees a refusal, not an orderly end."""
        if (raw := self.transport.get_extra_info("socket")) is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._back:
            self._back.transport.write(data)
        else:
            self._waiting += data
            if len(self._waiting) > BUFFER_HIGH_BYTES:
                self.transport.pause_reading()

    def eof_received(self) -> bool:
        self._is_half_closed = True
        if self._back and self._back.transport.can_write_eof():
            self._back.transport.write_eof()
        return True

    def connection_lost(self, _: Exception | None) -> None:
        if self._back:
            self._back.transport.close()
        elif self._dial:
            self._dial.cancel()

    def pause_writing(self) -> None:
        if self._back:
            self._back.transport.pause_reading()

    def resume_writing(self) -> None:
        if self._back:
            self._back.transport.resume_reading()


class _Back(asyncio.Protocol):
    """The pod's side of one forwarded connection."""

    def __init__(self, front: _Front) -> None:
        self._front = front
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.set_write_buffer_limits(high=BUFFER_HIGH_BYTES)
        if self._front.transport.is_closing():
            transport.abort()
        else:
            self._front.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        self._front.transport.write(data)

    def eof_received(self) -> bool:
        if self._front.transport.can_write_eof():
            self._front.transport.write_eof()
        return True

    def connection_lost(self, failure: Exception | None) -> None:
        if failure:
            self._front.reset()
        else:
            self._front.transport.close()

    def pause_writing(self) -> None:
        self._front.transport.pause_reading()

    def resume_writing(self) -> None:
        self._front.transport.resume_reading()


def _ports(service: Object | None) -> list[tuple[str, int, int | str]]:
    """Return (cluster address, port, target port) for each TCP port."""
    if not service:
        return []
    spec = service["spec"]
    addresses = [each for each in spec.get("clusterIPs") or [] if each and each != "None"]
    return [
        (address, port["port"], port.get("targetPort") or port["port"])
        for address in addresses
        for port in spec.get("ports") or []
        if port.get("protocol", "TCP") == "TCP"
    ]


def _pod_port(pod: Object, target: int | str) -> int | None:
    if isinstance(target, int) or target.isdigit():
        return int(target)
    for container in pod["spec"]["containers"]:
        for port in container.get("ports") or []:
            if port.get("name") == target:
                return int(port["containerPort"])
    return None

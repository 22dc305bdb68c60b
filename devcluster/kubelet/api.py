"""A small asynchronous client of the Kubernetes API, and a cache of objects kept current by a watch.

Objects stay the plain dictionaries that JSON makes of them: the kubelet passes most fields on unread, and
building a model class per object would cost more than everything else it does. `ApiClient` is one
connection pool; `WatchCache` lists, watches, resumes after errors, and calls back with every change. Used
by all of the kubelet. Rules of list and watch: "Efficient detection of changes" in the Kubernetes API
concepts.
"""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import aiohttp

Object = dict[str, Any]
Key = tuple[str, str]  # namespace ("" for cluster-scoped), name

LOG: Final = logging.getLogger("devcluster.api")
WATCH_TIMEOUT_S: Final = 600
RETRY_FIRST_S: Final = 0.1
RETRY_LONGEST_S: Final = 2.0
LINE_BYTES_MAX: Final = 8 << 20  # one watch event; etcd's objects are at most 1.5 MiB
STRATEGIC_MERGE: Final = "application/strategic-merge-patch+json"
MERGE: Final = "application/merge-patch+json"


class ApiError(Exception):
    """The API server answered with an error status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class ApiClient:
    """Requests to one API server as one user."""

    def __init__(self, url: str, token: str, ca_file: str) -> None:
        self._url = url
        context = ssl.create_default_context(cafile=ca_file)
        self._session = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {token}", "User-Agent": "devcluster-kubelet"},
            connector=aiohttp.TCPConnector(ssl=context, limit=0, keepalive_timeout=60),
            read_bufsize=LINE_BYTES_MAX,
        )

    async def close(self) -> None:
        await self._session.close()

    async def get(self, path: str, **parameters: str) -> Object:
        return await self._request("GET", path, None, parameters)

    async def create(self, path: str, body: Object) -> Object:
        return await self._request("POST", path, body, {})

    async def patch(self, path: str, body: Object, kind: str = MERGE) -> Object:
        return await self._request("PATCH", path, body, {}, kind)

    async def replace(self, path: str, body: Object) -> Object:
        return await self._request("PUT", path, body, {})

    async def delete(self, path: str, body: Object | None = None) -> None:
        await self._request("DELETE", path, body, {})

    async def watch(self, path: str, **parameters: str) -> AsyncIterator[Object]:
        """Yield watch events until the server ends the watch."""
        asked = parameters | {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(WATCH_TIMEOUT_S),
        }
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=WATCH_TIMEOUT_S + 30)
        async with self._session.get(self._url + path, params=asked, timeout=timeout) as answer:
            await _raise_for(answer)
            async for line in answer.content:
                yield json.loads(line)

    async def _request(
        self,
        method: str,
        path: str,
        body: Object | None,
        parameters: dict[str, str],
        kind: str = "application/json",
    ) -> Object:
        data = None if body is None else json.dumps(body).encode()
        async with self._session.request(
            method,
            self._url + path,
            params=parameters,
            data=data,
            headers={"Content-Type": kind},
            timeout=aiohttp.ClientTimeout(total=20),
        ) as answer:
            await _raise_for(answer)
            parsed: Object = await answer.json()
            return parsed


async def _raise_for(answer: aiohttp.ClientResponse) -> None:
    if answer.status < 400:
        return
    text = await answer.text()
    try:
        text = json.loads(text).get("message", text)
    except ValueError:
        pass
    raise ApiError(answer.status, text)


def key_of(thing: Object) -> Key:
    """Return the namespace and name of an object."""
    metadata = thing["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


class WatchCache:
    """All objects of one kind as last seen; `changed(object, is_gone)` is called for each difference."""

    def __init__(
        self,
        client: ApiClient,
        path: str,
        changed: Callable[[Object, bool], None] | None = None,
        **parameters: str,
    ) -> None:
        self._client = client
        self._path = path
        self._parameters = parameters
        self._callback = changed
        self.objects: dict[Key, Object] = {}
        self.synced = asyncio.Event()

    def get(self, namespace: str, name: str) -> Object | None:
        return self.objects.get((namespace, name))

    async def run(self) -> None:
        """Keep the cache current for ever."""
        pause = RETRY_FIRST_S
        while True:
            try:
                version = await self._list()
                self.synced.set()
                pause = RETRY_FIRST_S
                await self._follow(version)
            except (TimeoutError, ApiError, aiohttp.ClientError, ValueError, OSError) as failed:
                LOG.info("watch of %s broke, listing again in %.1f s: %s", self._path, pause, failed)
                await asyncio.sleep(pause)
                pause = min(2 * pause, RETRY_LONGEST_S)

    def _changed(self, thing: Object, is_gone: bool) -> None:
        if self._callback:
            try:
                self._callback(thing, is_gone)
            except Exception:  # one odd object must not blind us to all others
                LOG.exception("change of %s %s", self._path, key_of(thing))

    async def _list(self) -> str:
        listed = await self._client.get(self._path, **self._parameters)
        present = {key_of(each): each for each in listed.get("items") or []}
        for key in [key for key in self.objects if key not in present]:
            self._changed(self.objects.pop(key), True)
        for key, each in present.items():
            before = self.objects.get(key)
            self.objects[key] = each
            if not before or before["metadata"]["resourceVersion"] != each["metadata"]["resourceVersion"]:
                self._changed(each, False)
        return str(listed["metadata"]["resourceVersion"])

    async def _follow(self, version: str) -> None:
        """Apply watch events from `version` on; returns when only a new list can help."""
        while True:
            async for event in self._client.watch(self._path, resourceVersion=version, **self._parameters):
                seen = event["object"]
                if event["type"] == "ERROR":
                    LOG.info("watch of %s: %s", self._path, seen.get("message"))
                    return
                version = seen["metadata"]["resourceVersion"]
                if event["type"] == "BOOKMARK":
                    continue
                is_gone = event["type"] == "DELETED"
                if is_gone:
                    self.objects.pop(key_of(seen), None)
                else:
                    self.objects[key_of(seen)] = seen
                self._changed(seen, is_gone)

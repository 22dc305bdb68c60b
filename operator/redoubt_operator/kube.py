"""The one door to the Kubernetes API: a dozen verbs over JSON objects, with deadlines and bounded retries.

Nothing else in the operator speaks HTTP to the API server (kopf's watches aside, which get their
credentials here). Objects stay plain JSON in both directions: the typed models of the client library cost
memory and time and would hide fields that a newer server adds; `projection.py` takes from the JSON what the
planner may see.

Reads are cheap: LIST and GET name the resourceVersion of our own newest write of that kind (0 at first), so
the API server answers from its watch cache, but never with a state older than what we did ourselves.
Writes are careful: server-side apply with one field manager, deletes with preconditions, creates that take
"exists already" for an answer. An apply is skipped only when the live object still has the resourceVersion
that our last apply of the same rendering returned.

429, 5xx and broken connections are retried a few times, honouring Retry-After; every other refusal is an
`ApiError` at once, because repeating it would change nothing. Used by the observer, the executor, the
election and the recorder of Events. It decides nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import load_incluster_config, load_kube_config

from redoubt_operator.names import API_VERSION, FIELD_MANAGER, KIND, PLURAL
from redoubt_operator.observation import Manifest

log = logging.getLogger(__name__)

Json = dict[str, Any]

CALL_TIMEOUT_S: Final = 5.0
# With 0.1, 0.4, 1.6 s between them: a restart of one of several API servers is bridged, an outage is not.
ATTEMPTS: Final = 4
PAUSE_FIRST_S: Final = 0.1
PAUSE_GROWTH: Final = 4.0
# A server may ask for minutes; the work queue's own pauses are the better place to wait that long.
RETRY_AFTER_MAX_S: Final = 5.0
CONNECTIONS_MAX: Final = 32
# Digests of what was applied, one for each Service, ConfigMap and budget that we own.
APPLIED_MAX: Final = 20_000
RETRIED_STATUSES: Final = frozenset({429, 500, 502, 503, 504})


class ApiError(Exception):
    """A request that the API server refused, or that did not reach it (`status` 0)."""

    def __init__(self, status: int, reason: str, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after_s = retry_after_s

    @property
    def is_not_found(self) -> bool:
        return self.status == 404

    @property
    def is_conflict(self) -> bool:
        """Whether the object changed or exists already: look again instead of repeating the request."""
        return self.status == 409

    @property
    def is_passing(self) -> bool:
        """Whether the same request may succeed a moment later."""
        return self.status == 0 or self.status in RETRIED_STATUSES


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind of object and where the API serves it."""

    api_version: str
    kind: str
    plural: str

    def path(self, namespace: str, name: str = "", subresource: str = "") -> str:
        """Build the URL path; an empty namespace means all namespaces, or a kind without any."""
        root = f"/apis/{self.api_version}" if "/" in self.api_version else f"/api/{self.api_version}"
        place = f"/namespaces/{namespace}" if namespace else ""
        tail = "".join(f"/{part}" for part in (name, subresource) if part)
        return f"{root}{place}/{self.plural}{tail}"


CLUSTERS: Final = Resource(API_VERSION, KIND, PLURAL)
PODS: Final = Resource("v1", "Pod", "pods")
CLAIMS: Final = Resource("v1", "PersistentVolumeClaim", "persistentvolumeclaims")
SERVICES: Final = Resource("v1", "Service", "services")
CONFIG_MAPS: Final = Resource("v1", "ConfigMap", "configmaps")
SECRETS: Final = Resource("v1", "Secret", "secrets")
NODES: Final = Resource("v1", "Node", "nodes")
BUDGETS: Final = Resource("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets")
LEASES: Final = Resource("coordination.k8s.io/v1", "Lease", "leases")
EVENTS: Final = Resource("v1", "Event", "events")
_BY_KIND: Final = {
    (resource.api_version, resource.kind): resource
    for resource in (CLUSTERS, PODS, CLAIMS, SERVICES, CONFIG_MAPS, SECRETS, BUDGETS)
}


def resource_of(manifest: Manifest) -> Resource:
    """Find where an object that the planner rendered is served."""
    return _BY_KIND[manifest["apiVersion"], manifest["kind"]]


@dataclass(frozen=True, slots=True)
class Credentials:
    """How to log in to the API server, for kopf, which makes its own connections."""

    server: str
    token: str | None
    ca_file: str | None
    certificate_file: str | None
    key_file: str | None
    is_insecure: bool


# Told of every request: verb, plural, HTTP status (0: no answer), seconds.
RequestObserver = Callable[[str, str, int, float], None]


class Kube:
    """A client of one API server; see the module's docstring. Made by `connect`."""

    def __init__(self, configuration: Configuration, observe: RequestObserver | None = None) -> None:
        self.configuration = configuration
        self._client = ApiClient(configuration)
        self._client.user_agent = FIELD_MANAGER
        self._observe = observe
        self._random = random.Random()
        self._newest: dict[Resource, str] = {}
        self._applied: dict[tuple[Resource, str, str], tuple[str, bytes]] = {}

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def credentials(self) -> Credentials:
        """Return how we log in ourselves, with the token as it stands in its file now."""
        configuration = self.configuration
        header = await configuration.get_api_key_with_prefix("BearerToken", alias="authorization") or ""
        return Credentials(
            server=configuration.host,
            token=header.partition(" ")[2] or None,
            ca_file=configuration.ssl_ca_cert,
            certificate_file=configuration.cert_file,
            key_file=configuration.key_file,
            is_insecure=not configuration.verify_ssl,
        )

    # Reading.

    async def list_objects(self, resource: Resource, namespace: str, labels: Mapping[str, str]) -> list[Json]:
        """List the objects that carry all `labels`, as the API server's watch cache has them."""
        query = [("resourceVersion", self._newest.get(resource, "0"))]
        if labels:
            query.append(("labelSelector", ",".join(f"{key}={value}" for key, value in labels.items())))
        try:
            answer = await self.request("GET", resource, namespace, query=query)
        except ApiError as error:
            if error.status != 410:
                raise
            # The cache knows nothing of the version that we name, for instance after a restored backup.
            self._newest.pop(resource, None)
            query[0] = ("resourceVersion", "0")
            answer = await self.request("GET", resource, namespace, query=query)
        items: list[Json] = answer.get("items") or []
        return items

    async def get(self, resource: Resource, namespace: str, name: str) -> Json | None:
        """Read one object, None when it does not exist."""
        query = [("resourceVersion", self._newest.get(resource, "0"))]
        try:
            return await self.request("GET", resource, namespace, name, query=query)
        except ApiError as error:
            if error.is_not_found:
                return None
            raise

    # Writing.

    async def apply(self, manifest: Manifest, live_version: str = "") -> bool:
        """Apply an object as its field manager; returns whether a request was needed.

        `live_version` is the resourceVersion under which the object was last listed, empty when it was not
        there.
        """
        resource = resource_of(manifest)
        metadata = manifest["metadata"]
        key = (resource, metadata["namespace"], metadata["name"])
        digest = hashlib.blake2b(json.dumps(manifest, sort_keys=True).encode(), digest_size=16).digest()
        if live_version and self._applied.get(key) == (live_version, digest):
            return False
        answer = await self._server_side_apply(resource, manifest)
        if len(self._applied) >= APPLIED_MAX:
            self._applied.clear()
        self._applied[key] = (answer["metadata"]["resourceVersion"], digest)
        return True

    async def apply_status(self, namespace: str, name: str, uid: str, status: Mapping[str, Any]) -> Json:
        """Make `status` the whole status that we own. The uid keeps it off a namesake created since."""
        body = {
            "apiVersion": CLUSTERS.api_version,
            "kind": CLUSTERS.kind,
            "metadata": {"namespace": namespace, "name": name, "uid": uid},
            "status": status,
        }
        return await self._server_side_apply(CLUSTERS, body, "status")

    async def _server_side_apply(self, resource: Resource, manifest: Manifest, subresource: str = "") -> Json:
        metadata = manifest["metadata"]
        return await self.request(
            "PATCH",
            resource,
            metadata["namespace"],
            metadata["name"],
            subresource,
            query=[("fieldManager", FIELD_MANAGER), ("force", "true")],
            body=manifest,
            content_type="application/apply-patch+yaml",
        )

    async def create(self, manifest: Manifest) -> bool:
        """Create an object; False when one of that name exists already, which is left as it is."""
        resource = resource_of(manifest)
        try:
            await self.create_raw(resource, manifest)
        except ApiError as error:
            if error.is_conflict and error.reason == "AlreadyExists":
                return False
            raise
        return True

    async def create_raw(self, resource: Resource, manifest: Manifest, attempts: int = ATTEMPTS) -> Json:
        """Create an object of any kind; a name that is taken is an ApiError with status 409."""
        return await self.request(
            "POST",
            resource,
            manifest["metadata"]["namespace"],
            query=[("fieldManager", FIELD_MANAGER)],
            body=manifest,
            attempts=attempts,
        )

    async def replace(
        self, resource: Resource, manifest: Manifest, timeout_s: float, attempts: int = 1
    ) -> Json:
        """Replace an object that was read before; its resourceVersion fences against other writers."""
        metadata = manifest["metadata"]
        return await self.request(
            "PUT",
            resource,
            metadata["namespace"],
            metadata["name"],
            query=[("fieldManager", FIELD_MANAGER)],
            body=manifest,
            attempts=attempts,
            timeout_s=timeout_s,
        )

    async def merge_patch(self, resource: Resource, namespace: str, name: str, patch: Manifest) -> Json:
        """Merge `patch` into an object; a uid or resourceVersion inside the patch fences it."""
        return await self.request(
            "PATCH",
            resource,
            namespace,
            name,
            query=[("fieldManager", FIELD_MANAGER)],
            body=patch,
            content_type="application/merge-patch+json",
        )

    async def delete(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        uid: str,
        resource_version: str = "",
        grace_period_s: int | None = None,
    ) -> bool:
        """Delete exactly the object that was seen; False when it is gone already.

        Raises ApiError 409 when the object changed since: whoever decided must look again.
        """
        preconditions = {"uid": uid}
        if resource_version:
            preconditions["resourceVersion"] = resource_version
        body: Json = {"preconditions": preconditions, "propagationPolicy": "Background"}
        if grace_period_s is not None:
            body["gracePeriodSeconds"] = grace_period_s
        try:
            await self.request("DELETE", resource, namespace, name, body=body)
        except ApiError as error:
            if error.is_not_found:
                return False
            raise
        return True

    async def evict(self, namespace: str, pod: str, uid: str) -> bool:
        """Delete exactly the pod that was seen if its disruption budget allows it; False when it is gone.

        Raises ApiError 429 when the budget does not: nothing is gained by asking again before it changes.
        Not fenced by resourceVersion: the API server takes the pod off the budget before it looks at that,
        and a mismatch would keep the budget at zero for two minutes.
        """
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": pod, "namespace": namespace},
            "deleteOptions": {"preconditions": {"uid": uid}},
        }
        try:
            await self.request("POST", PODS, namespace, pod, "eviction", body=body, attempts=1)
        except ApiError as error:
            if error.is_not_found:
                return False
            raise
        return True

    # The request itself.

    async def request(
        self,
        verb: str,
        resource: Resource,
        namespace: str = "",
        name: str = "",
        subresource: str = "",
        *,
        query: list[tuple[str, str]] | None = None,
        body: Manifest | None = None,
        content_type: str = "application/json",
        attempts: int = ATTEMPTS,
        timeout_s: float = CALL_TIMEOUT_S,
    ) -> Json:
        """Send one request up to `attempts` times, `timeout_s` each; returns the answered object."""
        path = resource.path(namespace, name, subresource)
        attempt = 1
        while True:
            try:
                data = await self._send(verb, resource, path, query or [], body, content_type, timeout_s)
            except ApiError as error:
                if attempt >= attempts or not error.is_passing:
                    raise
                pause_s = self._pause_s(attempt, error.retry_after_s)
                log.debug("%s %s will be repeated in %.1f s: %s", verb, path, pause_s, error)
                await asyncio.sleep(pause_s)
                attempt += 1
            else:
                answer = _decode(data)
                if verb != "GET":
                    self._remember_version(resource, answer)
                return answer

    async def ask_pod(
        self, namespace: str, pod: str, port: int, path: str, query: list[tuple[str, str]], timeout_s: float
    ) -> str:
        """GET from a pod's HTTP port through the API server, for people outside of the cluster's network."""
        through = PODS.path(namespace, f"{pod}:{port}", "proxy") + path
        return (await self._send("GET", PODS, through, query, None, "*/*", timeout_s)).decode(
            errors="replace"
        )

    async def _send(
        self,
        verb: str,
        resource: Resource,
        path: str,
        query: list[tuple[str, str]],
        body: Manifest | None,
        content_type: str,
        timeout_s: float,
    ) -> bytes:
        begun = asyncio.get_running_loop().time()
        status = 0
        try:
            method, url, headers, payload, _ = await self._client.param_serialize(
                verb,
                path,
                query_params=query,
                header_params={"Accept": "application/json, */*;q=0.1", "Content-Type": content_type},
                body=body,
                auth_settings=["BearerToken"],
            )
            response = await self._client.call_api(
                method, url, headers, payload, _request_timeout=aiohttp.ClientTimeout(total=timeout_s)
            )
            status = response.status
            data: bytes = await response.read()
            retry_after = response.headers.get("Retry-After", "")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            text = str(error) or f"no answer within {timeout_s} s"
            raise ApiError(0, type(error).__name__, f"{verb} {path}: {text}") from error
        finally:
            if self._observe is not None:
                elapsed_s = asyncio.get_running_loop().time() - begun
                self._observe(verb, resource.plural, status, elapsed_s)
        if 200 <= status < 300:
            return data
        answer = _decode(data)
        raise ApiError(
            status,
            str(answer.get("reason", "")),
            f"{verb} {path}: {answer.get('message') or data[:200].decode(errors='replace')}",
            float(retry_after) if retry_after.isdigit() else None,
        )

    def _pause_s(self, attempt: int, retry_after_s: float | None) -> float:
        pause_s = PAUSE_FIRST_S * PAUSE_GROWTH ** (attempt - 1) * self._random.uniform(0.8, 1.2)
        return min(max(pause_s, retry_after_s or 0.0), RETRY_AFTER_MAX_S)

    def _remember_version(self, resource: Resource, answer: Json) -> None:
        """Keep the newest version of our writes of a kind, so that later reads cannot be older."""
        if answer.get("kind") != resource.kind:
            return
        version = str(answer["metadata"].get("resourceVersion", ""))
        if version.isdigit() and int(version) > int(self._newest.get(resource, "0")):
            self._newest[resource] = version


def _decode(data: bytes) -> Json:
    try:
        answer = json.loads(data) if data else {}
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


async def connect(kubeconfig: str | None, observe: RequestObserver | None = None) -> Kube:
    """Connect with the kubeconfig file, or as the pod's service account when None.

    In a pod the token file is read again every minute, since the kubelet renews it.
    """
    configuration = Configuration()
    if kubeconfig is None:
        load_incluster_config(client_configuration=configuration)
    else:
        await load_kube_config(config_file=os.path.expanduser(kubeconfig), client_configuration=configuration)
    configuration.connection_pool_maxsize = CONNECTIONS_MAX
    return Kube(configuration, observe)

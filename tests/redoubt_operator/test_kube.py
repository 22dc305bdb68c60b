"""The door to the Kubernetes API against a real HTTP server: fences, retries, what is skipped."""

from __future__ import annotations

import asyncio

import pytest

from redoubt_operator import kube as kube_module
from redoubt_operator.kube import CLUSTERS, CONFIG_MAPS, PODS, ApiError, Resource
from tests.redoubt_operator.fake_api import FakeApi, run, serve

PODS_PATH = "/api/v1/namespaces/ns/pods"
MAPS_PATH = "/api/v1/namespaces/ns/configmaps"
CLUSTER_PATH = "/apis/redoubt.dev/v1alpha1/namespaces/ns/redoubtclusters/cache"


def config_map(value: str) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"namespace": "ns", "name": "cache-config", "labels": {"redoubt.dev/cluster": "cache"}},
        "data": {"redoubt.conf": value},
    }


def test_paths_follow_group_namespace_and_subresource() -> None:
    assert PODS.path("ns", "a") == "/api/v1/namespaces/ns/pods/a"
    assert CLUSTERS.path("ns", "a", "status").endswith("/namespaces/ns/redoubtclusters/a/status")
    assert Resource("v1", "Node", "nodes").path("", "n") == "/api/v1/nodes/n"
    assert CLUSTERS.path("") == "/apis/redoubt.dev/v1alpha1/redoubtclusters"


def test_list_asks_the_watch_cache_for_our_label_only() -> None:
    async def scenario() -> None:
        api = FakeApi()
        api.put(f"{PODS_PATH}/a", {"kind": "Pod", "metadata": {"labels": {"redoubt.dev/cluster": "cache"}}})
        api.put(f"{PODS_PATH}/b", {"kind": "Pod", "metadata": {"labels": {"redoubt.dev/cluster": "other"}}})
        async with serve(api) as kube:
            pods = await kube.list_objects(PODS, "ns", {"redoubt.dev/cluster": "cache"})
        assert [pod["metadata"]["name"] for pod in pods] == ["a"]
        assert api.requests == [
            ("GET", PODS_PATH, {"resourceVersion": "0", "labelSelector": "redoubt.dev/cluster=cache"})
        ]
        assert api.tokens == ["bearer secret"]

    run(scenario())


def test_reads_are_never_older_than_our_own_newest_write_of_that_kind() -> None:
    async def scenario() -> None:
        api = FakeApi()
        async with serve(api) as kube:
            await kube.create(
                {"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "ns", "name": "a"}}
            )
            await kube.list_objects(PODS, "ns", {})
            await kube.list_objects(CONFIG_MAPS, "ns", {})
        assert [query["resourceVersion"] for verb, _, query in api.requests if verb == "GET"] == ["101", "0"]

    run(scenario())


def test_version_that_the_server_does_not_know_any_more_is_forgotten() -> None:
    async def scenario() -> None:
        api = FakeApi()
        async with serve(api) as kube:
            await kube.create(
                {"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "ns", "name": "a"}}
            )
            api.answers = [(410, {})]
            assert len(await kube.list_objects(PODS, "ns", {})) == 1
        assert [query["resourceVersion"] for verb, _, query in api.requests if verb == "GET"] == ["101", "0"]

    run(scenario())


def test_apply_is_skipped_only_while_the_live_object_is_the_one_we_left() -> None:
    async def scenario() -> None:
        api = FakeApi()
        async with serve(api) as kube:
            assert await kube.apply(config_map("a"), "")
            version = api.objects[f"{MAPS_PATH}/cache-config"]["metadata"]["resourceVersion"]
            assert not await kube.apply(config_map("a"), version), "nothing differs"
            assert await kube.apply(config_map("b"), version), "we render it differently"
            version = api.objects[f"{MAPS_PATH}/cache-config"]["metadata"]["resourceVersion"]
            api.put(f"{MAPS_PATH}/cache-config", config_map("by hand"))
            assert await kube.apply(config_map("b"), str(api.version)), "somebody changed it"
            assert api.objects[f"{MAPS_PATH}/cache-config"]["data"] == {"redoubt.conf": "b"}
        assert all(query["fieldManager"] == "redoubt-operator" for _, _, query in api.requests)

    run(scenario())


def test_create_leaves_what_exists_as_it_is() -> None:
    async def scenario() -> None:
        api = FakeApi()
        async with serve(api) as kube:
            assert await kube.create(config_map("a"))
            assert not await kube.create(config_map("b"))
        assert api.objects[f"{MAPS_PATH}/cache-config"]["data"] == {"redoubt.conf": "a"}

    run(scenario())


def test_delete_hits_exactly_the_object_that_was_seen() -> None:
    async def scenario() -> None:
        api = FakeApi()
        pod = api.put(f"{PODS_PATH}/a", {"kind": "Pod"})
        uid, version = pod["metadata"]["uid"], pod["metadata"]["resourceVersion"]
        async with serve(api) as kube:
            with pytest.raises(ApiError) as changed:
                await kube.delete(PODS, "ns", "a", uid, "1")
            assert changed.value.is_conflict
            with pytest.raises(ApiError):
                await kube.delete(PODS, "ns", "a", "another uid")
            assert f"{PODS_PATH}/a" in api.objects
            assert await kube.delete(PODS, "ns", "a", uid, version, grace_period_s=0)
            assert not await kube.delete(PODS, "ns", "a", uid, version), "gone already"
        assert api.bodies[2]["gracePeriodSeconds"] == 0

    run(scenario())


def test_status_is_not_written_to_a_namesake_created_since() -> None:
    async def scenario() -> None:
        api = FakeApi()
        uid = api.put(CLUSTER_PATH, {"kind": "RedoubtCluster", "spec": {}})["metadata"]["uid"]
        async with serve(api) as kube:
            await kube.apply_status("ns", "cache", uid, {"message": "fine"})
            assert api.objects[CLUSTER_PATH]["status"] == {"message": "fine"}
            with pytest.raises(ApiError) as refused:
                await kube.apply_status("ns", "cache", "uid-of-the-old-one", {"message": "old"})
            assert refused.value.is_conflict

    run(scenario())


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_passing_errors_are_retried(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kube_module, "PAUSE_FIRST_S", 0.001)

    async def scenario() -> None:
        api = FakeApi()
        api.answers = [(status, {})] * (kube_module.ATTEMPTS - 1)
        async with serve(api) as kube:
            assert await kube.list_objects(PODS, "ns", {}) == []
        assert len(api.requests) == kube_module.ATTEMPTS

    run(scenario())


def test_retries_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kube_module, "PAUSE_FIRST_S", 0.001)

    async def scenario() -> None:
        api = FakeApi()
        api.answers = [(503, {})] * 100
        async with serve(api) as kube:
            with pytest.raises(ApiError) as refused:
                await kube.list_objects(PODS, "ns", {})
        assert refused.value.status == 503
        assert len(api.requests) == kube_module.ATTEMPTS

    run(scenario())


def test_retry_after_is_honoured_up_to_a_limit() -> None:
    async def scenario() -> None:
        api = FakeApi()
        api.answers = [(429, {"Retry-After": "1"})]
        async with serve(api) as kube:
            begun = asyncio.get_running_loop().time()
            await kube.list_objects(PODS, "ns", {})
            assert asyncio.get_running_loop().time() - begun >= 1.0
            assert kube._pause_s(1, 3600.0) == kube_module.RETRY_AFTER_MAX_S

    run(scenario())


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422])
def test_other_refusals_are_final(status: int) -> None:
    async def scenario() -> None:
        api = FakeApi()
        api.answers = [(status, {})] * 2
        async with serve(api) as kube:
            with pytest.raises(ApiError) as refused:
                await kube.list_objects(PODS, "ns", {})
        assert refused.value.status == status
        assert "Injected by the test" in str(refused.value)
        assert len(api.requests) == 1

    run(scenario())


def test_server_that_does_not_answer_costs_the_deadline_only() -> None:
    async def scenario() -> None:
        api = FakeApi()

        async def hold() -> None:
            await asyncio.sleep(5)

        api.gate = hold
        async with serve(api) as kube:
            with pytest.raises(ApiError) as silent:
                await kube.request("GET", PODS, "ns", attempts=1, timeout_s=0.05)
            assert silent.value.status == 0
            assert silent.value.is_passing
            api.gate = None

    run(scenario())


def test_server_that_is_away_is_a_passing_error() -> None:
    async def scenario() -> None:
        api = FakeApi()
        async with serve(api) as kube:
            kube.configuration.host = "http://127.0.0.1:1"
            with pytest.raises(ApiError) as away:
                await kube.request("GET", PODS, "ns", attempts=1)
            assert away.value.is_passing

    run(scenario())

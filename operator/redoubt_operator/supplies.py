"""The objects around the pods: Services, ConfigMap, password Secret, disruption budgets, owners of volumes.

They are compared with what lives in the API and applied only where something that we ask for is missing or
different, whoever changed it. What could not be listed is left alone.

Called by plan once for the cluster.
"""

from collections.abc import Iterable

from redoubt_operator import names, objects, quantity
from redoubt_operator.actions import ApplyObject, CreateSecret, DeleteBudget, PatchClaim
from redoubt_operator.budgets import available_min
from redoubt_operator.conditions import age_s
from redoubt_operator.draft import WAITING_S, Blocker, Draft
from redoubt_operator.live_config import (
    TRIAL_S,
    refused_directives,
    unknown_directives,
    unsettled_directives,
)
from redoubt_operator.observation import Claim, Manifest, Seen, Unknown
from redoubt_operator.spec import ClusterSpec, Reclaim
from redoubt_operator.view import ClusterView


def supply(spec: ClusterSpec, view: ClusterView, draft: Draft, now_s: float) -> None:
    """Apply what is missing or differs among the objects around the pods."""
    meta = view.seen.meta
    _password(spec, view, draft)
    _apply(objects.services(meta), view.seen.services, draft)
    _redis_conf(spec, view, draft, now_s)
    budgets = tuple(objects.budget(meta, shard.index, available_min(spec, shard)) for shard in view.shards)
    _apply(budgets, view.seen.budgets, draft)
    _remove_budgets(view, {budget["metadata"]["name"] for budget in budgets}, draft)
    for shard in view.shards:
        for claim in shard.claims:
            _keep_claim(spec, view, claim, draft)


def _redis_conf(spec: ClusterSpec, view: ClusterView, draft: Draft, now_s: float) -> None:
    """redis.conf gets what servers have taken over or were not asked for: with what they refuse they would
    not start.
    """
    meta, maps = view.seen.meta, view.seen.config_maps
    live: Manifest = {}
    if not isinstance(maps, Unknown):
        name = names.config_map_name(meta.name)
        live = next((one for one in maps if one["metadata"]["name"] == name), {})
    lines = str((live.get("data") or {}).get(objects.CONFIG_FILE, "")).splitlines()
    refused = (
        one.directive
        for one in refused_directives(spec, view)
        if f"{one.directive} {one.value}" in lines or not live
    )
    is_tried = age_s(view.seen, "ConfigApplied", "False", now_s) >= TRIAL_S
    unsettled = unsettled_directives(spec, view, is_tried=is_tried) if live else frozenset()
    left_out = {*unknown_directives(spec, view), *refused}
    _apply((objects.config_map(spec, meta, left_out, unsettled, live),), maps, draft)


def _password(spec: ClusterSpec, view: ClusterView, draft: Draft) -> None:
    auth = view.seen.auth
    if isinstance(auth, Unknown):
        return
    name = objects.auth_secret_name(spec, view.seen.meta)
    if auth is None and spec.auth.secret_name is None:
        because = "the cluster has no password yet"
        draft.do(CreateSecret(objects.auth_secret(view.seen.meta), because), WAITING_S)
    elif auth is None or not auth.password_hash:
        problem = "does not exist" if auth is None else f"has no key {names.SECRET_KEY}"
        draft.block(
            Blocker(
                "PasswordMissing",
                f"Secret {name} {problem}",
                f"create Secret {name} with the key {names.SECRET_KEY}",
                is_stalling=True,
            )
        )


def _apply(wanted: Iterable[Manifest], live: Seen[tuple[Manifest, ...]], draft: Draft) -> None:
    if isinstance(live, Unknown):
        draft.look_again(WAITING_S)
        return
    found = {one["metadata"]["name"]: one for one in live}
    for manifest in wanted:
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        if name not in found:
            draft.do(ApplyObject(manifest, f"{kind} {name} does not exist"), WAITING_S)
        elif not objects.contains(_comparable(found[name]), _comparable(manifest)):
            draft.do(ApplyObject(manifest, f"{kind} {name} differs from what is wanted"), WAITING_S)


def _comparable(manifest: Manifest) -> Manifest:
    """Without kind and version, which lists do not repeat for their items."""
    return {name: part for name, part in manifest.items() if name not in ("apiVersion", "kind")}


def _remove_budgets(view: ClusterView, wanted: set[str], draft: Draft) -> None:
    """A second budget on a pod makes every eviction fail, so none may be left over."""
    if isinstance(view.seen.budgets, Unknown):
        return
    for live in view.seen.budgets:
        metadata = live["metadata"]
        if metadata["name"] not in wanted and metadata.get("labels", {}).get(names.LABEL_SHARD):
            because = f"no shard has PodDisruptionBudget {metadata['name']}"
            draft.do(DeleteBudget(metadata["name"], metadata["uid"], because))


def _keep_claim(spec: ClusterSpec, view: ClusterView, claim: Claim, draft: Draft) -> None:
    """Bring a volume's owner and size in line with the spec."""
    if spec.storage is None or claim.is_terminating:
        return
    patch: dict[str, object] = {}
    reasons = []
    meta = view.seen.meta
    if spec.storage.reclaim is Reclaim.DELETE and claim.owner_uid != meta.uid:
        patch["metadata"] = {"ownerReferences": [objects.owner_reference(meta)]}
        reasons.append("storage.reclaim is Delete")
    elif spec.storage.reclaim is Reclaim.RETAIN and claim.owner_uid:
        patch["metadata"] = {"ownerReferences": None}
        reasons.append("storage.reclaim is Retain")
    wanted, requested = quantity.bytes_of(spec.storage.size), quantity.bytes_of(claim.size_requested)
    if wanted is not None and requested is not None and wanted > requested:
        patch["spec"] = {"resources": {"requests": {"storage": spec.storage.size}}}
        reasons.append(f"storage.size is {spec.storage.size}, the volume asks for {claim.size_requested}")
    if patch:
        because = "; ".join(reasons)
        draft.do(PatchClaim(claim.name, claim.uid, claim.resource_version, patch, because), WAITING_S)

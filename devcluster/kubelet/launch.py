"""From a container's spec to what the launcher needs: command, environment, user, root directory.

What cannot be known yet or can never work (a Secret that does not exist, a root user where root is
forbidden) is a `ConfigError`, which the container shows as CreateContainerConfigError and tries again.
Called by `container.py` at each start, so changed ConfigMaps count from the next start on. Sources: "Define
environment variables" and "Configure a Security Context" in the Kubernetes documentation.
"""

from __future__ import annotations

from base64 import b64decode

from devcluster.kubelet.api import Object
from devcluster.kubelet.context import Context
from devcluster.kubelet.downward import container_resource, field_value
from devcluster.kubelet.environment import expanded
from devcluster.kubelet.images import Image
from devcluster.kubelet.process import LaunchSpec
from devcluster.kubelet.rootfs import Machine, Mount, plan_root
from devcluster.kubelet.volumes import NODE_RESOURCES
from devcluster.state import ENVIRONMENT_MARK


class ConfigError(Exception):
    """The container cannot be configured; the text says why."""


def launch_spec(
    context: Context,
    pod: Object,
    container: Object,
    image: Image,
    mounts: list[Mount],
    pod_ip: str,
    host_ip: str,
) -> LaunchSpec:
    """Return how to start a container; ConfigError if that cannot be said."""
    environment = _environment(context, pod, container, image, pod_ip, host_ip)
    entrypoint = container.get("command") or list(image.entrypoint)
    arguments = container.get("args") or []
    command = [expanded(each, environment) for each in [*entrypoint, *arguments]]
    if not command:
        raise ConfigError("no command specified")
    uid, gid, groups = _user(pod, container, image)
    own = container.get("securityContext") or {}
    isolation = context.isolation
    is_other_user = uid != 0 and not isolation.user_namespace
    try:
        steps = plan_root(Machine(is_other_user), image.exposed, mounts)
    except ValueError as impossible:
        raise ConfigError(str(impossible)) from None
    return LaunchSpec(
        command=command,
        environment=environment,
        steps=steps,
        staging=str(context.state.root / "staging"),
        user_namespace=isolation.user_namespace,
        pid_namespace=isolation.pid_namespace,
        uid=uid,
        gid=gid,
        groups=groups,
        hostname=pod["spec"].get("hostname") or pod["metadata"]["name"],
        working_directory=container.get("workingDir") or "/",
        read_only=bool(own.get("readOnlyRootFilesystem")),
        no_new_privileges=own.get("allowPrivilegeEscalation") is False,
    )


def _environment(
    context: Context, pod: Object, container: Object, image: Image, pod_ip: str, host_ip: str
) -> dict[str, str]:
    settings = context.settings
    variables = {
        "PATH": image.path,
        "HOSTNAME": pod["metadata"]["name"],
        "HOME": "/",
        "KUBERNETES_SERVICE_HOST": settings.control_plane_address,
        "KUBERNETES_SERVICE_PORT": str(settings.api_port),
        "KUBERNETES_SERVICE_PORT_HTTPS": str(settings.api_port),
        ENVIRONMENT_MARK: str(context.state.root),
    }
    for source in container.get("envFrom") or []:
        prefix = source.get("prefix", "")
        reference = source.get("configMapRef") or source.get("secretRef") or {}
        values = _values(context, pod, reference, is_secret="secretRef" in source)
        variables |= {prefix + key: value for key, value in (values or {}).items()}
    for entry in container.get("env") or []:
        value = _value(context, pod, container, entry, variables, pod_ip, host_ip)
        if value is not None:
            variables[entry["name"]] = value
    return variables


def _value(
    context: Context,
    pod: Object,
    container: Object,
    entry: Object,
    variables: dict[str, str],
    pod_ip: str,
    host_ip: str,
) -> str | None:
    source = entry.get("valueFrom")
    if not source:
        return expanded(entry.get("value") or "", variables)
    try:
        if reference := source.get("fieldRef"):
            return field_value(pod, reference["fieldPath"], pod_ip, host_ip)
        if reference := source.get("resourceFieldRef"):
            return container_resource(pod, container, reference, NODE_RESOURCES)
    except ValueError as unknown:
        raise ConfigError(str(unknown)) from None
    reference = source.get("configMapKeyRef") or source.get("secretKeyRef")
    if not reference:
        raise ConfigError(f"environment source {', '.join(source)} is not supported by devcluster")
    values = _values(context, pod, reference, is_secret="secretKeyRef" in source)
    if values is None or reference["key"] not in values:
        if reference.get("optional"):
            return None
        raise ConfigError(f"couldn't find key {reference['key']} in {reference.get('name')}")
    return values[reference["key"]]


def _values(context: Context, pod: Object, reference: Object, is_secret: bool) -> dict[str, str] | None:
    name = reference.get("name", "")
    cache = context.secrets if is_secret else context.config_maps
    found = cache.get(pod["metadata"]["namespace"], name)
    if not found:
        if reference.get("optional"):
            return None
        raise ConfigError(f'{"secret" if is_secret else "configmap"} "{name}" not found')
    data = found.get("data") or {}
    return (
        {key: b64decode(value).decode(errors="replace") for key, value in data.items()}
        if is_secret
        else dict(data)
    )


def _user(pod: Object, container: Object, image: Image) -> tuple[int, int, list[int]]:
    outer, own = pod["spec"].get("securityContext") or {}, container.get("securityContext") or {}
    given = own.get("runAsUser", outer.get("runAsUser"))
    uid = image.user if given is None else int(given)
    if uid == 0 and own.get("runAsNonRoot", outer.get("runAsNonRoot")):
        raise ConfigError("container has runAsNonRoot and image will run as root")
    group = own.get("runAsGroup", outer.get("runAsGroup"))
    gid = (image.user if given is None else 0) if group is None else int(group)
    groups = {gid, *(outer.get("supplementalGroups") or [])}
    if outer.get("fsGroup") is not None:
        groups.add(int(outer["fsGroup"]))
    return uid, gid, sorted(groups)

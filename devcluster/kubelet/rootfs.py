"""The root directory of a container, planned: which directories to make and what to bind where.

A container has the machine's programs but none of the machine's directories to write into. Its root is a
private tmpfs in its own mount namespace: each entry of the machine's `/` is bound there read-only, `/tmp`
and `/run` are empty and its own, and volumes are bound at their mountPaths. A mountPath that does not exist
on the machine (`/data`, `/etc/redoubt`) is made in the tmpfs: the directory above it is opened up into one
bind per entry, so the new one can lie beside them. So nothing is ever created on the machine, and
everything is gone with the namespace.

Directories on the way to a needed program that other users may not enter (a checkout in a home directory of
mode 0700) are replaced by ones that hold only the needed path. Pure: what the machine looks like is asked
through `Host`; the steps are carried out by `launcher.py`.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol, TypeAlias

Kind: TypeAlias = Literal["directory", "file", "link", "other", "missing"]
LINKS_FOLLOWED_MAX: Final = 40  # as the kernel does
FRESH: Final = {"tmp": 0o1777, "run": 0o755}


@dataclass(frozen=True, slots=True)
class Mount:
    """A volume (a directory or file of the machine) at a path of the container."""

    source: str
    target: str
    is_read_only: bool = False


class Host(Protocol):
    """What the plan needs to know about the machine."""

    def kind(self, path: str) -> Kind: ...

    def entries(self, path: str) -> list[str]: ...

    def link_target(self, path: str) -> str: ...

    def is_enterable(self, path: str) -> bool:
        """Whether users other than the owner may go through the directory."""


@dataclass(slots=True)
class _Bind:
    source: str
    is_read_only: bool
    kind: Kind
    # Volumes placed at paths that exist below the bound directory; relative path -> volume.
    over: dict[str, _Bind] = field(default_factory=dict)


@dataclass(slots=True)
class _Link:
    target: str


@dataclass(slots=True)
class _Directory:
    mode: int = 0o755
    entries: dict[str, _Node] = field(default_factory=dict)


_Node: TypeAlias = _Bind | _Link | _Directory
Step: TypeAlias = list[str | int | bool]


def plan_root(host: Host, exposed: Sequence[str], mounts: Sequence[Mount]) -> list[Step]:
    """Return the steps, in order; paths are relative to the new root and begin with a slash.

    Steps: ["directory", path, mode], ["file", path], ["link", path, target], ["bind", source, path,
    read-only].
    """
    plan = _Plan(host)
    for path in sorted(exposed):
        plan.expose(path)
    for mount in sorted(mounts, key=lambda each: each.target.count("/")):
        plan.place(mount)
    steps: list[Step] = []
    for name, node in plan.root.entries.items():
        _emit(steps, f"/{name}", node)
    return steps + _uncovered(host, exposed, mounts)


def _uncovered(host: Host, exposed: Sequence[str], mounts: Sequence[Mount]) -> list[Step]:
    """Show the exposed paths again that a volume covers: a checkout below /tmp, and an emptyDir at /tmp."""
    steps: list[Step] = []
    for path in sorted(exposed):
        covers = [
            mount.target.rstrip("/") for mount in mounts if path.startswith(mount.target.rstrip("/") + "/")
        ]
        if not covers or host.kind(path) != "directory":
            continue
        way = path[len(max(covers, key=len)) + 1 :].split("/")
        above = path[: len(path) - len("/".join(way)) - 1]
        for depth in range(1, len(way) + 1):
            steps.append(["directory", f"{above}/{'/'.join(way[:depth])}", 0o755])
        steps.append(["bind", path, path, True])
    return steps


class _Plan:
    def __init__(self, host: Host) -> None:
        self._host = host
        self.root = _Directory()
        for name in host.entries("/"):
            if name in FRESH:
                self.root.entries[name] = _Directory(FRESH[name])
            elif name == "proc":
                continue  # the launcher mounts the one of the new process namespace
            elif (node := self._bound(f"/{name}", name != "dev")) is not None:
                self.root.entries[name] = node
        for name, mode in FRESH.items():
            self.root.entries.setdefault(name, _Directory(mode))

    def expose(self, path: str) -> None:
        """Make sure that `path` is there and that every user can reach it."""
        directory, parts = self.root, [part for part in path.split("/") if part]
        is_below_closed = False
        for depth, part in enumerate(parts):
            here = "/" + "/".join(parts[: depth + 1])
            is_last = depth == len(parts) - 1
            is_enterable = self._host.is_enterable(here)
            node = directory.entries.get(part)
            if isinstance(node, _Directory):
                directory = node
                continue
            if isinstance(node, _Bind) and not self._is_hidden_below(parts, depth):
                return  # bound as a whole, and everything on the way may be entered
            if is_last and is_enterable:
                if node is None:
                    directory.entries[part] = _Bind(here, True, self._host.kind(here))
                return
            opened = _Directory()
            # What lies beside the way is shown only where everybody could see it anyway.
            is_below_closed = is_below_closed or not is_enterable
            if is_last or not is_below_closed:
                self._open(opened, here)
            directory.entries[part] = opened
            directory = opened

    def _is_hidden_below(self, parts: list[str], depth: int) -> bool:
        return any(
            not self._host.is_enterable("/" + "/".join(parts[: end + 1])) for end in range(depth, len(parts))
        )

    def place(self, mount: Mount) -> None:
        """Put a volume at its target, following the container's links."""
        volume = _Bind(
            mount.source,
            mount.is_read_only,
            "file" if self._host.kind(mount.source) == "file" else "directory",
        )
        pending = [part for part in mount.target.split("/") if part]
        walked: list[str] = []
        links = 0
        directory = self.root
        while pending:
            part = pending.pop(0)
            if part in (".", ".."):
                raise ValueError(f"mountPath {mount.target} must not contain {part}")
            node = directory.entries.get(part)
            if isinstance(node, _Bind) and pending:
                placed = self._place_below(directory, part, node, pending, volume)
                if placed is None:
                    return
                node = placed
            if isinstance(node, _Link):
                links += 1
                if links > LINKS_FOLLOWED_MAX:
                    raise ValueError(f"too many links on the way to {mount.target}")
                start = [] if node.target.startswith("/") else walked
                joined = os.path.normpath("/" + "/".join([*start, node.target, *pending]))
                pending = [each for each in joined.split("/") if each]
                directory, walked = self.root, []
                continue
            if not pending:
                directory.entries[part] = volume
                return
            if node is None:
                node = directory.entries[part] = _Directory()
            assert isinstance(node, _Directory)
            directory = node
            walked.append(part)

    def _place_below(
        self, parent: _Directory, name: str, bind: _Bind, rest: list[str], volume: _Bind
    ) -> _Directory | None:
        """Place into a bound directory: over what exists there (None), else open it up and return it."""
        if (
            not bind.is_read_only
            or bind.source.startswith(("/dev", "/sys", "/proc"))
            or bind.over.keys() & {rest[0]}
        ):
            # Inside another volume, or a file system of the kernel: the launcher makes the directory if it
            # is missing.
            bind.over["/".join(rest)] = volume
            return None
        path = bind.source
        for part in rest:
            path = f"{path}/{part}"
            kind = self._host.kind(path)
            if kind in ("missing", "link"):
                opened = _Directory()
                self._open(opened, bind.source)
                for relative, over in bind.over.items():
                    first, _, below = relative.partition("/")
                    inner = opened.entries.get(first)
                    if isinstance(inner, _Bind) and below:
                        inner.over[below] = over
                    else:
                        opened.entries[first] = over
                parent.entries[name] = opened
                return opened
        bind.over["/".join(rest)] = volume
        return None

    def _open(self, directory: _Directory, path: str) -> None:
        for name in self._host.entries(path):
            if (node := self._bound(f"{path.rstrip('/')}/{name}", True)) is not None:
                directory.entries.setdefault(name, node)

    def _bound(self, path: str, is_read_only: bool) -> _Node | None:
        kind = self._host.kind(path)
        if kind == "link":
            return _Link(self._host.link_target(path))
        if kind in ("directory", "file"):
            return _Bind(path, is_read_only, kind)
        return None  # sockets and the like: nothing a container should have


def _emit(steps: list[Step], path: str, node: _Node) -> None:
    if isinstance(node, _Link):
        steps.append(["link", path, node.target])
    elif isinstance(node, _Directory):
        steps.append(["directory", path, node.mode])
        for name, entry in node.entries.items():
            _emit(steps, f"{path}/{name}", entry)
    else:
        steps.append(["file", path] if node.kind == "file" else ["directory", path, 0o755])
        steps.append(["bind", node.source, path, node.is_read_only])
        for relative, over in sorted(node.over.items(), key=lambda item: item[0].count("/")):
            _emit(steps, f"{path}/{relative}", over)


class Machine:
    """`Host`, as the machine is for a pod's user; root and our own user may enter what we may enter."""

    def __init__(self, is_other_user: bool) -> None:
        self._is_other_user = is_other_user

    def kind(self, path: str) -> Kind:
        try:
            mode = os.lstat(path).st_mode
        except OSError:
            return "missing"
        if stat.S_ISLNK(mode):
            return "link"
        if stat.S_ISDIR(mode):
            return "directory"
        return "file" if stat.S_ISREG(mode) else "other"

    def entries(self, path: str) -> list[str]:
        try:
            return sorted(os.listdir(path))
        except OSError:
            return []

    def link_target(self, path: str) -> str:
        return os.readlink(path)

    def is_enterable(self, path: str) -> bool:
        if not self._is_other_user:
            return True
        try:
            return bool(os.stat(path).st_mode & stat.S_IXOTH)
        except OSError:
            return False

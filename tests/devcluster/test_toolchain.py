"""Finding and building the programs of the control plane, with stand-ins for go and the programs."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from devcluster import toolchain
from devcluster.progress import Progress

FAKE_GO = """
case "$1" in
version) echo "go version go1.26.1 linux/amd64" ;;
list) printf 'a\\nb\\n' ;;
install)
  echo a >&2; echo b >&2
  for name in server kube-apiserver kube-controller-manager kube-scheduler kubectl; do
    echo "#!/bin/sh" > "$GOBIN/$name"; chmod +x "$GOBIN/$name"
  done
  [ -z "$FAIL" ] || { echo "cannot find module" >&2; exit 1; } ;;
esac
"""


def write_program(path: Path, script: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.fixture(autouse=True)
def only_fakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of our own, and a PATH with a go that builds at once; returns its directory."""
    monkeypatch.setenv("REDOUBT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'path'}:/usr/bin:/bin")
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    write_program(tmp_path / "path" / "go", FAKE_GO)
    write_program(tmp_path / "path" / "kubectl", "echo Client Version: v1.32.4")
    return tmp_path / "path"


def test_the_pinned_version_is_that_of_go_mod() -> None:
    assert toolchain.kubernetes_version().startswith("1.36.")


def test_what_is_missing_is_built_once_into_the_cache(tmp_path: Path) -> None:
    found = toolchain.binaries()
    assert set(found) == set(toolchain.PROGRAMS)
    assert all(Path(path).is_relative_to(tmp_path / "cache") for path in found.values())
    (tmp_path / "path" / "go").unlink()
    assert toolchain.binaries() == found


def test_a_fitting_program_is_used_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_program(tmp_path / "assets" / "kube-apiserver", "echo Kubernetes v1.36.9")
    write_program(tmp_path / "assets" / "kube-scheduler", "echo Kubernetes v1.35.9")
    write_program(tmp_path / "assets" / "etcd", "echo etcd Version: 3.6.1")
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path / "assets"))
    found = toolchain.binaries()
    assert found["kube-apiserver"] == str(tmp_path / "assets" / "kube-apiserver")
    assert found["etcd"] == str(tmp_path / "assets" / "etcd")
    assert found["kube-scheduler"] != str(tmp_path / "assets" / "kube-scheduler")
    assert found["kubectl"] != str(tmp_path / "path" / "kubectl")


def test_a_failed_build_says_why_and_is_not_taken_for_a_finished_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAIL", "1")
    with pytest.raises(RuntimeError, match="cannot find module"):
        toolchain.build()
    monkeypatch.delenv("FAIL")
    assert (toolchain.build() / "etcd").exists()


def test_progress_on_a_pipe_is_few_plain_lines() -> None:
    out = io.StringIO()
    step = Progress("building", out)
    for count in range(100):
        step.update(f"{count} packages")
    step.done()
    assert out.getvalue().splitlines()[0] == "building ..."
    assert out.getvalue().count("\n") == 2

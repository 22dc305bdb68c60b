"""Which commit a checkout is, read from git's own files and compared with git."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from redoubt.build import UNKNOWN, checked_out

WHO = ["-c", "user.name=Nobody", "-c", "user.email=nobody@example.org"]


def git(where: Path, *words: str) -> str:
    done = subprocess.run(["git", *WHO, *words], cwd=where, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    made = tmp_path / "repository"
    made.mkdir()
    git(made, "init", "--quiet", "--initial-branch=main")
    git(made, "commit", "--quiet", "--allow-empty", "--message=first")
    return made


def test_a_branch_and_a_detached_head_are_read(repository: Path) -> None:
    first = git(repository, "rev-parse", "HEAD")[:8]
    assert checked_out(str(repository)) == first
    git(repository, "commit", "--quiet", "--allow-empty", "--message=second")
    assert checked_out(str(repository)) == git(repository, "rev-parse", "HEAD")[:8] != first
    git(repository, "checkout", "--quiet", "--detach", "HEAD~1")
    assert checked_out(str(repository)) == first


def test_packed_references_and_linked_worktrees_are_read(repository: Path, tmp_path: Path) -> None:
    revision = git(repository, "rev-parse", "HEAD")[:8]
    git(repository, "worktree", "add", "--quiet", "-b", "other", str(tmp_path / "other"))
    assert checked_out(str(tmp_path / "other")) == revision
    git(repository, "pack-refs", "--all")
    assert checked_out(str(repository)) == revision
    assert checked_out(str(tmp_path / "other")) == revision


def test_without_git_the_revision_is_unknown(tmp_path: Path) -> None:
    assert checked_out(str(tmp_path)) == UNKNOWN
    git(tmp_path, "init", "--quiet")
    assert checked_out(str(tmp_path)) == UNKNOWN

"""The plan of a container's root directory, on an invented machine."""

from __future__ import annotations

import pytest

from devcluster.kubelet.rootfs import Kind, Mount, plan_root


class InventedHost:
    """A machine given as {path: kind}, links as ("link", target), untraversable directories in `closed`."""

    def __init__(self, tree: dict[str, str], closed: set[str] | None = None) -> None:
        self._tree = tree
        self._closed = closed or set()

    def kind(self, path: str) -> Kind:
        found = self._tree.get(path, "missing")
        return "link" if found.startswith("->") else found  # type: ignore[return-value]

    def entries(self, path: str) -> list[str]:
        prefix = path.rstrip("/") + "/"
        return sorted(
            {each[len(prefix) :].partition("/")[0] for each in self._tree if each.startswith(prefix)}
        )

    def link_target(self, path: str) -> str:
        return self._tree[path].removeprefix("->")

    def is_enterable(self, path: str) -> bool:
        return path not in self._closed


DIRECTORY = "directory"
TREE = {
    "/usr": DIRECTORY,
    "/usr/bin": DIRECTORY,
    "/bin": "->usr/bin",
    "/etc": DIRECTORY,
    "/etc/passwd": "file",
    "/etc/ssl": DIRECTORY,
    "/var": DIRECTORY,
    "/var/run": "->/run",
    "/dev": DIRECTORY,
    "/proc": DIRECTORY,
    "/run": DIRECTORY,
    "/run/host": DIRECTORY,
    "/tmp": DIRECTORY,
    "/vol": DIRECTORY,
    "/vol/a": DIRECTORY,
    "/home": DIRECTORY,
    "/home/me": DIRECTORY,
    "/home/me/secret": "file",
    "/home/me/project": DIRECTORY,
    "/home/me/project/.venv": DIRECTORY,
}


def binds(exposed: list[str], *mounts: Mount, closed: set[str] | None = None) -> dict[str, tuple[str, bool]]:
    """Return {path in the container: (source, read-only)}."""
    steps = plan_root(InventedHost(TREE, closed), exposed, mounts)
    return {str(step[2]): (str(step[1]), bool(step[3])) for step in steps if step[0] == "bind"}


def test_the_machine_is_there_read_only_and_its_run_and_tmp_are_not() -> None:
    steps = plan_root(InventedHost(TREE), [], [])
    assert ["bind", "/usr", "/usr", True] in steps
    assert ["bind", "/dev", "/dev", False] in steps
    assert ["link", "/bin", "usr/bin"] in steps
    assert ["directory", "/tmp", 0o1777] in steps
    assert not any("/run/host" in step or "/proc" in step for step in steps)


def test_a_volume_at_a_new_path_of_the_root_is_made_there() -> None:
    assert binds([], Mount("/vol/a", "/data"))["/data"] == ("/vol/a", False)


def test_a_volume_over_an_existing_directory_leaves_its_surroundings_bound_as_a_whole() -> None:
    found = binds([], Mount("/vol/a", "/etc/ssl", True))
    assert found["/etc"] == ("/etc", True)
    assert found["/etc/ssl"] == ("/vol/a", True)


def test_a_volume_at_a_new_path_below_an_existing_directory_opens_that_directory_up() -> None:
    found = binds([], Mount("/vol/a", "/etc/redoubt/conf"))
    assert "/etc" not in found
    assert found["/etc/passwd"] == ("/etc/passwd", True)
    assert found["/etc/redoubt/conf"] == ("/vol/a", False)


def test_links_on_the_way_are_followed_inside_the_container() -> None:
    found = binds([], Mount("/vol/a", "/var/run/secrets/token"))
    assert found["/run/secrets/token"] == ("/vol/a", False)


def test_a_volume_inside_a_volume_is_mounted_after_it() -> None:
    steps = plan_root(InventedHost(TREE), [], [Mount("/vol/a", "/data/conf"), Mount("/vol", "/data")])
    order = [step[2] for step in steps if step[0] == "bind" and str(step[2]).startswith("/data")]
    assert order == ["/data", "/data/conf"]


def test_two_volumes_may_lie_in_the_same_opened_directory() -> None:
    found = binds([], Mount("/vol/a", "/etc/one"), Mount("/vol", "/etc/two"), Mount("/vol/a", "/etc/ssl"))
    assert {path: source for path, (source, _) in found.items() if path.startswith("/etc")} == {
        "/etc/passwd": "/etc/passwd",
        "/etc/ssl": "/vol/a",
        "/etc/one": "/vol/a",
        "/etc/two": "/vol",
    }


def test_a_needed_path_behind_a_closed_directory_is_shown_alone() -> None:
    found = binds(["/home/me/project"], closed={"/home/me"})
    assert found["/home/me/project"] == ("/home/me/project", True)
    assert "/home/me/secret" not in found
    assert "/home" not in found


def test_a_needed_path_that_everybody_can_reach_changes_nothing() -> None:
    assert binds(["/home/me/project"]) == binds([])


def test_dots_in_a_mount_path_are_refused() -> None:
    with pytest.raises(ValueError, match="must not contain"):
        binds([], Mount("/vol/a", "/data/../etc"))


def test_a_needed_path_below_a_volume_is_shown_again_inside_it() -> None:
    steps = plan_root(InventedHost(TREE), ["/home/me/project/.venv"], [Mount("/vol/a", "/home/me")])
    assert steps[-3:] == [
        ["directory", "/home/me/project", 0o755],
        ["directory", "/home/me/project/.venv", 0o755],
        ["bind", "/home/me/project/.venv", "/home/me/project/.venv", True],
    ]


def test_of_two_volumes_above_a_needed_path_the_inner_one_gets_it() -> None:
    mounts = [Mount("/vol", "/home"), Mount("/vol/a", "/home/me/")]
    steps = plan_root(InventedHost(TREE), ["/home/me/project"], mounts)
    assert steps[-2:] == [
        ["directory", "/home/me/project", 0o755],
        ["bind", "/home/me/project", "/home/me/project", True],
    ]


def test_a_volume_beside_a_needed_path_covers_nothing() -> None:
    steps = plan_root(InventedHost(TREE), ["/home/me/project"], [Mount("/vol/a", "/home/me/pro")])
    assert steps.count(["bind", "/home/me/project", "/home/me/project", True]) == 1


def test_a_needed_file_or_missing_path_below_a_volume_is_not_shown_again() -> None:
    exposed = ["/home/me/secret", "/home/me/gone"]
    assert plan_root(InventedHost(TREE), exposed, [Mount("/vol/a", "/home/me")]) == plan_root(
        InventedHost(TREE), [], [Mount("/vol/a", "/home/me")]
    )

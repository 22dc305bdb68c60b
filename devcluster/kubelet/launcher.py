"""The last steps before a container's program runs: namespaces, root directory, user, exec.

Run by `process.py` as a script of its own, not imported: it reads one JSON object from standard input,
enters new namespaces, and makes one child with the caller as its parent (CLONE_PARENT), so that the kubelet
waits for the container's process itself and the process dies with the kubelet. The child builds the planned
root on a tmpfs, makes it `/`, drops to the pod's user and becomes the program. What goes wrong is written
to the pipe whose number is the first argument; the pipe closes by itself at a successful exec. Imports are
few: this runs once per container start. Sources: namespaces(7), pivot_root(2), mount_setattr(2), prctl(2).
"""

import ctypes
import json
import os
import platform
import resource
import signal
import sys
from typing import Any, NoReturn

CLONE_PARENT = 0x00008000
CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
MNT_DETACH = 2
PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 1, 38
AT_FDCWD, AT_RECURSIVE, MOUNT_ATTR_RDONLY = -100, 0x8000, 1
IS_ARM = platform.machine() == "aarch64"
SYS_CLONE, SYS_PIVOT_ROOT = (220, 41) if IS_ARM else (56, 155)
SYS_MOUNT_SETATTR = 442
ROOT_SIZE = "size=64m,mode=755"  # what a container may write outside its volumes

# PyDLL keeps the interpreter's lock through the call, so a raw clone leaves it in a usable state in the
# child.
LIBC = ctypes.PyDLL(None, use_errno=True)


def check(result: int, what: str) -> int:
    """Raise OSError if a C call failed."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    """Call mount(2); OSError names the target."""
    arguments = [None if each is None else each.encode() for each in (source, target, kind)]
    check(LIBC.mount(*arguments, ctypes.c_ulong(flags), data.encode() if data else None), f"mount {target}")


def make_read_only(path: str) -> None:
    """Make a mount and all below it read-only; before Linux 5.12 only the mount itself."""
    attributes = (ctypes.c_uint64 * 4)(MOUNT_ATTR_RDONLY, 0, 0, 0)
    done = LIBC.syscall(
        SYS_MOUNT_SETATTR, AT_FDCWD, path.encode(), AT_RECURSIVE, ctypes.byref(attributes), 32
    )
    if done < 0:
        mount("none", path, None, MS_REMOUNT | MS_BIND | MS_RDONLY)


def build_root(spec: dict[str, Any]) -> None:
    """Build the planned root at the staging directory and make it this process's `/`."""
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    root = spec["staging"]
    mount("tmpfs", root, "tmpfs", MS_NOSUID | MS_NODEV, ROOT_SIZE)
    os.umask(0)
    for step in spec["steps"]:
        carry_out(root, step)
    os.mkdir(root + "/proc", 0o555)
    if spec["pid_namespace"]:
        mount("proc", root + "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    else:
        mount("/proc", root + "/proc", None, MS_BIND | MS_REC)
    if spec["read_only"]:
        mount("none", root, None, MS_REMOUNT | MS_BIND | MS_RDONLY)
    os.chdir(root)
    if LIBC.syscall(SYS_PIVOT_ROOT, b".", b".") == 0:
        check(LIBC.umount2(b".", MNT_DETACH), "unmount of the old root")
    else:  # the machine's root is an initial ramfs, which cannot be pivoted away
        os.chroot(".")
    os.chdir("/")
    os.umask(0o022)


def carry_out(root: str, step: list[Any]) -> None:
    """Carry out one step of the plan below `root`."""
    match step:
        case ["directory", path, mode]:
            os.makedirs(root + path, mode, exist_ok=True)
        case ["file", path]:
            if not os.path.exists(root + path):
                os.close(os.open(root + path, os.O_CREAT | os.O_WRONLY, 0o644))
        case ["link", path, target]:
            os.symlink(target, root + path)
        case ["bind", source, path, is_read_only]:
            mount(source, root + path, None, MS_BIND | MS_REC)
            if is_read_only:
                make_read_only(root + path)


def become_user(spec: dict[str, Any]) -> None:
    """Drop to the pod's user, and ask to die with the kubelet."""
    if not spec["user_namespace"] and os.getuid() == 0:
        os.setgroups(spec["groups"])
        os.setgid(spec["gid"])
        os.setuid(spec["uid"])
    if spec["no_new_privileges"]:
        LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    # After the change of user, which clears it.
    LIBC.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)


def run_program(spec: dict[str, Any]) -> NoReturn:
    """Become the container's program."""
    os.setsid()
    build_root(spec)
    if spec["hostname"]:
        os_name = spec["hostname"].encode()[:64]
        check(LIBC.sethostname(os_name, len(os_name)), "sethostname")
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    become_user(spec)
    os.chdir(spec["working_directory"])
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    for number in (signal.SIGPIPE, signal.SIGINT, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    os.execvpe(
        spec["command"][0], spec["command"], spec["environment"]
    )  # searches the PATH of that environment


def enter_user_namespace(spec: dict[str, Any]) -> None:
    """Become the pod's user in a namespace of our own, in which mounting is allowed."""
    uid, gid = os.getuid(), os.getgid()
    check(LIBC.unshare(CLONE_NEWUSER), "unshare of the user namespace")
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{spec['uid']} {uid} 1"),
        ("gid_map", f"{spec['gid']} {gid} 1"),
    ):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def main() -> None:
    """Read the specification, make the child, report its process id."""
    report = int(sys.argv[1])
    os.set_inheritable(report, False)
    spec = json.load(sys.stdin)
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        if spec["user_namespace"]:
            enter_user_namespace(spec)
        flags = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC
        check(LIBC.unshare(flags | (CLONE_NEWPID if spec["pid_namespace"] else 0)), "unshare")
        sys.stdout.flush()
        child = check(LIBC.syscall(SYS_CLONE, CLONE_PARENT | int(signal.SIGCHLD), 0, 0, 0, 0), "clone")
        if child:
            os.write(report, b"pid %d\n" % child)
            os._exit(0)
        run_program(spec)
    except OSError as failed:
        name = os.fsdecode(failed.filename) if failed.filename else ""
        os.write(report, f"error {failed.strerror or failed} {name}".strip().encode())
        os._exit(128)


main()

"""The command line: `python -m devcluster up|down|status|kill|freeze|thaw|lose-node|restore-node|...`.

Thin: each subcommand is one method of `DevCluster` with its arguments and a line of output. `--state` names
the state directory of one of several clusters. Exit status 1 and one line on standard error when something
is refused.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from devcluster import toolchain
from devcluster.cluster import DevCluster
from devcluster.faults import FaultLacking
from devcluster.state import Settings


def main(arguments: list[str] | None = None) -> int:
    """Run one subcommand and return its exit status."""
    chosen = _parser().parse_args(arguments)
    cluster = DevCluster(nodes=getattr(chosen, "nodes", 4), state=chosen.state)
    try:
        return int(chosen.run(cluster, chosen) or 0)
    except (RuntimeError, FaultLacking) as refused:
        print(f"devcluster: {refused}", file=sys.stderr)
    except FileNotFoundError as missing:
        if missing.filename != str(cluster.state.settings):
            raise
        print(f"devcluster: nothing was started in {cluster.state.root}; try `up`", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="devcluster", description="A real Kubernetes control plane on loopback."
    )
    parser.add_argument("--state", help="state directory (default: $REDOUBT_DEVCLUSTER, else in the cache)")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Any, about: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=about, description=about)
        added.set_defaults(run=run)
        return added

    up = command("up", _up, "start the cluster, building its programs if needed; does nothing if it runs")
    up.add_argument(
        "--nodes", type=int, default=4, choices=range(1, 33), metavar="N", help="1 to 32, default 4"
    )
    down = command("down", _down, "stop everything and remove the cluster's data")
    down.add_argument("--keep", action="store_true", help="keep etcd and volumes for the next up")
    command("status", _status, "show processes, nodes and pods")
    command("kubeconfig", _kubeconfig, "print the path of the administrator's kubeconfig")
    build = command("build", _build, "build the control plane's programs, or helm, into the cache")
    build.add_argument("what", nargs="?", choices=["kubernetes", "helm"], default="kubernetes")
    logs = command("logs", _logs, "print the log of a component (not of a pod: kubectl logs does that)")
    logs.add_argument("component", nargs="?", default="supervisor")
    for name, about in (
        ("kill", "SIGKILL a container's process"),
        ("freeze", "SIGSTOP a pod's processes"),
        ("thaw", "SIGCONT a pod's processes"),
        ("isolate", "cut a pod off from other pods (root, nft)"),
    ):
        fault = command(name, _fault, about)
        fault.add_argument("pod")
        fault.add_argument("-n", "--namespace", default="default")
        if name == "kill":
            fault.add_argument("-c", "--container", default="", help="default: the first")
        fault.set_defaults(fault=name)
    command("heal-network", _heal, "undo isolate and slow")
    for name, about in (
        ("lose-node", "kill all processes of a node and silence its heartbeat"),
        ("restore-node", "bring a lost node back"),
    ):
        loss = command(name, _node_fault, about)
        loss.add_argument("node")
        loss.set_defaults(fault=name)
    return parser


def _up(cluster: DevCluster, chosen: argparse.Namespace) -> None:
    cluster.up()
    if (running := cluster.settings.nodes) != chosen.nodes:
        print(f"it runs with {running} nodes; `down` first to change that", file=sys.stderr)
    print(f"export KUBECONFIG={cluster.kubeconfig}")


def _down(cluster: DevCluster, chosen: argparse.Namespace) -> None:
    cluster.down(keep=chosen.keep)


def _kubeconfig(cluster: DevCluster, _: argparse.Namespace) -> None:
    assert cluster.settings
    print(cluster.kubeconfig)


def _build(_: DevCluster, chosen: argparse.Namespace) -> None:
    if chosen.what == "helm":
        print(toolchain.build_helm())
    else:
        print("\n".join(f"{name}: {path}" for name, path in toolchain.binaries().items()))


def _logs(cluster: DevCluster, chosen: argparse.Namespace) -> int:
    path = cluster.state.logs / f"{chosen.component}.log"
    if not path.exists():
        known = sorted(each.stem for each in cluster.state.logs.glob("*.log"))
        raise RuntimeError(f"no log of {chosen.component!r}; there are: {', '.join(known) or 'none'}")
    sys.stdout.write(path.read_text(errors="replace"))
    return 0


def _fault(cluster: DevCluster, chosen: argparse.Namespace) -> None:
    more = {"container": chosen.container} if chosen.fault == "kill" else {}
    getattr(cluster.faults, chosen.fault)(chosen.pod, chosen.namespace, **more)


def _node_fault(cluster: DevCluster, chosen: argparse.Namespace) -> None:
    getattr(cluster.faults, chosen.fault.replace("-", "_"))(chosen.node)


def _heal(cluster: DevCluster, _: argparse.Namespace) -> None:
    cluster.faults.heal_network()


def _status(cluster: DevCluster, _: argparse.Namespace) -> int:
    if not cluster.is_running:
        print(f"not running ({cluster.state.root})")
        return 1
    settings = Settings.load(cluster.state)
    print(f"running: {settings.api_url}, state in {cluster.state.root}")
    seen = cluster.ask_kubelet("/status")
    for node in seen["nodes"]:
        print(f"\n{node['name']}  {node['address']}  {node['state']}  {node['zone']}")
        for pod in node["pods"]:
            containers = ", ".join(
                f"{c['name']} {c['state']} (process {c['pid']})" for c in pod["containers"]
            )
            print(f"  {pod['namespace']}/{pod['name']}  {pod['address']}  {containers}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

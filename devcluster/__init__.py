"""A real Kubernetes control plane on loopback, with a kubelet of our own, for people, tests and benchmarks.

etcd, kube-apiserver, kube-controller-manager, kube-scheduler and kubectl are the real programs, built once
from `go.mod`. Only the kubelet is played: `devcluster.kubelet` runs each bound Pod as local processes, on
its own loopback address and in its own mount namespace. `python -m devcluster up` starts one; `DevCluster`
is the same as an object. docs/devcluster.md says what is real, what is imitated, and what is missing.
"""

from devcluster.cluster import DevCluster

__all__ = ["DevCluster"]

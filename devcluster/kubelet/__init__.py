"""The kubelet of devcluster: pods as local processes, reported as a real kubelet would.

One process plays every node. `kubelet.py` watches the API and gives each bound Pod a worker (`pod.py`),
which mounts its volumes (`volumes.py`), runs its containers (`container.py`, `process.py`, `launcher.py`)
and reports their state (`status.py`). Decisions that can be computed without the world are pure modules
with unit tests: `backoff.py`, `environment.py`, `images.py`, `probe.py`, `rootfs.py`, `status.py`.
docs/devcluster.md lists what is imitated and what is not.
"""

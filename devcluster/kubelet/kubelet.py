"""The kubelet: its nodes."""
from __future__ import annotations
import asyncio
from devcluster.state import State, Settings
from devcluster.kubelet.api import ApiClient
from devcluster.kubelet.nodes import Node

class Kubelet:
    def __init__(self, state: State, settings: Settings) -> None:
        self.s = state; self.t = settings
    async def run(self) -> None:
        t = self.t
        c = ApiClient(t.api_url, t.admin_token, str(self.s.pki / "ca.crt"))
        ns = [Node(c, i, t.node_name(i), t.node_address(i), t.kubelet_port) for i in range(t.nodes)]
        await asyncio.gather(*(n.run() for n in ns))

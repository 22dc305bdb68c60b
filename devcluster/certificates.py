"""The keys, certificates and tokens of one devcluster, made with the openssl command at each start.

People and components identify themselves to the API server by bearer token; certificates exist only where
TLS needs them: the API server and the kubelet serve with one, and the API server shows one to the kubelet
when it fetches logs. The key that signs service account tokens is kept for the life of the state directory,
so that tokens survive a restart; the rest is cheap (elliptic curve keys, about 20 ms each) and made anew,
since addresses may have changed.
"""

from __future__ import annotations

import subprocess
from base64 import b64encode
from pathlib import Path
from typing import Final

from devcluster.state import Settings, State

DAYS_VALID: Final = "365"
CURVE: Final = "ec_paramgen_curve:P-256"


def make_certificates(state: State, settings: Settings) -> None:
    """Write CA, serving and client certificates and the token files that the components are started with."""
    pki = state.pki
    _openssl(pki, "req", "-x509", "-newkey", "ec", "-pkeyopt", CURVE, "-nodes", "-keyout", "ca.key",
             "-subj", "/CN=devcluster-ca", "-days", DAYS_VALID, "-out", "ca.crt")  # fmt: skip
    names = ["DNS:kubernetes", "DNS:kubernetes.default", "DNS:kubernetes.default.svc", "DNS:localhost"]
    addresses = [settings.control_plane_address, settings.kubernetes_address, "127.0.0.1"]
    _sign(pki, "apiserver", "/CN=kube-apiserver", "serverAuth", [*names, *(f"IP:{a}" for a in addresses)])
    nodes = [f"IP:{settings.node_address(index)}" for index in range(settings.nodes)]
    _sign(pki, "kubelet", "/CN=devcluster-kubelet", "serverAuth", nodes)
    _sign(pki, "kubelet-client", "/CN=kube-apiserver-kubelet-client", "clientAuth", [])
    if not (pki / "service-account.key").exists():
        _openssl(pki, "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "service-account.key")
    _write_private(pki / "tokens.csv", _token_lines(settings))


def write_kubeconfig(state: State, settings: Settings) -> None:
    """Write the administrator's kubeconfig, which also the controllers use: all of them may do everything."""
    text = f"""\
apiVersion: v1
kind: Config
clusters:
- name: devcluster
  cluster:
    server: {settings.api_url}
    certificate-authority-data: {_base64(state.pki / "ca.crt")}
users:
- name: admin
  user: {{token: "{settings.admin_token}"}}
contexts:
- name: devcluster
  context: {{cluster: devcluster, user: admin}}
current-context: devcluster
"""
    _write_private(state.kubeconfig, text)


def _token_lines(settings: Settings) -> str:
    return f'{settings.admin_token},admin,admin,"system:masters"\n'


def _sign(pki: Path, name: str, subject: str, usage: str, alternative_names: list[str]) -> None:
    _openssl(pki, "req", "-new", "-newkey", "ec", "-pkeyopt", CURVE, "-nodes", "-keyout", f"{name}.key",
             "-subj", subject, "-out", f"{name}.csr")  # fmt: skip
    extensions = f"extendedKeyUsage={usage}\n"
    if alternative_names:
        extensions += f"subjectAltName={','.join(alternative_names)}\n"
    (pki / f"{name}.ext").write_text(extensions)
    signing = ["-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", DAYS_VALID]
    _openssl(pki, "x509", "-req", "-in", f"{name}.csr", *signing, "-extfile", f"{name}.ext",
             "-out", f"{name}.crt")  # fmt: skip


def _openssl(directory: Path, *arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], cwd=directory, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"openssl {' '.join(arguments[:2])} failed: {done.stderr.strip()}")


def _write_private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)


def _base64(path: Path) -> str:
    return b64encode(path.read_bytes()).decode()

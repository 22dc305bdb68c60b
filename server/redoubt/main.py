"""`redoubt-server`: from the command line to a running node.

    redoubt-server [file.conf | -] [--directive word ...] ...

Reads the configuration, opens the log, makes the node with real randomness and the runtime with real
sockets, and serves until the node exits. Errors of the start go to standard error (configuration) or the log
(addresses), with exit code 1, as from redis-server. The process stays in the foreground; supervisors and
containers want it there.
"""

from __future__ import annotations

import asyncio
import os
import sys
from random import Random, SystemRandom
from typing import Final

import uvloop

from redoubt import config_file
from redoubt.access.users import UsersError
from redoubt.build import BUILD, source_revision
from redoubt.cluster.nodes_conf import CorruptNodes
from redoubt.config import Config
from redoubt.node import Node
from redoubt.runtime import logfile
from redoubt.runtime.busy import BusyService
from redoubt.runtime.clock import Clock
from redoubt.runtime.loop import Runtime, clock_us
from redoubt.runtime.network import ListenError
from redoubt.runtime.process import RunningProcess, container_limit_bytes
from redoubt.version import REDOUBT_VERSION

USAGE: Final = """\
Usage: redoubt-server [/path/to/redoubt.conf] [--directive word ...] ...
       redoubt-server - (read the configuration from standard input)
       redoubt-server -v or --version
       redoubt-server -h or --help

Examples:
       redoubt-server --port 7777
       redoubt-server --port 7777 --replicaof 127.0.0.1 8888
       redoubt-server /etc/redoubt.conf --loglevel verbose
"""


def main() -> int:
    """Run the server with the arguments of the process."""
    arguments = sys.argv[1:]
    if arguments and arguments[0] in ("-v", "--version"):
        print(version_line())
        return 0
    if arguments and arguments[0] in ("-h", "--help"):
        print(USAGE, end="")
        return 0
    config = Config(read_text)
    try:
        config_file.load(config, arguments)
    except config_file.FatalConfigError as error:
        print(error.text, file=sys.stderr)
        return 1
    return serve(config)


def version_line() -> str:
    """Return what --version prints."""
    return f"Redoubt server v={REDOUBT_VERSION} sha={source_revision()} build={BUILD}"


def read_text(path: str) -> str:
    """Read a configuration or secret file; `-` is standard input."""
    if path == "-":
        return sys.stdin.read()
    with open(path, encoding="utf-8") as file:
        return file.read()


def serve(config: Config) -> int:
    """Make the node and its process, and run until it exits."""
    try:
        log = logfile.open_log(config)
        # Absolute, so that a path made of it stays right; current, since other names may be relative.
        config.dir = os.path.abspath(config.dir)
        config.file_path = "" if config.file_path in ("", "-") else os.path.abspath(config.file_path)
        os.chdir(config.dir)
    except OSError as error:
        print(f"Can't open the log file or chdir to '{config.dir}': {error.strerror}", file=sys.stderr)
        return 1
    if config.maxmemory == 0 and config.maxmemory_container_percent:
        config.maxmemory = container_limit_bytes() * config.maxmemory_container_percent // 100
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    clock = Clock()
    try:
        node = Node(config, Random(SystemRandom().getrandbits(128)), clock.now_ms(), clock_us)
    except UsersError as error:
        log.warn("%s", error.text)
        return 1
    process = RunningProcess()
    node.state.process = process
    log.set_role(lambda: "S" if node.state.replication.is_replica else "M")
    log.write("Redoubt is starting: version=%s, build=%s, pid=%d", REDOUBT_VERSION, BUILD, os.getpid())
    runtime = Runtime(node, loop, clock)
    process.busy = BusyService(runtime)
    try:
        runtime.start(read_nodes_conf(config))
    except CorruptNodes as error:
        log.warn(
            "Unrecoverable error: corrupted cluster config file '%s': %s", config.cluster_config_file, error
        )
        return 1
    except ListenError as error:
        log.warn("Warning: %s", error)
        log.warn("Failed listening on port %d (TCP), aborting.", config.port)
        return 1
    if runtime.exit_code < 0:
        log.write("Server initialized, ready to accept connections on port %d", config.port)
    return runtime.run()


def read_nodes_conf(config: Config) -> bytes:
    """Return the cluster's file as the last process left it, empty if there is none."""
    if not config.cluster_enabled:
        return b""
    try:
        with open(config.cluster_config_file, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return b""


if __name__ == "__main__":
    sys.exit(main())

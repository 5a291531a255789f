"""A cluster of OpenBao nodes of the test's own: raft, each node behind a proxy that can do harm."""

from __future__ import annotations

import contextlib
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import time

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from certificates import Authority
from faultproxy import FaultProxy
from openbao import Server, program

TIME_LIMIT = 60.0
AUDIT_FOLDER = "audit"
AUDIT_FILE = f"{AUDIT_FOLDER}/audit.log"
SMALL_DISK = 128 * 1024 * 1024

# Below the ports that the system gives out by itself, so that nobody gets a node's while it is down.
PORTS = range(20_000, 32_000)

# Standbys may know no leader for a moment, which they report with these.
ALIVE = (200, 429)

CONFIGURATION = """
storage "raft" {{
  path = "data"
  node_id = "{name}"
  performance_multiplier = 1
  autopilot_reconcile_interval = "500ms"
  autopilot_update_interval = "250ms"
{joins}
}}
listener "tcp" {{
  address = "127.0.0.1:{port}"
  cluster_address = "127.0.0.1:{cluster_port}"
  {listener}
}}
api_addr = "{address}"
cluster_addr = "https://127.0.0.1:{cluster_port}"
audit "file" "to-file" {{
  options {{ file_path = "{audit}" }}
}}
seal "static" {{
  current_key_id = "only"
  current_key = "file://{key}"
}}
"""


def unused_port() -> int:
    """Return a port that nobody uses, and that the system does not give out by itself."""
    while True:
        port = random.choice(PORTS)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


class Node:
    """One node of a cluster.

    Attributes:
        name: What the cluster calls it.
        folder: Its data, its log and, in ``audit/``, its audit file.
        proxy: What stands between it and everybody who uses its address.
        address: Where users find it, and where other nodes send them: the proxy.
        server: Requests to the node itself, past the proxy.
        process: The running server, if it runs.
    """

    def __init__(self, name: str, folder: Path, authority: Authority | None) -> None:
        scheme = "http" if authority is None else "https"
        folder.mkdir()
        (folder / AUDIT_FOLDER).mkdir()
        self.name = name
        self.folder = folder
        self.port = unused_port()
        self.cluster_port = unused_port()
        self.proxy = FaultProxy(self.port, unused_port())
        self.address = f"{scheme}://127.0.0.1:{self.proxy.port}"
        self.server = Server(f"{scheme}://127.0.0.1:{self.port}", context=authority.context if authority else None)
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def audit_file(self) -> Path:
        """Where its audit file is. On a small disk of its own, only this path leads to it, while it runs."""
        if self.process is not None:
            return Path(f"/proc/{self.process.pid}/root") / self.folder.relative_to("/") / AUDIT_FILE
        return self.folder / AUDIT_FILE

    def start(self, *, small_audit_disk: bool = False) -> None:
        """Start the process, without waiting for it."""
        command = [program(), "server", "-config=node.hcl"]
        if small_audit_disk:
            command = [*_on_small_disk(), *command]
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                command,
                cwd=self.folder,
                env={"HOME": str(self.folder), "PATH": os.environ.get("PATH", os.defpath)},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def kill(self) -> None:
        """End the process at once, as a crash does."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
            self.proxy.refuse()

    def pause(self) -> None:
        """Stop the process without closing anything, as a hung machine does."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused process go on."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def wait(self, *statuses: int) -> None:
        """Wait until its health has one of these statuses; by default active or standby."""
        self.server.wait(*(statuses or ALIVE))


class Cluster:
    """A running cluster.

    Attributes:
        nodes: All of them, whether they run or not.
        token: Its root token.
        authority: Who made the certificates of its nodes, if they speak TLS.
    """

    def __init__(self, folder: Path, size: int, *, tls: bool, small_audit_disk: bool) -> None:
        self.authority = Authority(folder) if tls else None
        self.nodes = [Node(f"n{number}", folder / f"n{number}", self.authority) for number in range(size)]
        self.token = ""
        self._small_audit_disk = small_audit_disk
        key = folder / "seal.key"
        key.write_bytes(secrets.token_bytes(32))
        for node in self.nodes:
            (node.folder / "node.hcl").write_text(self._configuration(node, key))

    @property
    def addresses(self) -> list[str]:
        """Where users find the nodes; each address is a proxy's."""
        return [node.address for node in self.nodes]

    @property
    def api(self) -> Server:
        """Requests to the leader itself, past its proxy."""
        return self.leader().server

    def leader(self, *, other_than: Node | None = None) -> Node:
        """Return the leader; wait until there is one that is ready to work."""
        found: list[Node] = []

        def is_there() -> bool:
            found[:] = [node for node in self.nodes if node is not other_than and _health(node) == 200]
            return bool(found)

        wait_until(is_there, "a leader")
        return found[0]

    def standbys(self) -> list[Node]:
        """Return the running nodes that are not the leader."""
        leader = self.leader()
        return [node for node in self.nodes if node is not leader and node.process is not None]

    def kill_leader(self) -> Node:
        """End the leader's process as a crash does; return the node."""
        leader = self.leader()
        leader.kill()
        return leader

    def step_down(self) -> Node:
        """Let the leader hand over; return the node that was it."""
        leader = self.leader()
        leader.server.ok("PUT", "sys/step-down")
        return leader

    def seal_leader(self) -> Node:
        """Seal the leader, which goes on running and answers 503; return the node. :meth:`restart` unseals it."""
        leader = self.leader()
        leader.server.ok("PUT", "sys/seal")
        return leader

    def restart(self, node: Node) -> None:
        """Start a node anew, which unseals it, too; wait until it is part of the cluster again."""
        node.kill()
        node.start(small_audit_disk=self._small_audit_disk)
        node.wait()
        node.proxy.listen()

    def start(self) -> None:
        """Make the cluster and wait until each node has a vote."""
        for node in self.nodes:
            node.start(small_audit_disk=self._small_audit_disk)
        first = self.nodes[0]
        first.wait(501)
        made = first.server.ok("PUT", "sys/init", {"recovery_shares": 1, "recovery_threshold": 1})
        self.token = made["root_token"]
        for node in self.nodes:
            node.server.token = self.token
        first.wait(200)
        # Else a new node has no vote for its first ten seconds.
        first.server.ok("POST", "sys/storage/raft/autopilot/configuration", {"server_stabilization_time": "1s"})
        for node in self.nodes:
            node.wait()
        wait_until(self._all_vote, "all nodes to have a vote")
        self._wait_for_all()

    def heal(self) -> None:
        """Mend all proxies, restart what does not run or is sealed, and wait until each node takes a write."""
        for node in self.nodes:
            node.proxy.heal()
        for node in self.nodes:
            if _health(node) not in ALIVE:
                self.restart(node)
        self._wait_for_all()

    def close(self) -> None:
        """End all processes and proxies."""
        for node in self.nodes:
            node.kill()
            node.proxy.close()

    def _wait_for_all(self) -> None:
        """Wait until each node takes a write, which those that do not lead pass on to the leader."""
        for node in self.nodes:
            wait_until(lambda node=node: _takes_writes(node), f"{node.name} to take a write")

    def _all_vote(self) -> bool:
        state = self.nodes[0].server.ok("GET", "sys/storage/raft/autopilot/state")
        return len(state["data"].get("voters") or ()) == len(self.nodes)

    def _configuration(self, node: Node, key: Path) -> str:
        trust = "" if self.authority is None else f'    leader_ca_cert_file = "{self.authority.file}"\n'
        joins = [
            f'  retry_join {{\n    leader_api_addr = "{peer.server.address}"\n{trust}  }}'
            for peer in self.nodes
            if peer is not node
        ]
        listener = "tls_disable = true"
        if self.authority is not None:
            made = self.authority.issue(node.name)
            listener = f'tls_cert_file = "{made.certificate}"\n  tls_key_file = "{made.key}"'
        return CONFIGURATION.format(
            name=node.name,
            joins="\n".join(joins),
            port=node.port,
            cluster_port=node.cluster_port,
            listener=listener,
            address=node.address,
            audit=AUDIT_FILE,
            key=key,
        )


@contextlib.contextmanager
def cluster(folder: Path, size: int = 3, *, tls: bool = False, small_audit_disk: bool = False) -> Iterator[Cluster]:
    """Start a cluster with its data in a folder, and stop it in the end. It takes some ten seconds.

    Args:
        folder: An existing folder.
        size: How many nodes.
        tls: Whether they speak TLS, with certificates of an authority made for this.
        small_audit_disk: Whether each audit file is on a disk of its own that :func:`full_disk` can fill.
    """
    made = Cluster(folder, size, tls=tls, small_audit_disk=small_audit_disk)
    try:
        made.start()
        yield made
    finally:
        made.close()


@contextlib.contextmanager
def full_disk(node: Node) -> Iterator[None]:
    """Fill the disk of a node's audit file."""
    filler = node.audit_file.with_name("filler")
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    try:
        yield
    finally:
        with contextlib.suppress(FileNotFoundError):  # the node may have been started anew, with a new disk
            filler.unlink()


def wait_until(condition: Callable[[], Any], what: str, limit: float = TIME_LIMIT) -> None:
    """Wait for something that a server does by itself."""
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end, f"waited {limit:.0f} s for {what}"
        time.sleep(0.05)


def _health(node: Node) -> int:
    """Return the status of the node's health; 0 if it does not run or does not answer."""
    with contextlib.suppress(OSError):
        return 0 if node.process is None else node.server.call("GET", "sys/health")[0]
    return 0


def _takes_writes(node: Node) -> bool:
    with contextlib.suppress(OSError):
        return node.server.call("PUT", "sys/policies/acl/written-to-see", {"policy": 'path "none" {}'})[0] == 204
    return False


def _on_small_disk() -> list[str]:
    """Return what starts a command with a small disk at its audit folder; the disk goes with the process."""
    if shutil.which("unshare") is None:
        pytest.skip("needs the program unshare: install util-linux")
    apart = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]
    mount = f'mount -t tmpfs -o size={SMALL_DISK} none {AUDIT_FOLDER} && exec "$@"'
    return [*apart, "sh", "-c", mount, "sh"]

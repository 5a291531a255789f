"""A cluster of three nodes: any of them may be asked, and any may fail."""

from __future__ import annotations

import queue
import threading
import time

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import strongroom

from baocluster import Cluster, Node, cluster, unused_port, wait_until
from certificates import Authority
from strongroom.contracts import KeySource
from strongroom.errors import BackendError, BackendUnavailableError, SecretDeletedError, SecretNotFoundError
from strongroom.model import SecretValue
from strongroom_vault.adapter import VaultAdapter
from strongroom_vault.settings import AuthSettings
from strongroom_vault.target import Target
from strongroom_vault.tokens import TokenKeeper
from strongroom_vault.transport import Transport
from vaults import approle, open_manager

SOON = 30.0
"""How long recovering may take on a busy machine; it takes two seconds on an idle one."""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("cluster")) as made:
        mount(made)
        yield made


@pytest.fixture
def bao(shared: Cluster) -> Iterator[Cluster]:
    """The cluster, all well, and mended afterwards."""
    yield shared
    shared.heal()


def mount(made: Cluster) -> None:
    """Make the engine, and wait until each node has finished making it."""
    made.api.mount("secret", "kv", options={"version": "2"})
    made.api.ok("POST", "secret/data/ready", {"data": {"value": "yes"}})
    for node in made.nodes:
        wait_until(lambda node=node: node.server.call("GET", "secret/data/ready")[0] == 200, "the engine on each node")


def only_through(bao: Cluster, node: Node) -> None:
    """Close the way to all nodes but one."""
    for each in bao.nodes:
        each.proxy.reset = each is not node


def set_again(manager: strongroom.SecretManager, name: str, value: str) -> float:
    """Write as soon as it is possible; return after how many seconds it was."""
    start = time.monotonic()
    while True:
        try:
            manager.set(name, value)
        except BackendUnavailableError:
            assert time.monotonic() < start + SOON, "the manager did not recover"
            time.sleep(0.05)
        else:
            return time.monotonic() - start


class TestOwnWrites:
    def test_without_our_care_a_standby_answers_with_the_past(
        self, bao: Cluster, record_property: pytest.RecordProperty
    ) -> None:
        """What the other tests here are worth: nothing else makes up for a standby that lags behind."""
        old = 0
        for number in range(100):
            leader, standby = bao.api, bao.standbys()[0].server
            written = leader.ok("POST", "secret/data/raw", {"data": {"value": str(number)}})["data"]["version"]
            status, read = standby.call("GET", "secret/data/raw")
            old += status == 404 or (status == 200 and read["data"]["metadata"]["version"] < written)
        record_property("old_answers_of_a_hundred", old)
        assert old > 0

    def test_a_thousand_of_them_are_seen_by_the_next_read_whichever_node_answers(self, bao: Cluster) -> None:
        before = [node.proxy.accepted for node in bao.nodes]
        old = 0
        with open_manager(bao.addresses, bao.token) as manager:
            for number in range(1000):
                written = manager.set("own/one", str(number)).version
                if number % 50 == 0:
                    only_through(bao, bao.nodes[number // 50 % 3])
                old += manager.get("own/one").version != written
        assert old == 0
        assert all(node.proxy.accepted > count for node, count in zip(bao.nodes, before, strict=True))

    @pytest.mark.parametrize("number", range(2))
    def test_those_of_one_thread_are_seen_by_another(self, bao: Cluster, number: int) -> None:
        written: queue.Queue[tuple[str, str] | None] = queue.Queue()
        old: list[str] = []
        standby = bao.standbys()[number]
        with open_manager(standby.address, bao.token) as manager:

            def read() -> None:
                while (one := written.get()) is not None:
                    name, version = one
                    if int(manager.get(name).version) < int(version):
                        old.append(name)

            reader = threading.Thread(target=read)
            reader.start()
            try:
                for turn in range(250):
                    name = f"own/of-two-{turn % 7}"
                    written.put((name, manager.set(name, str(turn)).version))
            finally:
                written.put(None)
                reader.join()
        assert old == []

    def test_a_deleted_secret_is_gone_for_the_next_read(self, bao: Cluster) -> None:
        with open_manager(bao.standbys()[0].address, bao.token) as manager:
            for number in range(25):
                manager.set("own/gone", str(number))
                manager.delete("own/gone")
                with pytest.raises(SecretNotFoundError):
                    manager.get("own/gone")

    def test_a_conditional_write_goes_by_what_was_read(self, bao: Cluster) -> None:
        with open_manager(bao.standbys()[0].address, bao.token) as manager:
            manager.set("own/counter", "0")
            for _ in range(100):
                now = manager.get("own/counter")
                manager.set("own/counter", str(int(now.reveal_text()) + 1), expect_version=now.version)
            assert manager.get("own/counter").reveal_text() == "100"


class TestChanges:
    """They go by the newest state, whoever made it and whichever node is asked."""

    @pytest.fixture
    def both(self, bao: Cluster) -> Iterator[tuple[strongroom.SecretManager, strongroom.SecretManager]]:
        """Two managers that know nothing of each other, each on a standby of its own."""
        one, other = bao.standbys()
        with open_manager(one.address, bao.token) as first, open_manager(other.address, bao.token) as second:
            first.set("changes/first", "here")
            second.set("changes/second", "here")
            yield first, second

    def test_a_condition_is_held_against_what_another_has_just_written(
        self, both: tuple[strongroom.SecretManager, strongroom.SecretManager]
    ) -> None:
        version = both[0].set("changes/one", "0").version
        for number in range(100):
            version = both[number % 2].set("changes/one", str(number), expect_version=version).version

    def test_what_another_has_just_written_is_deleted(
        self, both: tuple[strongroom.SecretManager, strongroom.SecretManager]
    ) -> None:
        for number in range(50):
            name = f"changes/new-{number}"
            both[0].set(name, "new")
            both[1].delete(name)
            with pytest.raises(SecretDeletedError):
                both[1].get(name)


class TestLogins:
    def test_a_token_is_good_on_another_node_at_once(self, bao: Cluster) -> None:
        """Else a node that does not know it yet would refuse it, and that would pass for a denial."""
        login = settings_of(approle(bao.api, "fresh"))
        ways = [(one, other) for one in bao.nodes for other in bao.nodes if one is not other]
        for one, other in ways * 10:
            only_through(bao, one)
            transport = Transport(Target(addresses=(one.address, other.address)))
            keeper = TokenKeeper.open(login, transport)
            keeper.ensure()
            only_through(bao, other)
            assert VaultAdapter(transport, keeper).send("GET", "/v1/secret/data/ready").status == 200
            assert keeper.logins == 1
            keeper.close()
            transport.close()


def settings_of(login: dict[str, Any]) -> AuthSettings:
    return AuthSettings(**login | {key: Given(login[key]) for key in ("role_id", "secret_id")})


class Given(KeySource):
    """A secret that the test has."""

    def __init__(self, text: str) -> None:
        self._text = text

    def read(self) -> SecretValue:
        return SecretValue(self._text)

    def describe(self) -> str:
        return "the test"


class TestActive:
    def test_reads_from_the_active_node_see_what_others_have_written(self, bao: Cluster) -> None:
        standby, other = bao.standbys()
        old = 0
        with (
            open_manager(standby.address, bao.token, reads="active") as reader,
            open_manager(other.address, bao.token) as writer,
        ):
            for number in range(200):
                written = writer.set("active/one", str(number)).version
                old += int(reader.get("active/one").version) < int(written)
        assert old == 0

    def test_a_new_leader_is_found(self, bao: Cluster) -> None:
        with open_manager(bao.addresses, bao.token, reads="active") as manager:
            manager.set("active/two", "before")
            bao.kill_leader()
            set_again(manager, "active/two", "after")
            assert manager.get("active/two").reveal_text() == "after"


class TestFailure:
    def test_writing_goes_on_soon_after_the_leader_has_died(
        self, bao: Cluster, record_property: pytest.RecordProperty
    ) -> None:
        with open_manager(bao.addresses, bao.token, timeout="5s") as manager:
            manager.set("failure/one", "before")
            time.sleep(0.5)  # then each node knows that it was written, and may say so on its own
            bao.kill_leader()
            assert manager.get("failure/one").reveal_text() == "before"
            record_property("seconds_until_a_write", set_again(manager, "failure/one", "after"))
            assert manager.get("failure/one").reveal_text() == "after"

    def test_one_operation_outlasts_a_failover(self, bao: Cluster) -> None:
        with open_manager(bao.addresses, bao.token, timeout="30s", attempts=20) as manager:
            version = manager.set("failure/patient", "before").version
            bao.kill_leader()
            assert manager.set("failure/patient", "after", expect_version=version).version == "2"
            assert manager.get("failure/patient").reveal_text() == "after"

    def test_a_sealed_leader_is_left(self, bao: Cluster) -> None:
        with open_manager(bao.addresses, bao.token, timeout="5s") as manager:
            manager.set("failure/two", "before")
            bao.seal_leader()
            set_again(manager, "failure/two", "after")
            assert manager.get("failure/two").reveal_text() == "after"

    def test_an_address_where_nobody_is_costs_one_attempt(self, bao: Cluster) -> None:
        nobody = f"http://127.0.0.1:{unused_port()}"
        with open_manager([nobody, *bao.addresses], bao.token) as manager:
            manager.set("failure/three", "here")
            assert manager.get("failure/three").reveal_text() == "here"

    def test_a_node_that_resets_connections_is_left(self, bao: Cluster) -> None:
        with open_manager(bao.addresses, bao.token) as manager:
            for node in bao.nodes:
                manager.set("failure/four", node.name)
                only_through(bao, node)
                assert manager.get("failure/four").reveal_text() == node.name

    def test_without_a_majority_a_write_fails_in_time_and_reading_goes_on(self, bao: Cluster) -> None:
        left = bao.standbys()[0]
        with open_manager(left.address, bao.token, timeout="3s") as manager:
            manager.set("failure/five", "before")
            assert manager.get("failure/five").reveal_text() == "before"
            for node in bao.nodes:
                if node is not left:
                    node.kill()
            start = time.monotonic()
            with pytest.raises(BackendUnavailableError):
                manager.set("failure/five", "never")
            assert time.monotonic() < start + 10
        bao.heal()
        with open_manager(bao.addresses, bao.token) as manager:
            set_again(manager, "failure/five", "after")

    def test_health_tells_what_a_node_is(self, bao: Cluster) -> None:
        with open_manager(bao.standbys()[0].address, bao.token) as manager:
            assert manager.health().state.value == "up"


class TestTLS:
    @pytest.fixture(scope="class")
    @classmethod
    def safe(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
        with cluster(tmp_path_factory.mktemp("safe"), 2, tls=True) as made:
            mount(made)
            yield made

    def test_a_cluster_with_an_authority_of_its_own_is_used(self, safe: Cluster) -> None:
        assert safe.authority is not None
        with open_manager(safe.addresses, safe.token, tls={"ca_file": str(safe.authority.file)}) as manager:
            written = manager.set("tls/one", "here").version
            assert manager.get("tls/one").version == written

    def test_nothing_is_sent_to_a_server_that_another_authority_vouches_for(
        self, safe: Cluster, tmp_path: Path
    ) -> None:
        other = Authority(tmp_path)
        with (
            open_manager(safe.addresses, safe.token, tls={"ca_file": str(other.file)}) as manager,
            pytest.raises(BackendError) as caught,
        ):
            manager.set("tls/one", "there")
        assert caught.value.code == "tls_failed"

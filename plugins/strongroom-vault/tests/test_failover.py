"""Several addresses, redirects from standby to active, and reads of the active node only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fakes import Answer, FakeVault, Sent
from strongroom.errors import BackendError, BackendUnavailableError
from strongroom.testing import FakeClock
from strongroom_vault.indexes import parse
from strongroom_vault.replies import Reply
from strongroom_vault.target import Target
from strongroom_vault.transport import MAX_HOPS, Transport

CLUSTER = "cd62058b-2a38-7d09-5ef9-7958cc01da84"


@pytest.fixture
def nodes() -> Iterator[list[FakeVault]]:
    with FakeVault() as one, FakeVault() as two, FakeVault() as three:
        for number, node in enumerate((one, two, three)):
            node.answer(None, "/", 200, {"data": {"node": number}})
        yield [one, two, three]


@pytest.fixture
def waited() -> list[float]:
    return []


@pytest.fixture
def transport(nodes: list[FakeVault], waited: list[float]) -> Callable[..., Transport]:
    clock = FakeClock()

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        clock.advance(seconds)

    def make(count: int = 3, **options: Any) -> Transport:
        addresses = tuple(node.address for node in nodes[:count])
        return Transport(Target(addresses=addresses, **options), clock=clock.monotonic, sleep=sleep)

    return make


def get(sender: Transport, **options: Any) -> Reply:
    return sender.send("GET", "/v1/secret/data/x", headers={"X-Vault-Token": "t"}, repeatable=True, **options)


def put(sender: Transport) -> Reply:
    return sender.send("PUT", "/v1/secret/data/x", headers={"X-Vault-Token": "t"}, body=b'{"a": 1}')


def redirect_to(node: FakeVault, status: int = 307) -> Callable[[Sent], Answer]:
    return lambda sent: Answer(status, headers={"Location": node.address + sent.path})


def test_the_first_address_that_works_is_used_and_kept(
    nodes: list[FakeVault], transport: Any, waited: list[float]
) -> None:
    sender = transport()
    assert get(sender).data == {"node": 0}
    nodes[0].down()
    assert get(sender).data == {"node": 1}
    nodes[0].up()
    assert [get(sender).data["node"] for _ in range(3)] == [1, 1, 1]
    assert waited == []


def test_looking_for_an_address_that_takes_connections_uses_no_attempt_up(
    nodes: list[FakeVault], transport: Any
) -> None:
    nodes[0].down()
    nodes[1].down()
    assert put(transport(attempts=1)).data == {"node": 2}


@pytest.mark.parametrize(
    ("status", "errors"),
    [
        (503, ["Vault is sealed"]),
        (500, ["local node not active but active cluster node not found"]),
        (502, []),
    ],
)
def test_a_node_that_cannot_answer_now_is_left_at_once(
    nodes: list[FakeVault], transport: Any, waited: list[float], status: int, errors: list[str]
) -> None:
    nodes[0].answer(None, "/", status, {"errors": errors})
    sender = transport()
    assert get(sender).data == {"node": 1}
    assert get(sender).data == {"node": 1}
    assert (len(nodes[0].requests), waited) == (1, [])


def test_a_node_that_hangs_is_left(nodes: list[FakeVault], transport: Any) -> None:
    nodes[0].answer(None, "/", 200, {}, delay=5.0)
    assert get(transport(), timeout=1.5).data == {"node": 1}


def test_all_nodes_together_get_no_more_requests_than_attempts(nodes: list[FakeVault], transport: Any) -> None:
    for node in nodes:
        node.answer(None, "/", 503, {"errors": ["Vault is sealed"]})
    with pytest.raises(BackendUnavailableError) as raised:
        get(transport(attempts=4))
    assert raised.value.code == "sealed"
    assert sum(len(node.requests) for node in nodes) == 4


def test_a_rate_limit_is_no_reason_to_ask_another_node(
    nodes: list[FakeVault], transport: Any, waited: list[float]
) -> None:
    nodes[0].answer(None, "/", 429, {"errors": ["rate limit quota exceeded"]}, {"Retry-After": "2"}, times=1)
    assert get(transport()).data == {"node": 0}
    assert waited == [2.0]


@pytest.mark.parametrize("status", [307, 308])
def test_a_redirect_is_followed_with_method_and_body(nodes: list[FakeVault], transport: Any, status: int) -> None:
    nodes[0].handle("PUT", "/", redirect_to(nodes[2], status))
    sender = transport(1)
    assert put(sender).data == {"node": 2}
    (sent,) = nodes[2].requests
    assert (sent.method, sent.path, sent.body) == ("PUT", "/v1/secret/data/x", b'{"a": 1}')
    assert sent.headers["X-Vault-Token"] == "t"
    assert sender.retries == 0


def test_writes_go_straight_to_the_active_node_once_it_is_known(nodes: list[FakeVault], transport: Any) -> None:
    nodes[0].handle("PUT", "/", redirect_to(nodes[2]))
    sender = transport(1)
    for _ in range(3):
        put(sender)
    assert get(sender).data == {"node": 0}
    assert len(nodes[0].sent("PUT")) == 1
    nodes[2].down()
    nodes[0].answer("PUT", "/", 200, {"data": {"node": 0}})
    assert put(sender).data == {"node": 0}


def test_a_redirect_to_a_dead_leader_is_waited_out(nodes: list[FakeVault], transport: Any, waited: list[float]) -> None:
    nodes[2].down()
    nodes[0].handle("PUT", "/", redirect_to(nodes[2]), times=2)
    assert put(transport(1)).data == {"node": 0}
    assert len(nodes[0].requests) == 3
    assert len(waited) == 2
    assert min(waited) >= 0.5


def test_redirects_between_nodes_that_each_name_the_other_end(nodes: list[FakeVault], transport: Any) -> None:
    nodes[0].handle("PUT", "/", redirect_to(nodes[1]))
    nodes[1].handle("PUT", "/", redirect_to(nodes[0]))
    with pytest.raises(BackendUnavailableError, match="in a circle"):
        put(transport(1, attempts=1))
    assert len(nodes[0].requests) + len(nodes[1].requests) == MAX_HOPS + 1


def test_redirects_that_are_off_are_refused(nodes: list[FakeVault], transport: Any) -> None:
    nodes[0].handle("PUT", "/", redirect_to(nodes[1]))
    with pytest.raises(BackendError, match="redirects are off: set redirects = true"):
        put(transport(1, redirects=False))
    assert nodes[1].requests == []


@pytest.mark.parametrize(
    "location", ["http://127.0.0.1:1/elsewhere", "ftp://127.0.0.1/v1/secret/data/x", "/login?next=/v1/secret/data/x"]
)
def test_a_redirect_to_something_else_shows_no_token(nodes: list[FakeVault], transport: Any, location: str) -> None:
    nodes[0].answer("GET", "/", 307, headers={"Location": location})
    with pytest.raises(BackendError, match="no node of its cluster"):
        get(transport(1))


@pytest.mark.parametrize("status", [301, 302, 303])
def test_another_kind_of_redirect_says_that_the_address_is_wrong(
    nodes: list[FakeVault], transport: Any, status: int
) -> None:
    nodes[0].handle("GET", "/", redirect_to(nodes[1], status))
    with pytest.raises(BackendError, match="write in the address"):
        get(transport(1))
    assert nodes[1].requests == []


def test_reads_of_the_active_node_carry_what_no_standby_answers(nodes: list[FakeVault], transport: Any) -> None:
    nodes[0].answer("GET", "/v1/sys/leader", 200, {"is_self": False, "leader_address": nodes[1].address})
    for node in nodes:
        node.answer("GET", "/v1/sys/health", 429, {"cluster_id": CLUSTER})
    sender = transport(reads="active")
    assert [get(sender).data["node"] for _ in range(3)] == [1, 1, 1]
    sent = nodes[1].sent("GET", "/v1/secret/")[-1]
    cluster, position = parse(sent.headers["X-Vault-Index"]) or ("", 0)
    assert (cluster, position > 10**15) == (CLUSTER, True)
    assert sent.headers["X-Vault-Inconsistent"] == "forward-active-node"
    asked = [one for node in nodes for one in node.sent("GET", "/v1/sys/")]
    assert len(asked) == 2
    assert not any("X-Vault-Token" in one.headers for one in asked)


def test_a_new_active_node_is_found_when_the_old_one_is_gone(nodes: list[FakeVault], transport: Any) -> None:
    leader = [1]
    for node in nodes:
        node.handle("GET", "/v1/sys/leader", lambda _: Answer(200, {"leader_address": nodes[leader[0]].address}))
        node.answer("GET", "/v1/sys/health", 429, {"cluster_id": CLUSTER})
    sender = transport(reads="active")
    assert get(sender).data == {"node": 1}
    leader[0] = 0
    nodes[1].down()
    get(sender)
    assert get(sender).data == {"node": 0}
    assert all("X-Vault-Index" in one.headers for node in nodes for one in node.sent("GET", "/v1/secret/"))


def test_a_server_of_the_enterprise_edition_is_asked_in_its_own_way(nodes: list[FakeVault], transport: Any) -> None:
    nodes[0].answer("GET", "/v1/sys/health", 200, {"cluster_id": CLUSTER, "enterprise": True})
    get(transport(1, reads="active"))
    assert nodes[0].requests[-1].headers["X-Vault-Forward"] == "active-node"

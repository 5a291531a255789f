"""A read never shows less than this process has written, whichever node answers."""

from __future__ import annotations

import base64
import json

from typing import Any

import pytest

from fakes import Answer, FakeVault, Sent
from strongroom.errors import BackendUnavailableError
from strongroom.testing import in_forked_child, in_threads
from strongroom_vault.indexes import Index, parse
from strongroom_vault.replies import Reply
from strongroom_vault.target import Target
from strongroom_vault.transport import Transport


def index(position: int, cluster: str = "one") -> str:
    return base64.b64encode(json.dumps({"cluster": cluster, "value": str(position)}).encode()).decode()


def get(sender: Transport) -> Reply:
    return sender.send("GET", "/v1/secret/data/x", headers={}, repeatable=True)


def put(sender: Transport) -> Reply:
    return sender.send("PUT", "/v1/secret/data/x", headers={}, body=b"{}")


def transport(*nodes: FakeVault, **options: Any) -> Transport:
    return Transport(Target(addresses=tuple(node.address for node in nodes), **options), sleep=lambda _: None)


def test_nothing_is_asked_for_before_the_first_write(vault: FakeVault) -> None:
    vault.answer("GET", "/", 200, {}, {"X-Vault-Index": index(7)})
    sender = transport(vault)
    get(sender)
    get(sender)
    assert not any("X-Vault-Index" in sent.headers for sent in vault.requests)


def test_the_index_of_a_write_goes_with_each_later_request(vault: FakeVault) -> None:
    vault.answer("GET", "/", 200, {})
    vault.answer("PUT", "/", 204, headers={"X-Vault-Index": index(7)})
    sender = transport(vault)
    put(sender)
    get(sender)
    get(sender)
    assert [sent.headers.get("X-Vault-Index") for sent in vault.requests] == [None, index(7), index(7)]
    assert vault.requests[1].headers["X-Vault-Inconsistent"] == "forward-active-node"


def asked_for(sent: Sent) -> tuple[str, int] | None:
    return parse(sent.headers["X-Vault-Index"])


def test_only_the_active_node_decides_on_a_change(vault: FakeVault) -> None:
    """A standby would hold a condition against a state that is past, and find nothing to delete that is new."""
    vault.answer("GET", "/", 200, {}, {"X-Vault-Index": index(7)})
    vault.answer("PUT", "/", 204, headers={"X-Vault-Index": index(9)})
    sender = transport(vault)
    get(sender)
    put(sender)
    put(sender)
    get(sender)
    _, first, second, read = vault.requests
    for change in (first, second):
        cluster, position = asked_for(change) or ("", 0)
        assert (cluster, position > 2**60) == ("one", True)
        assert change.headers["X-Vault-Inconsistent"] == "forward-active-node"
    assert asked_for(read) == ("one", 9)


def test_the_newest_write_counts_in_whatever_order_answers_come() -> None:
    state = Index()
    for position in (3, 9, 10, 2, 8):
        state.note(index(position))
    assert state.headers["X-Vault-Index"] == index(10)
    state.note(index(1, "another cluster"))
    assert state.headers["X-Vault-Index"] == index(1, "another cluster")


@pytest.mark.parametrize("text", ["v1:opaque", "", "e30=", base64.b64encode(b"[1]").decode(), "é"])
def test_an_index_of_another_form_is_handed_back_as_it_came(text: str) -> None:
    state = Index()
    state.note(text)
    assert parse(text) is None
    assert state.headers.get("X-Vault-Index", "") == text


def test_threads_end_with_the_newest_index() -> None:
    state = Index()
    in_threads(8, lambda thread: [state.note(index(position)) for position in range(thread, 2000, 8)])
    assert state.headers["X-Vault-Index"] == index(1999)


def test_a_node_that_is_behind_is_left_for_another_one_at_once() -> None:
    waited: list[float] = []
    with FakeVault() as behind, FakeVault() as active:
        active.answer("GET", "/", 200, {"data": {"from": "active"}})
        behind.answer("PUT", "/", 204, headers={"X-Vault-Index": index(7)})
        behind.answer("GET", "/", 429, {"errors": []}, {"Retry-After": "1"})
        sender = Transport(Target(addresses=(behind.address, active.address)), sleep=waited.append)
        put(sender)
        assert get(sender).data == {"from": "active"}
    assert waited == []


def test_a_single_node_that_is_behind_is_waited_for_and_is_no_rate_limit(vault: FakeVault) -> None:
    vault.answer("PUT", "/", 204, headers={"X-Vault-Index": index(7)})
    vault.answer("GET", "/", 429, {"errors": []}, {"Retry-After": "1"})
    sender = transport(vault)
    put(sender)
    with pytest.raises(BackendUnavailableError, match="behind its cluster's active node") as raised:
        get(sender)
    assert raised.value.code == "unavailable"
    assert len(vault.sent("GET")) == 3


def test_without_an_index_the_same_answer_is_a_rate_limit(vault: FakeVault) -> None:
    vault.answer("GET", "/", 429, {"errors": []})
    with pytest.raises(BackendUnavailableError) as raised:
        get(transport(vault))
    assert raised.value.code == "rate_limited"


def test_an_index_that_the_server_does_not_understand_is_forgotten(vault: FakeVault) -> None:
    def answer(sent: Sent) -> Answer:
        if "X-Vault-Index" in sent.headers:
            return Answer(400, {"errors": ['failed to decode "X-Vault-Index"']})
        return Answer(200, {"data": {"a": 1}})

    vault.answer("PUT", "/", 204, headers={"X-Vault-Index": "of another server"})
    vault.handle("GET", "/", answer)
    sender = transport(vault)
    put(sender)
    assert get(sender).data == {"a": 1}
    assert get(sender).data == {"a": 1}
    assert len(vault.sent("GET")) == 3


def test_a_forked_child_sees_its_parents_writes(vault: FakeVault) -> None:
    vault.answer("PUT", "/", 204, headers={"X-Vault-Index": index(7)})
    vault.answer("GET", "/", 200, {})
    sender = transport(vault)
    put(sender)
    sender.after_fork()
    get(sender)
    assert vault.requests[-1].headers["X-Vault-Index"] == index(7)


def test_a_fork_amid_writes_leaves_the_child_able_to_write(vault: FakeVault) -> None:
    vault.answer("PUT", "/", 204, headers={"X-Vault-Index": index(7)})
    sender = transport(vault)

    def in_child() -> int:
        sender.after_fork()
        return put(sender).status

    with sender._index._lock:  # as if another thread were taking up an answer at this moment
        assert in_forked_child(in_child) == "204"


@pytest.mark.parametrize("reads", ["any", "active"])
def test_a_node_is_asked_itself_how_it_is(vault: FakeVault, reads: str) -> None:
    """With an index, a standby would pass the question on to the active node."""
    vault.answer("GET", "/v1/sys/health", 429, {"cluster_id": "one", "standby": True})
    vault.answer("PUT", "/", 204, headers={"X-Vault-Index": index(7)})
    sender = transport(vault, reads=reads)
    put(sender)
    for repeatable in (True, False):
        assert sender.send("GET", "/v1/sys/health", headers={}, repeatable=repeatable).status == 429
    assert not any("X-Vault-Index" in sent.headers for sent in vault.sent("GET", "/v1/sys/health"))

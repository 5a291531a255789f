"""What differs from what a program has got is noticed, without any value being read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from strongroom import SecretManager
from strongroom.cli.supervising.changes import Changes
from strongroom.cli.supervising.handover import Report
from strongroom.events.updates import SecretUpdated
from strongroom.model import SecretName
from watched import EVERY, Server, look, settle


def report(*names: str, **known: str | None) -> Report:
    versions = {name.replace("_", "/"): version for name, version in known.items()}
    return Report(names=(*names, *versions), known=versions)


class Told:
    """Counts how often it was told that there is something new."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


def test_a_report_comes_back_as_it_was_sent() -> None:
    names, known = ("a b\n", "é", "x", "y"), {"a b\n": "1", "é": None}
    sent = Report(names=names, known=known, passing=("x",), listed=("x", "é"), leased=(("y", 2.5),))
    line = sent.to_json()
    assert line.index(b"\n") == len(line) - 1
    assert Report.from_json(line) == sent


@pytest.mark.parametrize("line", [b'[["a"], {}, []]\n', b"{}\n", b'{"names": 1}\n', b"not JSON\n", b"\xff\n"])
def test_what_another_release_reports_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # json's own errors are as good
        Report.from_json(line)


def test_a_leased_credential_is_another_one_each_time_which_is_no_news() -> None:
    before = Report(names=("a", "b"), known={"a": "1"}, listed=("a",), leased=(("b", 60.0),))
    assert before.replace(leased=(("b", 59.0),)).brings_nothing_new(before)
    for other in (
        before.replace(known={"a": "2"}),
        before.replace(names=("a",)),
        before.replace(listed=()),
    ):
        assert not other.brings_nothing_new(before)


def test_each_change_is_taken_once(manager: SecretManager, others: SecretManager, server: Server) -> None:
    told = Told()
    changes = Changes(manager, EVERY, told)
    changes.know(report(db_password="1", db_user="1"))
    look(manager)
    settle(manager)
    assert (changes.take(), told.count) == ([], 0)
    reads = server.reads
    others.set("db/user", "second")
    others.delete("db/password")
    look(manager)
    look(manager)
    settle(manager)
    assert (changes.take(), told.count) == (["db/password", "db/user"], 2)
    assert changes.take() == []
    assert server.reads == reads


def test_what_had_changed_before_anybody_looked_is_noticed(manager: SecretManager, others: SecretManager) -> None:
    others.set("db/password", "second")
    changes = Changes(manager, EVERY, Told())
    changes.know(report(db_password="1", db_user="1", db_new=None))
    others.set("db/new", "here")
    look(manager)
    settle(manager)
    assert changes.take() == ["db/new", "db/password"]


def test_what_the_next_program_has_already_is_no_news(manager: SecretManager, others: SecretManager) -> None:
    changes = Changes(manager, EVERY, Told())
    changes.know(report(db_password="1", db_user="1"))
    others.set("db/password", "second")
    others.set("db/user", "second")
    look(manager)
    settle(manager)
    changes.know(report(db_password="2", db_user="1"))
    assert changes.take() == ["db/user"]
    look(manager)
    settle(manager)
    assert changes.take() == []


def test_what_is_no_longer_handed_over_is_not_looked_at(manager: SecretManager, others: SecretManager) -> None:
    changes = Changes(manager, EVERY, Told())
    changes.know(report(db_password="1", db_user="1"))
    changes.know(report(db_user="1"))
    others.set("db/password", "second")
    look(manager)
    settle(manager)
    assert changes.take() == []


def test_a_version_that_nobody_knows_is_taken_from_the_first_look(
    manager: SecretManager, others: SecretManager
) -> None:
    changes = Changes(manager, EVERY, Told())
    changes.know(report("db/password"))
    look(manager)
    others.set("db/password", "second")
    look(manager)
    settle(manager)
    assert changes.take() == ["db/password"]


def test_a_change_back_is_a_change(manager: SecretManager, others: SecretManager, server: Server) -> None:
    changes = Changes(manager, EVERY, Told())
    changes.know(report(db_password="1"))
    for version in ("2", "1"):
        server.lagging["db/password"] = version
        look(manager)
        settle(manager)
        assert changes.take() == ["db/password"]


def test_a_change_that_the_next_program_has_not_got_yet_is_found_again(
    manager: SecretManager, others: SecretManager
) -> None:
    changes = Changes(manager, EVERY, Told())
    changes.know(report(db_password="1"))
    others.set("db/password", "second")
    for _ in range(2):
        look(manager)
        settle(manager)
        assert changes.take() == ["db/password"]
        changes.know(report(db_password="1"))


def test_what_lags_behind_after_the_new_start_is_no_change(
    manager: SecretManager, others: SecretManager, server: Server
) -> None:
    changes = Changes(manager, EVERY, Told())
    changes.know(report(db_password="1"))
    look(manager)
    others.set("db/password", "second")
    look(manager)
    settle(manager)
    assert changes.take() == ["db/password"]
    changes.know(report(db_password="2"))
    server.lagging["db/password"] = "1"
    watch: Any = manager._parts.subscriptions.watch
    watch.looks.at_all()
    settle(manager)
    assert changes.take() == []
    del server.lagging["db/password"]
    others.set("db/password", "third")
    look(manager)
    settle(manager)
    assert changes.take() == ["db/password"]


@pytest.mark.parametrize("more", [{}, {"db/new": None}])
def test_where_versions_are_a_processes_own_a_change_after_the_read_is_noticed_however_soon_it_comes(
    manager: SecretManager, others: SecretManager, more: dict[str, str | None]
) -> None:
    changes = Changes(manager, EVERY, Told())
    got = Report(names=("db/password",), known={}, passing=("db/password",))
    changes.know(got)
    look(manager)
    others.set("db/password", "second")
    look(manager)
    settle(manager)
    assert changes.take() == ["db/password"]
    others.set("db/password", "third")
    # With a further name, those who look begin anew.
    changes.know(got.replace(names=("db/password", *more), known=more))
    look(manager)
    settle(manager)
    assert changes.take() == ["db/password"]


class Slow:
    """Stands for a manager that was about to call a subscriber when the subscription ended."""

    def __init__(self) -> None:
        self.callbacks: dict[str, Callable[[SecretUpdated], object]] = {}

    def on_update(self, name: str, callback: Callable[[SecretUpdated], object]) -> Callable[[], None]:
        self.callbacks[name] = callback
        return lambda: None

    def watch(self, every: float, **more: object) -> None:
        """Look."""


def test_a_change_that_is_told_after_the_program_was_started_without_the_secret_is_none() -> None:
    slow: Any = Slow()
    changes = Changes(slow, EVERY, Told())
    changes.know(report(db_password="1", db_user="1"))
    changes.know(report(db_user="1"))
    slow.callbacks["db/password"](SecretUpdated(name=SecretName("db/password"), change="seen", version=None))
    assert changes.take() == []


def test_a_leased_credential_is_not_looked_at(manager: SecretManager, server: Server) -> None:
    changes = Changes(manager, EVERY, Told())
    changes.know(Report(names=("db/password", "db/user"), known={"db/user": "1"}, leased=(("db/password", 60.0),)))
    look(manager)
    assert [list(map(str, names)) for names in server.looks] == [["db/user"]]

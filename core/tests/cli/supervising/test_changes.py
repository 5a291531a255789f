"""What differs from what a program has got is noticed, without any value being read."""

from __future__ import annotations

from strongroom import SecretManager
from strongroom.cli.supervising.changes import Changes
from strongroom.cli.supervising.handover import Report
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
    sent = Report(names=("a b\n", "é", "x"), known={"a b\n": "1", "é": None}, passing=("x",))
    line = sent.to_json()
    assert line.index(b"\n") == len(line) - 1
    assert Report.from_json(line) == sent


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

"""Files follow their secrets and templates, and stay as they are while something is wrong."""

from __future__ import annotations

import threading

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from strongroom import SecretManager
from strongroom.errors import BackendUnavailableError, ConfigurationError, SecretNotFoundError
from strongroom.templates.bell import Bell
from strongroom.templates.engine import Engine
from strongroom.templates.files import Files
from strongroom.templates.keeper import ROUNDS, Keeper
from strongroom.templates.reads import Reads
from strongroom.testing import CredentialMaker, FakeClock
from watched import Server, look

TIME_LIMIT = 10.0


class Desk:
    """A keeper of one template, and what it does.

    Attributes:
        written: Each text that was written.
        said: What went wrong.
        commands: What the command returns next, the last one again and again.
        ran: How often it ran.
        ready: How often it was ready for the first time.
    """

    def __init__(self, manager: SecretManager, template: Path) -> None:
        self.template = template
        self.written: list[str] = []
        self.said: list[str] = []
        self.commands = [""]
        self.ran = 0
        self.ready = 0
        self.bell = Bell()
        self.keeper = Keeper(
            manager,
            self.bell,
            write=self.write,
            command=self.command,
            every=30.0,
            say=self.said.append,
            on_ready=self.on_ready,
        )

    def write(self, files: Files, reads: Reads) -> list[str]:
        text = Engine(files, reads).render(files.read(str(self.template))).decode()
        if self.written[-1:] == [text]:
            return []
        self.written.append(text)
        return ["out"]

    def command(self) -> str:
        self.ran += 1
        return self.commands.pop(0) if len(self.commands) > 1 else self.commands[0]

    def on_ready(self) -> None:
        self.ready += 1

    def told(self) -> bool:
        """Tell whether somebody has told of a change by now, and if so have the keeper look."""
        rang = self.bell.wait(0)
        return rang and self.keeper.look(rang=True)

    def tick(self) -> bool:
        """Let an interval pass; tell whether that made it render."""
        return self.keeper.look(rang=False)


@pytest.fixture
def template(tmp_path: Path) -> Path:
    path = tmp_path / "page.j2"
    path.write_text("{{ secret('db/password') }}")
    return path


@pytest.fixture
def make_desk(template: Path) -> Any:
    """A function that makes a desk for a manager."""
    made: list[Desk] = []

    def make(manager: SecretManager) -> Desk:
        made.append(Desk(manager, template))
        return made[-1]

    yield make
    for desk in made:
        desk.keeper.close()
        desk.bell.close()


@pytest.fixture
def desk(manager: SecretManager, make_desk: Callable[[SecretManager], Desk]) -> Desk:
    """A desk whose manager watches for what others change."""
    made = make_desk(manager)
    made.keeper.start()
    return made


def test_it_renders_at_once_and_is_ready(desk: Desk) -> None:
    assert (desk.written, desk.ready, desk.ran, desk.said) == (["first"], 1, 1, [])


def test_a_change_by_others_is_rendered(desk: Desk, manager: SecretManager, others: SecretManager) -> None:
    look(manager)
    others.set("db/password", "second")
    look(manager)
    assert desk.bell.wait(TIME_LIMIT)
    desk.keeper.look(rang=True)
    assert (desk.written, desk.ran, desk.ready) == (["first", "second"], 2, 1)


def test_a_change_of_what_is_not_used_is_none(desk: Desk, manager: SecretManager, others: SecretManager) -> None:
    others.set("db/user", "other")
    look(manager)
    assert not desk.told()
    assert not desk.tick()


def test_what_it_uses_now_is_followed_and_what_it_used_is_not(
    desk: Desk, manager: SecretManager, template: Path
) -> None:
    template.write_text("{{ secret('db/user') }}")
    assert desk.tick()
    manager.set("db/password", "x")
    assert not desk.told()
    manager.set("db/user", "y")
    assert desk.told()
    assert desk.written == ["first", "app", "y"]


def test_a_changed_template_is_rendered_at_the_next_look(desk: Desk, template: Path) -> None:
    assert not desk.tick()
    template.write_text("a {{ secret('db/password') }}")
    assert desk.tick()
    assert desk.written == ["first", "a first"]
    assert not desk.tick()


def test_nothing_is_written_and_nothing_runs_if_the_text_is_the_same(desk: Desk, manager: SecretManager) -> None:
    manager.set("db/password", "first")
    assert desk.told()
    assert (desk.written, desk.ran) == (["first"], 1)


def test_a_deleted_secret_leaves_the_file_and_is_said_once(desk: Desk, manager: SecretManager) -> None:
    manager.delete("db/password")
    assert desk.told()
    assert desk.tick()
    assert desk.written == ["first"]
    assert len(desk.said) == 1
    assert f"see {desk.template}, line 1" in desk.said[0]
    manager.set("db/password", "again")
    assert desk.told()
    assert desk.written == ["first", "again"]
    assert not desk.tick()


def test_a_template_that_is_mended_is_rendered(desk: Desk, template: Path) -> None:
    template.write_text("{% if %}")
    assert desk.tick()
    template.unlink()
    assert desk.tick()
    template.write_text("whole")
    assert desk.tick()
    assert desk.written == ["first", "whole"]
    assert ["no sound template" in desk.said[0], "cannot be read" in desk.said[1]] == [True, True]


def test_a_template_that_lists_is_rendered_each_time(desk: Desk, manager: SecretManager, template: Path) -> None:
    template.write_text("{{ names('db/') | join(' ') }}")
    assert desk.tick()
    manager.set("db/third", "x")
    assert desk.tick()
    assert desk.written[1:] == ["db/password db/user", "db/password db/third db/user"]


def test_it_renders_every_few_intervals_whatever_it_has_heard(desk: Desk) -> None:
    assert [desk.tick() for _ in range(2 * ROUNDS)] == ([False] * (ROUNDS - 1) + [True]) * 2


def test_to_be_asked_means_to_ask_the_backend(desk: Desk, others: SecretManager, server: Server) -> None:
    others.set("db/password", "second")
    desk.keeper.ask()
    assert desk.told()
    assert desk.written == ["first", "second"]


@pytest.fixture
def maker(clock: FakeClock) -> CredentialMaker:
    """Credentials that live a minute."""
    return CredentialMaker(clock, ttl=60, renewable=False)


@pytest.fixture
def leasing(
    maker: CredentialMaker, open_manager: Any, make_desk: Callable[[SecretManager], Desk], template: Path
) -> tuple[Desk, SecretManager]:
    """A desk whose template holds a leased credential, and its manager."""
    template.write_text("{{ secret('creds/app') }}")
    manager = open_manager(backends={"maker": maker})
    desk = make_desk(manager)
    desk.keeper.start()
    return desk, manager


def test_a_leased_credential_that_is_replaced_is_rendered(
    leasing: tuple[Desk, SecretManager], maker: CredentialMaker, clock: FakeClock
) -> None:
    desk, manager = leasing
    clock.advance(31)
    manager._parts.leases.run_due()
    assert desk.bell.wait(TIME_LIMIT)
    desk.keeper.look(rang=True)
    assert (len(desk.written), len(maker.made)) == (2, 2)
    # The old one goes on for whoever has not read the file again yet.
    assert len(maker.alive()) == 2


def test_to_be_asked_makes_no_other_leased_credential(
    leasing: tuple[Desk, SecretManager], maker: CredentialMaker
) -> None:
    desk, _ = leasing
    desk.keeper.ask()
    assert desk.told()
    assert (len(desk.written), len(maker.made)) == (1, 1)


def test_a_command_that_fails_runs_again_until_it_does_not(desk: Desk, manager: SecretManager) -> None:
    desk.commands = ["it failed", "it failed", ""]
    manager.set("db/password", "second")
    assert desk.told()
    assert desk.tick()
    assert desk.tick()
    assert not desk.tick()
    assert (desk.ran, desk.said, desk.written) == (4, ["it failed"], ["first", "second"])


def test_a_secret_that_is_not_there_at_the_start_is_an_error(
    open_manager: Any, make_desk: Callable[[SecretManager], Desk]
) -> None:
    desk = make_desk(open_manager())
    with pytest.raises(SecretNotFoundError):
        desk.keeper.start()
    assert desk.ready == 0


def test_a_template_that_is_not_sound_at_the_start_is_an_error(
    open_manager: Any, make_desk: Callable[[SecretManager], Desk], template: Path
) -> None:
    template.write_text("{% if %}")
    with pytest.raises(ConfigurationError):
        make_desk(open_manager()).keeper.start()


def test_an_outage_at_the_start_is_waited_out(
    hooked: Any, open_manager: Any, make_desk: Callable[[SecretManager], Desk]
) -> None:
    def fail(_: object) -> None:
        raise BackendUnavailableError("away")

    desk = make_desk(open_manager(backends={"memory": hooked}))
    hooked.on_read = fail
    desk.keeper.start()
    assert (desk.ready, desk.written, len(desk.said)) == (0, [], 1)
    hooked.on_read = None
    assert desk.keeper.look(rang=True)
    assert (desk.ready, desk.written) == (1, ["s3cret"])


def test_the_loop_renders_what_it_is_told_of_and_ends_when_it_is_to(desk: Desk, manager: SecretManager) -> None:
    thread = threading.Thread(target=desk.keeper.run)
    thread.start()
    try:
        manager.set("db/password", "second")
        manager.set("db/password", "third")
        desk.keeper.ask()
    finally:
        while thread.is_alive() and desk.written[-1] != "third":
            thread.join(0.01)
        desk.keeper.stop()
        thread.join(TIME_LIMIT)
    assert not thread.is_alive()
    assert desk.written[-1] == "third"

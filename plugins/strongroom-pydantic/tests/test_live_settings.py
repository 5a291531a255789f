"""Settings that follow their secrets."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import queue
import threading

from collections.abc import Iterator
from typing import Annotated, Any

import pytest

from pydantic import SecretStr, ValidationError, create_model, model_validator

import strongroom

from sqlaccess import Held
from strongroom import AsyncSecretManager, SecretManager
from strongroom.errors import BackendUnavailableError, ConfigurationError
from strongroom.testing import assert_hidden, report_of
from strongroom_pydantic import FromSecret, LiveSettings, SecretSettings, StrongroomConfigDict

PATIENCE = 30.0


class Settings(SecretSettings):
    model_config = StrongroomConfigDict(strongroom_prefix="shop/")
    user: str
    password: SecretStr
    port: int = 5432


class Consistent(Settings):
    @model_validator(mode="after")
    def belong_together(self) -> Consistent:
        if self.user[-1] != self.password.get_secret_value()[-1]:
            raise ValueError("user and password do not belong together")
        return self


class Heard:
    """Waits for what live settings tell."""

    def __init__(self, live: LiveSettings[Any]) -> None:
        self.changes: queue.Queue[tuple[Any, Any]] = queue.Queue()
        self.problems: queue.Queue[Exception] = queue.Queue()
        live.on_change(lambda old, new: self.changes.put((old, new)))
        live.on_problem(self.problems.put)


@pytest.fixture
def shop(manager: SecretManager) -> SecretManager:
    manager.set("shop/user", "app-1")
    manager.set("shop/password", "s3cret-1")
    return manager


@pytest.fixture
def live(shop: SecretManager) -> Iterator[LiveSettings[Settings]]:
    with LiveSettings(Settings, shop, settle=0.01) as made:
        yield made


def test_the_settings_are_there_at_once(live: LiveSettings[Settings]) -> None:
    assert live.current.password.get_secret_value() == "s3cret-1"
    assert live.problem is None


def test_a_changed_secret_leads_to_new_settings(shop: SecretManager, live: LiveSettings[Settings]) -> None:
    heard = Heard(live)
    before = live.current
    shop.set("shop/password", "s3cret-2")
    old, new = heard.changes.get(timeout=PATIENCE)
    assert (old, new) == (before, live.current)
    assert new.password.get_secret_value() == "s3cret-2"
    # Whoever has taken the old ones goes on with them.
    assert before.password.get_secret_value() == "s3cret-1"


def test_a_secret_that_was_not_there_is_followed_too(shop: SecretManager, live: LiveSettings[Settings]) -> None:
    heard = Heard(live)
    shop.set("shop/port", "6432")
    assert heard.changes.get(timeout=PATIENCE)[1].port == 6432
    shop.delete("shop/port")
    assert heard.changes.get(timeout=PATIENCE)[1].port == 5432


def test_what_is_refused_leaves_the_old_settings_and_is_told(
    shop: SecretManager, live: LiveSettings[Settings], caplog: pytest.LogCaptureFixture
) -> None:
    heard = Heard(live)
    shop.set("shop/port", "no-number-at-all")
    problem = heard.problems.get(timeout=PATIENCE)
    assert isinstance(problem, ValidationError)
    assert live.problem is problem
    assert live.current.port == 5432
    assert_hidden("no-number-at-all", report_of(problem, "pydantic") + problem.json() + caplog.text, "the problem")
    shop.set("shop/port", "7")
    assert heard.changes.get(timeout=PATIENCE)[1].port == 7
    assert live.problem is None


def test_a_class_that_hides_nothing_leads_to_a_problem_without_values(manager: SecretManager) -> None:
    from pydantic_settings import BaseSettings

    from strongroom_pydantic import StrongroomSettingsSource

    class Plain(BaseSettings):
        port: int

        @classmethod
        def settings_customise_sources(cls, settings_cls: type[BaseSettings], **_sources: Any) -> tuple[Any, ...]:
            return (StrongroomSettingsSource(settings_cls, prefix="shop/"),)

    manager.set("shop/port", "s3cret-no-number")
    with pytest.raises(ValidationError) as caught:
        LiveSettings(Plain, manager)
    assert_hidden("s3cret-no-number", report_of(caught.value, "pydantic") + caught.value.json(), "the error")


def test_secrets_that_change_together_lead_to_one_change(shop: SecretManager) -> None:
    with LiveSettings(Consistent, shop, settle=2.0) as live:
        heard = Heard(live)
        shop.set("shop/user", "app-2")
        shop.set("shop/password", "s3cret-2")
        new = heard.changes.get(timeout=PATIENCE)[1]
        assert (new.user, new.password.get_secret_value()) == ("app-2", "s3cret-2")
        assert heard.problems.empty()
        assert heard.changes.empty()


def test_a_state_in_between_that_is_refused_is_never_current(shop: SecretManager) -> None:
    with LiveSettings(Consistent, shop, settle=0.0) as live:
        heard = Heard(live)
        shop.set("shop/user", "app-2")
        heard.problems.get(timeout=PATIENCE)
        assert live.current.user == "app-1"
        shop.set("shop/password", "s3cret-2")
        assert heard.changes.get(timeout=PATIENCE)[1].user == "app-2"


def test_what_has_not_changed_is_no_change(shop: SecretManager, live: LiveSettings[Settings]) -> None:
    heard = Heard(live)
    before = live.current
    shop.set("shop/password", "s3cret-1")
    shop.set("shop/port", "1")
    assert heard.changes.get(timeout=PATIENCE)[1].port == 1
    shop.set("shop/port", "1")
    assert live.reload() is not before
    assert heard.changes.empty()


def test_reloading_raises_what_stands_in_the_way(shop: SecretManager, live: LiveSettings[Settings]) -> None:
    shop.set("shop/port", "no-number")
    with pytest.raises(ValidationError):
        live.reload()
    assert live.current.port == 5432
    shop.set("shop/port", "8")
    assert live.reload().port == 8


def test_after_an_outage_the_settings_are_made_all_the_same() -> None:
    store = Held()
    store.put("shop/user", "app")
    store.put("shop/password", "s3cret-1")
    table = {"audit": "none", "backend": "held", "resilience": {"probe_every": "1s"}}
    with (
        strongroom.open(table, backends={"held": store}) as manager,
        LiveSettings(Settings, manager, settle=0.0) as live,
    ):
        heard = Heard(live)
        store.put("shop/password", "s3cret-2")
        manager.invalidate()
        store.is_out = True
        live.heard(strongroom.SecretUpdated(name=strongroom.SecretName("shop/password"), change="seen", version="2"))
        assert isinstance(heard.problems.get(timeout=PATIENCE), BackendUnavailableError)
        assert live.current.password.get_secret_value() == "s3cret-1"
        store.is_out = False
        assert heard.changes.get(timeout=PATIENCE)[1].password.get_secret_value() == "s3cret-2"
        assert live.problem is None


def test_what_others_change_is_followed_where_the_manager_watches(tmp_path: Any) -> None:
    store = Held()
    store.put("shop/user", "app")
    store.put("shop/password", "s3cret-1")
    with (
        strongroom.open({"audit": "none", "backend": "held"}, backends={"held": store}) as manager,
        LiveSettings(Settings, manager, settle=0.0) as live,
    ):
        heard = Heard(live)
        manager.watch(every=1)
        store.put("shop/password", "s3cret-2")
        assert heard.changes.get(timeout=PATIENCE)[1].password.get_secret_value() == "s3cret-2"


def test_secrets_that_are_not_used_any_more_are_not_followed(shop: SecretManager) -> None:
    wanted = ["shop/user"]

    def make() -> Any:
        field: Any = (Annotated[str, FromSecret(wanted[0])], ...)
        return create_model("Made", __base__=SecretSettings, one=field)()

    with LiveSettings(make, shop, settle=0.0) as live:
        wanted[0] = "shop/password"
        assert live.reload().one == "s3cret-1"
        heard = Heard(live)
        shop.set("shop/user", "app-2")
        shop.set("shop/password", "s3cret-2")
        assert heard.changes.get(timeout=PATIENCE)[1].one == "s3cret-2"
        assert heard.changes.empty()


def test_a_subscriber_that_raises_stops_no_other(
    shop: SecretManager, live: LiveSettings[Settings], caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_old: Settings, new: Settings) -> None:
        raise RuntimeError(new.password.get_secret_value())

    live.on_change(fail)
    heard = Heard(live)
    with caplog.at_level(logging.ERROR, "strongroom.pydantic"):
        shop.set("shop/password", "s3cret-2")
        heard.changes.get(timeout=PATIENCE)
    assert "a subscriber of settings raised RuntimeError" in caplog.text
    assert_hidden("s3cret-2", caplog.text, "the log")


def test_an_ended_subscription_is_told_no_more(shop: SecretManager, live: LiveSettings[Settings]) -> None:
    told: list[int] = []

    def note(_old: Settings, new: Settings) -> None:
        told.append(new.port)

    first, second = live.on_change(note), live.on_change(note)
    shop.set("shop/port", "1")
    live.reload()
    first()
    first()
    shop.set("shop/port", "2")
    live.reload()
    second()
    shop.set("shop/port", "3")
    live.reload()
    assert told == [1, 1, 2]


def test_after_it_is_closed_nothing_is_followed(shop: SecretManager, live: LiveSettings[Settings]) -> None:
    heard = Heard(live)
    live.close()
    live.close()
    shop.set("shop/port", "1")
    live.reload()
    assert live.current.port == 5432
    assert heard.changes.empty()


def test_nobody_looks_after_settings_that_nobody_has_any_more(shop: SecretManager) -> None:
    live = LiveSettings(Settings, shop, settle=0.0)
    ends = live._ends
    assert ends
    del live
    gc.collect()
    assert not ends


def test_what_else_stands_in_the_way_is_told_by_its_type(shop: SecretManager) -> None:
    def make() -> Settings:
        raise RuntimeError(Settings().password.get_secret_value())

    with pytest.raises(ConfigurationError, match="RuntimeError") as caught:
        LiveSettings(make, shop)
    assert_hidden("s3cret-1", report_of(caught.value, "strongroom_pydantic"), "the error")


def test_many_threads_see_whole_settings_only(shop: SecretManager) -> None:
    with LiveSettings(Consistent, shop, settle=0.0) as live:
        seen: list[bool] = []
        done = threading.Event()

        def look() -> None:
            while not done.is_set():
                one = live.current
                seen.append(one.user[-1] == one.password.get_secret_value()[-1])

        threads = [threading.Thread(target=look) for _ in range(3)]
        for thread in threads:
            thread.start()
        for number in range(2, 8):
            shop.set("shop/user", f"app-{number}")
            shop.set("shop/password", f"s3cret-{number}")
            live.reload()
        done.set()
        for thread in threads:
            thread.join()
        assert live.current.user == "app-7"
    assert seen
    assert all(seen)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a system that forks")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_follows_by_itself(shop: SecretManager, live: LiveSettings[Settings]) -> None:
    child = os.fork()
    if not child:
        try:
            heard = Heard(live)
            # A store in memory is the child's own.
            for name, value in (("user", "child"), ("password", "s3cret-child")):
                shop.set(f"shop/{name}", value)
            while live.current.password.get_secret_value() != "s3cret-child":
                heard.changes.get(timeout=PATIENCE)
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert live.current.password.get_secret_value() == "s3cret-1"


def test_a_program_of_asyncio_hears_on_its_loop(shop: SecretManager) -> None:
    async def follow() -> Settings:
        loop, heard = asyncio.get_running_loop(), asyncio.Event()
        live = await asyncio.to_thread(LiveSettings, Settings, shop, settle=0.0)
        live.on_change(lambda _old, _new: loop.call_soon_threadsafe(heard.set))
        await AsyncSecretManager(shop).set("shop/password", "s3cret-2")
        await asyncio.wait_for(heard.wait(), PATIENCE)
        live.close()
        current: Settings = live.current
        return current

    assert asyncio.run(follow()).password.get_secret_value() == "s3cret-2"

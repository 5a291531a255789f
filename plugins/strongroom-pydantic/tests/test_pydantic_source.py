"""Which secret fills which field, and what becomes of it there."""

from __future__ import annotations

import json

from pathlib import Path
from typing import Annotated, Any, Literal

import pytest

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import (
    AliasChoices,
    AliasPath,
    BaseModel,
    Field,
    Json,
    SecretBytes,
    SecretStr,
    create_model,
)
from pydantic_settings import BaseSettings

import strongroom

from sqlaccess import Held
from strongroom import SecretManager
from strongroom.errors import (
    AccessDeniedError,
    BackendUnavailableError,
    ConfigurationError,
    InvalidNameError,
    InvalidValueError,
)
from strongroom.testing import assert_hidden, report_of
from strongroom_pydantic import FromSecret, SecretSettings, StrongroomConfigDict, StrongroomSettingsSource, using

NAMES = st.from_regex(r"[a-z][a-z0-9]{0,8}(_[a-z0-9]{1,8}){0,3}", fullmatch=True).filter(
    lambda name: not name.startswith("model_") and name not in dir(BaseSettings) and name != "schema"
)


class Login(BaseModel):
    user: str
    password: SecretStr


class Shop(SecretSettings):
    model_config = StrongroomConfigDict(strongroom_prefix="shop/")


def test_a_field_takes_the_secret_of_its_name_below_the_prefix(manager: SecretManager) -> None:
    class Settings(Shop):
        db_password: SecretStr

    manager.set("shop/db_password", "s3cret")
    manager.set("db_password", "another")
    with using(manager):
        assert Settings().db_password.get_secret_value() == "s3cret"


def test_a_marked_field_takes_its_secret_with_or_without_a_prefix(manager: SecretManager) -> None:
    class Plain(SecretSettings):
        password: Annotated[SecretStr, FromSecret("db/login", field="password")]
        port: Annotated[int, FromSecret("db/login", field="port")]

    class Prefixed(Plain):
        model_config = StrongroomConfigDict(strongroom_prefix="shop/")

    manager.set("db/login", '{"password": "s3cret", "port": 5432}')
    manager.set("shop/password", "another")
    with using(manager):
        for made in (Plain(), Prefixed()):
            assert made.password.get_secret_value() == "s3cret"
            assert made.port == 5432


def test_nothing_is_looked_for_by_name_without_a_prefix(manager: SecretManager) -> None:
    class Settings(SecretSettings):
        password: str = "default"

    manager.set("password", "s3cret")
    with using(manager):
        assert Settings().password == "default"


def test_an_empty_prefix_means_the_name_by_itself(manager: SecretManager) -> None:
    class Settings(SecretSettings):
        model_config = StrongroomConfigDict(strongroom_prefix="")
        password: str

    manager.set("password", "s3cret")
    with using(manager):
        assert Settings().password == "s3cret"


def test_a_field_with_an_alias_is_the_secret_of_just_that_name(manager: SecretManager) -> None:
    class Settings(Shop):
        one: str = Field(validation_alias="db/one")
        two: str = Field(validation_alias=AliasChoices("db/absent", "db/two"))
        three: str = Field(validation_alias=AliasPath("db/three", "inner", 1))

    manager.set("db/one", "1")
    manager.set("db/two", "2")
    manager.set("db/three", '{"inner": ["no", "3"]}')
    with using(manager):
        made = Settings()
    assert (made.one, made.two, made.three) == ("1", "2", "3")


def test_a_field_that_may_be_given_by_its_name_too_is_looked_for_by_both(manager: SecretManager) -> None:
    class Settings(SecretSettings):
        model_config = StrongroomConfigDict(strongroom_prefix="shop/", populate_by_name=True)
        one: str = Field(validation_alias="absent")

    manager.set("shop/one", "1")
    with using(manager):
        assert Settings().one == "1"


def test_each_type_gets_what_it_needs(manager: SecretManager) -> None:
    class Settings(Shop):
        text: SecretStr
        data: SecretBytes
        raw: bytes
        port: int
        ratio: float
        parsed: Json[dict[str, int]]
        hosts: list[str]
        limits: dict[str, int]
        mode: Literal["fast", "safe"]
        either: dict[str, str] | str
        perhaps: list[int] | None = None

    manager.set("shop/text", "t€xt")
    manager.set("shop/data", b"\xff\x00")
    manager.set("shop/raw", b"\xfe")
    manager.set("shop/port", "5432")
    manager.set("shop/ratio", "0.5")
    manager.set("shop/parsed", '{"a": 1}')
    manager.set("shop/hosts", '["a", "b"]')
    manager.set("shop/limits", '{"x": 3}')
    manager.set("shop/mode", "safe")
    manager.set("shop/either", "no JSON")
    manager.set("shop/perhaps", "[1, 2]")
    with using(manager):
        made = Settings()
    assert made.text.get_secret_value() == "t€xt"
    assert made.data.get_secret_value() == b"\xff\x00"
    assert (made.raw, made.port, made.ratio) == (b"\xfe", 5432, 0.5)
    assert (made.parsed, made.hosts, made.limits) == ({"a": 1}, ["a", "b"], {"x": 3})
    assert (made.mode, made.either, made.perhaps) == ("safe", "no JSON", [1, 2])
    assert [type(one) for one in (made.hosts[0], made.limits["x"], made.mode)] == [str, int, str]


def test_a_model_takes_one_secret_that_is_json(manager: SecretManager) -> None:
    class Settings(Shop):
        db: Login

    manager.set("shop/db", '{"user": "app", "password": "s3cret"}')
    with using(manager):
        made = Settings()
    assert (made.db.user, made.db.password.get_secret_value()) == ("app", "s3cret")


def test_a_model_takes_one_secret_for_each_member(manager: SecretManager) -> None:
    class Settings(Shop):
        db: Login | None = None

    manager.set("shop/db/user", "app")
    manager.set("shop/db/password", "s3cret")
    with using(manager):
        made = Settings()
    assert made.db is not None
    assert (made.db.user, made.db.password.get_secret_value()) == ("app", "s3cret")


def test_a_model_takes_parts_from_the_environment_and_others_from_secrets(
    manager: SecretManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Settings(SecretSettings):
        model_config = StrongroomConfigDict(strongroom_prefix="shop/", env_nested_delimiter="__")
        db: Login

    monkeypatch.setenv("DB__USER", "from-environment")
    manager.set("shop/db/user", "app")
    manager.set("shop/db/password", "s3cret")
    with using(manager):
        made = Settings()
    assert (made.db.user, made.db.password.get_secret_value()) == ("from-environment", "s3cret")


class Node(BaseModel):
    name: str
    next: Node | None = None


def test_a_model_that_holds_itself_has_an_end(manager: SecretManager) -> None:
    class Settings(Shop):
        node: Node

    manager.set("shop/node/name", "first")
    manager.set("shop/node/next", '{"name": "second"}')
    with using(manager):
        made = Settings()
    assert made.node.next is not None
    assert made.node.next.name == "second"


def test_what_is_not_there_is_left_to_the_default(manager: SecretManager) -> None:
    class Settings(Shop):
        absent: str = "default"
        member: Annotated[str, FromSecret("db/login", field="absent")] = "no such member"
        deleted: str = "gone"

    manager.set("db/login", "{}")
    manager.set("shop/deleted", "s3cret")
    manager.delete("shop/deleted")
    with using(manager):
        made = Settings()
    assert (made.absent, made.member, made.deleted) == ("default", "no such member", "gone")


def test_arguments_and_the_environment_come_first(manager: SecretManager, monkeypatch: pytest.MonkeyPatch) -> None:
    class Settings(SecretSettings):
        model_config = StrongroomConfigDict(strongroom_prefix="shop/", env_prefix="SHOP_")
        one: str
        two: str
        three: str

    monkeypatch.setenv("SHOP_TWO", "environment")
    for name in ("one", "two", "three"):
        manager.set(f"shop/{name}", "secret")
    with using(manager):
        made = Settings(one="argument")
    assert (made.one, made.two, made.three) == ("argument", "environment", "secret")


def test_an_outage_is_an_error_and_no_default() -> None:
    class Settings(Shop):
        password: str = "default"

    store = Held()
    store.put("shop/password", "s3cret")
    store.is_out = True
    with strongroom.open({"audit": "none", "backend": "held"}, backends={"held": store}) as manager, using(manager):
        with pytest.raises(BackendUnavailableError):
            Settings()
        store.is_out = False
        assert Settings().password == "s3cret"


def test_a_denial_is_an_error_and_no_default() -> None:
    class Settings(Shop):
        password: str = "default"

    table = {
        "audit": "none",
        "principal": "shop",
        "backends": {"here": {"type": "memory"}},
        "policies": [{"principal": "shop", "effect": "allow", "actions": ["read"], "names": ["other/*"]}],
    }
    with strongroom.open(table) as manager, using(manager), pytest.raises(AccessDeniedError):
        Settings()


def test_a_secret_that_is_no_json_for_a_field_that_needs_it_is_an_error_without_it(manager: SecretManager) -> None:
    class Settings(Shop):
        limits: dict[str, int]

    manager.set("shop/limits", "s3cret-no-json")
    with using(manager), pytest.raises(InvalidValueError, match="shop/limits is no JSON") as caught:
        Settings()
    assert_hidden("s3cret-no-json", report_of(caught.value, "strongroom_pydantic"), "the error")


def test_a_name_that_no_secret_can_have_is_an_error(manager: SecretManager) -> None:
    class Settings(Shop):
        one: str = Field(default="", validation_alias="a//b")

    with using(manager), pytest.raises(InvalidNameError):
        Settings()


def test_all_fields_are_read_in_one_go_and_each_secret_once() -> None:
    class Settings(Shop):
        one: str
        two: Annotated[str, FromSecret("db/login", field="user")]
        three: Annotated[str, FromSecret("db/login", field="password")]

    store = Held()
    store.put("shop/one", "1")
    store.put("db/login", '{"user": "2", "password": "3"}')
    table = {"audit": "none", "backend": "held", "cache": {"policy": "none"}}
    with strongroom.open(table, backends={"held": store}) as manager, using(manager):
        assert Settings().model_dump() == {"one": "1", "two": "2", "three": "3"}
    assert sorted(store.reads) == ["db/login", "shop/one"]


def test_a_source_stands_in_any_settings_class(manager: SecretManager) -> None:
    class Settings(BaseSettings):
        db_password: SecretStr

        @classmethod
        def settings_customise_sources(cls, settings_cls: type[BaseSettings], **sources: Any) -> tuple[Any, ...]:
            own = StrongroomSettingsSource(
                settings_cls, manager, prefix="shop/", rename=lambda name: name.replace("_", "-")
            )
            return (sources["init_settings"], own)

    manager.set("shop/db-password", "s3cret")
    assert Settings().db_password.get_secret_value() == "s3cret"


def test_a_source_answers_for_one_field(manager: SecretManager) -> None:
    class Settings(Shop):
        limits: dict[str, int]
        absent: str = ""

    manager.set("shop/limits", '{"x": 3}')
    source = StrongroomSettingsSource(Settings, manager)
    fields = Settings.model_fields
    assert source.get_field_value(fields["limits"], "limits") == ({"x": 3}, "limits", False)
    assert source.get_field_value(fields["absent"], "absent") == (None, "absent", False)


def test_a_source_shows_its_prefix_and_no_value(manager: SecretManager) -> None:
    class Settings(Shop):
        password: str

    manager.set("shop/password", "s3cret-value")
    source = StrongroomSettingsSource(Settings, manager)
    assert source()["password"] == "s3cret-value"
    assert repr(source) == "StrongroomSettingsSource(prefix='shop/')"
    assert_hidden("s3cret-value", repr(source()) + repr(vars(source)), "the source")


def test_without_a_manager_one_is_opened_and_closed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Settings(Shop):
        password: str

    seed = '{ "shop/password" = { env = "SEED" } }'
    (tmp_path / "strongroom.toml").write_text(f'audit = "none"\n[backends.here]\ntype = "memory"\nseed = {seed}\n')
    monkeypatch.setenv("STRONGROOM_CONFIG", str(tmp_path / "strongroom.toml"))
    monkeypatch.setenv("SEED", "s3cret")
    assert Settings().password == "s3cret"
    monkeypatch.setenv("STRONGROOM_CONFIG", str(tmp_path / "absent.toml"))
    with pytest.raises(ConfigurationError):
        Settings()


@settings(max_examples=40, deadline=None)
@given(
    values=st.dictionaries(NAMES, st.text(st.characters(codec="utf-8"), max_size=20), min_size=1, max_size=5),
    prefix=st.sampled_from(["", "shop/", "a/b/", "x-"]),
    absent=st.integers(min_value=0, max_value=5),
)
def test_whatever_fields_are_called_each_gets_its_own_secret(values: dict[str, str], prefix: str, absent: int) -> None:
    left_out = set(list(values)[:absent])
    fields: dict[str, Any] = dict.fromkeys(values, (str, "default"))
    settings = create_model("Made", __base__=_OnlySecrets, **fields)
    settings.model_config["strongroom_prefix"] = prefix  # type: ignore[typeddict-unknown-key]  # pydantic's own type
    with strongroom.open({"audit": "none", "backends": {"here": {"type": "memory"}}}) as manager, using(manager):
        for name in values.keys() - left_out:
            manager.set(prefix + name, values[name])
        expected = {name: "default" if name in left_out else value for name, value in values.items()}
        assert settings().model_dump() == expected


@settings(max_examples=40, deadline=None)
@given(content=st.recursive(st.integers() | st.text() | st.none() | st.booleans(), st.lists, max_leaves=8))
def test_json_reaches_a_field_as_it_is(content: Any) -> None:
    class Settings(Shop):
        data: dict[str, Any]

    with strongroom.open({"audit": "none", "backends": {"here": {"type": "memory"}}}) as manager, using(manager):
        manager.set("shop/data", json.dumps({"content": content}))
        assert Settings().data == {"content": content}


class _OnlySecrets(SecretSettings):
    """Settings on which the environment of whoever runs the tests has no influence."""

    @classmethod
    def settings_customise_sources(cls, settings_cls: type[BaseSettings], **_sources: Any) -> tuple[Any, ...]:
        return (StrongroomSettingsSource(settings_cls),)

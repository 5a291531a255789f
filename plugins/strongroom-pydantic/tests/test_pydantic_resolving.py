"""References to secrets in the environment, in ``.env`` files and in what other sources give."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pydantic import BaseModel, Field, SecretStr
from pydantic_settings import BaseSettings

import strongroom

from sqlaccess import Held
from strongroom import SecretManager
from strongroom.errors import BackendUnavailableError, InvalidNameError, InvalidValueError, SecretNotFoundError
from strongroom.testing import assert_hidden, report_of
from strongroom_pydantic import ResolvingSettingsSource, SecretSettings, StrongroomConfigDict, using


class Login(BaseModel):
    user: str
    password: SecretStr


class Settings(SecretSettings):
    model_config = StrongroomConfigDict(env_prefix="SHOP_", env_nested_delimiter="__")
    password: SecretStr = SecretStr("default")
    url: str = ""
    hosts: list[str] = Field(default_factory=list)
    db: Login | None = None


@pytest.fixture(autouse=True)
def filled(manager: SecretManager) -> None:
    manager.set("db/password", "s3cret")
    manager.set("db/login", '{"user": "app", "password": "${strongroom://db/password}"}')


def test_a_variable_refers_to_a_secret(manager: SecretManager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_PASSWORD", "strongroom://db/password")
    monkeypatch.setenv("SHOP_URL", "postgresql://${strongroom://db/login#user}:${strongroom://db/password}@host/")
    with using(manager):
        made = Settings()
    assert made.password.get_secret_value() == "s3cret"
    assert made.url == "postgresql://app:s3cret@host/"


def test_a_variable_without_a_reference_stays_as_it_is(manager: SecretManager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_PASSWORD", "vault://db/password")
    with using(manager):
        assert Settings().password.get_secret_value() == "vault://db/password"


def test_a_reference_stands_for_the_json_of_a_model(manager: SecretManager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_DB", "strongroom://db/login")
    with using(manager):
        made = Settings()
    assert made.db is not None
    assert made.db.user == "app"
    # What has been filled in is not looked at again.
    assert made.db.password.get_secret_value() == "${strongroom://db/password}"


def test_a_reference_stands_for_one_member_of_a_model(manager: SecretManager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_DB__USER", "shop")
    monkeypatch.setenv("SHOP_DB__PASSWORD", "strongroom://db/password")
    with using(manager):
        made = Settings()
    assert made.db is not None
    assert (made.db.user, made.db.password.get_secret_value()) == ("shop", "s3cret")


def test_references_in_a_dotenv_file_are_resolved(manager: SecretManager, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text('SHOP_PASSWORD=strongroom://db/login#user\nSHOP_HOSTS=["a", "strongroom://b"]\n')
    with using(manager), pytest.raises(SecretNotFoundError, match="refers to b, and"):
        Settings(_env_file=tmp_path / ".env")
    manager.set("b", "2")
    with using(manager):
        made = Settings(_env_file=tmp_path / ".env")
    assert (made.password.get_secret_value(), made.hosts) == ("app", ["a", "2"])


def test_a_value_with_quotes_stays_one_text_within_json(
    manager: SecretManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager.set("quoted", 'x", "y')
    monkeypatch.setenv("SHOP_HOSTS", '["strongroom://quoted", "a ${strongroom://quoted}"]')
    with using(manager):
        assert Settings().hosts == ['x", "y', 'a x", "y']


def test_an_alias_is_looked_at_too(manager: SecretManager, monkeypatch: pytest.MonkeyPatch) -> None:
    class Aliased(SecretSettings):
        password: str = Field(validation_alias="PGPASSWORD")

    monkeypatch.setenv("PGPASSWORD", "strongroom://db/password")
    with using(manager):
        assert Aliased().password == "s3cret"


def test_variables_of_others_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Held()
    store.put("mine", "s3cret")
    monkeypatch.setenv("SHOP_PASSWORD", "strongroom://mine")
    monkeypatch.setenv("OTHER_PASSWORD", "strongroom://theirs")
    monkeypatch.setenv("SHOP_PASSWORD_OF_OTHERS", "strongroom://theirs")
    with strongroom.open({"audit": "none", "backend": "held"}, backends={"held": store}) as manager, using(manager):
        assert Settings().password.get_secret_value() == "s3cret"
    assert store.reads == ["mine"]


def test_what_a_dotenv_file_says_to_others_is_not_read(tmp_path: Path) -> None:
    class Sharing(Settings):
        model_config = StrongroomConfigDict(extra="ignore")

    store = Held()
    store.put("mine", "s3cret")
    file = tmp_path / ".env"
    file.write_text("SHOP_PASSWORD=strongroom://mine\nSHOP_URL=to ${strongroom://mine}\nOTHER=strongroom://theirs\n")
    with strongroom.open({"audit": "none", "backend": "held"}, backends={"held": store}) as manager, using(manager):
        assert Sharing(_env_file=file).url == "to s3cret"
    assert store.reads == ["mine"]


@pytest.mark.parametrize("text", ["strongroom://absent", "strongroom://db/login#absent"])
def test_what_is_referred_to_and_not_there_is_an_error(
    text: str, manager: SecretManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_PASSWORD", text)
    with using(manager), pytest.raises(SecretNotFoundError):
        Settings()


def test_a_malformed_reference_is_an_error(manager: SecretManager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_URL", "a ${strongroom://db/password without an end")
    with using(manager), pytest.raises(InvalidNameError):
        Settings()


def test_an_outage_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Held()
    store.is_out = True
    monkeypatch.setenv("SHOP_PASSWORD", "strongroom://db/password")
    table = {"audit": "none", "backend": "held"}
    opened = strongroom.open(table, backends={"held": store})
    with opened as manager, using(manager), pytest.raises(BackendUnavailableError):
        Settings()


def test_what_cannot_be_decoded_is_an_error_without_it(manager: SecretManager, monkeypatch: pytest.MonkeyPatch) -> None:
    manager.set("hosts", "s3cret-no-json")
    monkeypatch.setenv("SHOP_HOSTS", "strongroom://hosts")
    with using(manager), pytest.raises(InvalidValueError, match=r"(?i)shop_hosts") as caught:
        Settings()
    assert_hidden("s3cret-no-json", report_of(caught.value, "strongroom_pydantic"), "the error")


def test_what_cannot_be_decoded_and_refers_to_nothing_is_pydantics_own_error(
    manager: SecretManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_HOSTS", "no JSON")
    with using(manager), pytest.raises(ValueError, match="hosts"):
        Settings()


def test_what_any_other_source_gives_is_resolved(manager: SecretManager) -> None:
    class Initial(SecretSettings):
        tree: dict[str, list[str]] = Field(default_factory=dict)
        name: str = "plain"

        @classmethod
        def settings_customise_sources(cls, settings_cls: type[BaseSettings], **sources: Any) -> tuple[Any, ...]:
            return (ResolvingSettingsSource(settings_cls, sources["init_settings"], manager),)

    made = Initial(tree={"a": ["x", "strongroom://db/password"]})
    assert made.tree == {"a": ["x", "s3cret"]}
    assert made.name == "plain"


def test_a_source_answers_for_one_field(manager: SecretManager, monkeypatch: pytest.MonkeyPatch) -> None:
    from pydantic_settings import EnvSettingsSource

    monkeypatch.setenv("SHOP_PASSWORD", "strongroom://db/password")
    source = ResolvingSettingsSource(Settings, EnvSettingsSource(Settings), manager)
    assert source.get_field_value(Settings.model_fields["password"], "password") == ("s3cret", "password", False)
    assert repr(source) == "ResolvingSettingsSource(EnvSettingsSource)"
    assert_hidden("s3cret", repr(source.get_field_value(Settings.model_fields["password"], "password")), "the answer")

"""No value shows in what pydantic refuses."""

from __future__ import annotations

import dataclasses
import logging
import traceback

from collections.abc import Callable
from typing import Annotated, Any, Literal

import pytest

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import (
    BaseModel,
    Field,
    HttpUrl,
    Json,
    PostgresDsn,
    PrivateAttr,
    Secret,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings

import strongroom

from strongroom import SecretManager
from strongroom.testing import assert_hidden, report_of
from strongroom_pydantic import FromSecret, SecretSettings, StrongroomConfigDict, StrongroomSettingsSource, using

VALUE = "hunter2-value"


class Shop(SecretSettings):
    model_config = StrongroomConfigDict(strongroom_prefix="shop/")


class Pet(BaseModel):
    kind: Literal["cat"]


class Dog(BaseModel):
    kind: Literal["dog"]


def shown_by(error: ValidationError) -> str:
    """Return all that an error can be asked for."""
    return "\n".join([report_of(error, "pydantic"), report_of(error), repr(error.errors()), error.json()])


def refusal(made: type[BaseSettings], manager: SecretManager) -> ValidationError:
    with using(manager), pytest.raises(ValidationError) as caught:
        made()
    return caught.value


KINDS: list[Any] = [int, float, bool, Literal["fast"], HttpUrl, Json[int], Annotated[str, Field(max_length=3)]]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_value_of_the_wrong_type_does_not_show(kind: Any, manager: SecretManager) -> None:
    class Settings(Shop):
        field: kind

    manager.set("shop/field", VALUE)
    error = refusal(Settings, manager)
    assert error.error_count() == 1
    assert error.errors()[0]["loc"] == ("field",)
    assert_hidden(VALUE, shown_by(error), "the error")


def test_a_number_within_json_does_not_show(manager: SecretManager) -> None:
    class Settings(Shop):
        pins: dict[str, list[str]]

    manager.set("shop/pins", '{"a": [739281, 73928.125]}')
    error = refusal(Settings, manager)
    assert [one["loc"] for one in error.errors()] == [("pins", "a", 0), ("pins", "a", 1)]
    assert_hidden("73928", shown_by(error), "the error")


def test_the_tag_of_a_union_does_not_show(manager: SecretManager) -> None:
    class Settings(Shop):
        pet: Annotated[Pet | Dog, Field(discriminator="kind")]

    manager.set("shop/pet", f'{{"kind": "{VALUE}"}}')
    assert_hidden(VALUE, shown_by(refusal(Settings, manager)), "the error")


@pytest.mark.parametrize("kind", [ValueError, AssertionError])
def test_a_message_of_a_validator_that_holds_the_value_does_not_show(
    kind: type[Exception], manager: SecretManager
) -> None:
    class Settings(Shop):
        field: SecretStr

        @field_validator("field")
        @classmethod
        def refuse(cls, value: SecretStr) -> SecretStr:
            raise kind(f"{value.get_secret_value()} is not good enough")

    manager.set("shop/field", VALUE)
    error = refusal(Settings, manager)
    assert "with a message that holds a part of it" in str(error)
    assert_hidden(VALUE, shown_by(error), "the error")


@pytest.mark.parametrize("made", [str.upper, str.title, lambda value: value[3:9], lambda value: value[:4] + value[-6:]])
def test_a_message_that_holds_a_part_of_the_value_or_another_case_of_it_does_not_show(
    made: Callable[[str], str], manager: SecretManager
) -> None:
    class Settings(Shop):
        field: str

        @field_validator("field")
        @classmethod
        def refuse(cls, value: str) -> str:
            raise PydanticCustomError("own_type", "{part} is not good enough", {"part": made(value)})

    manager.set("shop/field", VALUE)
    error = refusal(Settings, manager)
    assert "with a message that holds a part of it" in str(error)
    assert_hidden(made(VALUE), shown_by(error), "the error")


def test_settings_that_were_filled_in_before_they_were_refused_do_not_show(manager: SecretManager) -> None:
    class Settings(Shop):
        field: str

        @model_validator(mode="after")
        def refuse(self) -> Settings:
            raise ValueError("not good enough")

    manager.set("shop/field", VALUE)
    frames = traceback.TracebackException.from_exception(refusal(Settings, manager), capture_locals=True).stack
    assert_hidden(VALUE, repr([frame.locals for frame in frames if frame.name == "__init__"]), "the frame")


class Kept(BaseModel):
    password: SecretStr


class Assigned(Shop):
    model_config = StrongroomConfigDict(validate_assignment=True)

    field: str
    kept: Kept
    number: int = 1

    @model_validator(mode="after")
    def refuse(self) -> Assigned:
        if self.number == 2:
            raise ValueError(f"two does not go with {self.kept.password.get_secret_value()}")
        return self


@pytest.mark.parametrize(("name", "value"), [("number", VALUE), ("number", 2), ("field", [VALUE])])
def test_a_field_that_may_not_be_set_so_shows_no_value(name: str, value: object, manager: SecretManager) -> None:
    manager.set("shop/field", VALUE)
    manager.set("shop/kept/password", VALUE)
    with using(manager):
        made = Assigned()
    with pytest.raises(ValidationError) as caught:
        setattr(made, name, value)
    error = caught.value
    frames = traceback.TracebackException.from_exception(error, capture_locals=True).stack
    assert_hidden(VALUE, repr([frame.locals for frame in frames if frame.name == "__setattr__"]), "the frame")
    shown = "\n".join([report_of(error, "pydantic"), str(error), repr(error.errors()), error.json()])
    assert_hidden(VALUE, shown, "the error")


def test_what_an_address_holds_does_not_show_when_another_field_is_set(manager: SecretManager) -> None:
    class Settings(Shop):
        model_config = StrongroomConfigDict(validate_assignment=True)

        dsn: PostgresDsn
        number: int = 1
        other: object = None

        @model_validator(mode="after")
        def refuse(self) -> Settings:
            if self.number == 2:
                raise ValueError(f"two does not go with {self.dsn}")
            return self

    manager.set("shop/dsn", f"postgresql://shop:{VALUE}@db.example.com/shop")
    with using(manager):
        made = Settings()
    # Settings may hold each other.
    made.other = made
    with pytest.raises(ValidationError) as caught:
        made.number = 2
    assert_hidden(VALUE, str(caught.value) + repr(caught.value.errors()), "the error")


@dataclasses.dataclass
class Login:
    user: str
    password: SecretStr


class Mute:
    def __str__(self) -> str:
        raise RuntimeError("it does not say what it is")


class Holding(Shop):
    model_config = StrongroomConfigDict(validate_assignment=True)

    pin: Secret[int]
    plain: int
    rate: float
    login: Login
    number: int = 12
    _token: str = "private-token"
    _mute: Mute = PrivateAttr(default_factory=Mute)

    @model_validator(mode="after")
    def refuse(self) -> Holding:
        told = {
            13: self.pin.get_secret_value(),
            14: self.plain,
            15: self.rate,
            16: self.login.password.get_secret_value(),
            17: self._token,
            18: "an object that is known",
        }
        if self.number in told:
            raise ValueError(f"{self.number} does not go with {told[self.number]}")
        return self


@pytest.fixture
def holding(manager: SecretManager) -> Holding:
    manager.set("shop/pin", "739")
    manager.set("shop/plain", "739281")
    manager.set("shop/rate", "0.73928125")
    manager.set("shop/login", f'{{"user": "app", "password": "{VALUE}"}}')
    with using(manager):
        return Holding()


@pytest.mark.parametrize(
    ("number", "value"), [(13, "739"), (14, "739281"), (15, "0.73928125"), (16, VALUE), (17, "private-token")]
)
def test_whatever_holds_a_value_it_does_not_show_when_another_field_is_set(
    number: int, value: str, holding: Holding
) -> None:
    with pytest.raises(ValidationError) as caught:
        holding.number = number
    assert_hidden(value, shown_by(caught.value), "the error")


def test_neither_small_numbers_nor_objects_keep_a_message_from_being_shown(holding: Holding) -> None:
    with pytest.raises(ValidationError) as caught:
        holding.number = 18
    assert caught.value.errors()[0]["msg"] == "Value error, 18 does not go with an object that is known"


def test_a_field_of_frozen_settings_is_refused_without_the_value(manager: SecretManager) -> None:
    class Settings(Shop):
        model_config = StrongroomConfigDict(frozen=True)

        field: str

    manager.set("shop/field", "as it was")
    with using(manager):
        made = Settings()
    with pytest.raises(ValidationError) as caught:
        made.field = VALUE  # type: ignore[misc]  # it is frozen
    assert_hidden(VALUE, str(caught.value) + repr(caught.value.errors()), "the error")
    assert made.field == "as it was"


def test_a_field_can_be_set_where_pydantic_lets_it(manager: SecretManager) -> None:
    manager.set("shop/field", VALUE)
    manager.set("shop/kept/password", VALUE)
    with using(manager):
        made = Assigned()
    made.number = 3
    made.kept = Kept(password=SecretStr("another one"))
    assert (made.number, made.kept.password.get_secret_value()) == (3, "another one")


def test_any_other_message_stays(manager: SecretManager) -> None:
    class Settings(Shop):
        one: str
        two: str

        @field_validator("one")
        @classmethod
        def refuse_one(cls, value: str) -> str:
            raise ValueError("too weak {value}")

        @field_validator("two")
        @classmethod
        def refuse_two(cls, value: str) -> str:
            raise PydanticCustomError("own_type", "{length} characters are too few", {"length": len(value)})

    manager.set("shop/one", VALUE)
    manager.set("shop/two", VALUE)
    found = {one["type"]: one["msg"] for one in refusal(Settings, manager).errors()}
    assert found == {"value_error": "Value error, too weak {value}", "own_type": "13 characters are too few"}


def test_a_missing_field_says_which_secret_there_is_not(manager: SecretManager) -> None:
    class Settings(Shop):
        field: SecretStr
        other: Annotated[SecretStr, FromSecret("db/other")]

    manager.set("shop/field", VALUE)
    error = refusal(Settings, manager)
    assert [(one["type"], one["loc"]) for one in error.errors()] == [("missing", ("other",))]
    assert error.__notes__ == ["strongroom: there is no secret db/other"]
    assert_hidden(VALUE, shown_by(error), "the error")


def test_a_class_of_its_own_does_not_print_values_either(manager: SecretManager) -> None:
    class Settings(BaseSettings):
        port: int
        limits: dict[str, str]
        data: int

        @classmethod
        def settings_customise_sources(cls, settings_cls: type[BaseSettings], **_sources: Any) -> tuple[Any, ...]:
            return (StrongroomSettingsSource(settings_cls, manager, prefix="shop/"),)

    manager.set("shop/port", VALUE)
    manager.set("shop/limits", '{"a": 739281}')
    manager.set("shop/data", VALUE.encode())
    error = refusal(Settings, manager)
    assert error.error_count() == 3
    for value in (VALUE, "739281"):
        assert_hidden(value, "".join([str(error), repr(error), report_of(error, "pydantic_settings")]), "the error")


def test_pydantics_own_debugging_shows_no_value(
    manager: SecretManager, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Settings(Shop):
        field: SecretStr

    manager.set("shop/field", VALUE)
    monkeypatch.setenv("PYDANTIC_SETTINGS_DEBUG", "1")
    with caplog.at_level(logging.DEBUG), using(manager):
        assert Settings().field.get_secret_value() == VALUE
    assert_hidden(VALUE, caplog.text, "the log")


class Refusing(Shop):
    field: Literal["fast"]
    other: str

    @field_validator("other")
    @classmethod
    def refuse(cls, given: str) -> str:
        raise ValueError(f"not {given!r}, and not {given}")


@settings(max_examples=40, deadline=None)
@given(text=st.text(st.characters(codec="utf-8"), max_size=40))
def test_whatever_the_value_is_a_refusal_does_not_hold_it(text: str) -> None:
    value = f"s3cr3t:{text}"
    with strongroom.open({"audit": "none", "backends": {"here": {"type": "memory"}}}) as manager:
        manager.set("shop/field", value)
        manager.set("shop/other", value)
        error = refusal(Refusing, manager)
    assert error.error_count() == 2
    shown = str(error) + repr(error.errors()) + error.json()
    assert value not in shown
    assert repr(value)[1:-1] not in shown

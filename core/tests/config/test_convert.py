"""A table becomes a settings object, or an error that helps and shows no value."""

from __future__ import annotations

import enum

from pathlib import Path
from typing import Any, Literal

import attrs
import pytest

from strongroom.config.convert import Place, convert, suggestion
from strongroom.contracts import FilePath, KeySource, Record, Seconds, Size
from strongroom.errors import ConfigurationError, StrongroomError
from strongroom.model import SecretValue
from strongroom.testing import report_of


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Login(Record):
    method: str
    tries: int = 3
    token: SecretValue | None = None
    folder: FilePath | None = None


class Settings(Record):
    address: str
    port: int = 8200
    ratio: float = 0.5
    verify: bool = True
    timeout: Seconds = 30.0
    limit: Size | None = None
    file: FilePath | None = None
    key: KeySource | None = None
    token: SecretValue | None = None
    colour: Colour = Colour.RED
    hosts: tuple[str, ...] = ()
    labels: dict[str, int] | None = None
    login: Login | None = None


PLACE = Place(file="/conf/strongroom.toml", table="backends.b", folder="/conf")


def made(place: Place = PLACE, text_origin: tuple[str, ...] = (), **table: Any) -> Settings:
    return convert(Settings, {"address": "a"} | table, place, text_origin=text_origin)


def test_every_type_takes_its_values(tmp_path: Path) -> None:
    settings = made(
        port=1,
        ratio=2,
        verify=False,
        timeout="5m",
        limit="64KiB",
        file="data/x.db",
        token="s3cret",
        colour="blue",
        hosts=["a", "b"],
        labels={"x": 1},
        login={"method": "token", "token": "t", "folder": "sub"},
    )
    assert (settings.port, settings.ratio, settings.verify) == (1, 2.0, False)
    assert type(settings.ratio) is float
    assert (settings.timeout, settings.limit, settings.file) == (300.0, 65536, "/conf/data/x.db")
    assert (settings.token, settings.colour) == (SecretValue("s3cret"), Colour.BLUE)
    assert (settings.hosts, settings.labels) == (("a", "b"), {"x": 1})
    assert settings.login == Login(method="token", token=SecretValue("t"), folder="/conf/sub")


def test_an_attrs_class_serves_as_well() -> None:
    @attrs.frozen(kw_only=True)
    class Acme:
        address: str
        port: int = 1

    assert convert(Acme, {"address": "a"}, PLACE) == Acme(address="a")
    with pytest.raises(ConfigurationError, match=r"address in .* is missing"):
        convert(Acme, {}, PLACE)


@pytest.mark.parametrize(
    ("table", "where", "hint"),
    [
        ({"adress": "x"}, "backends.b.adress in /conf/strongroom.toml is not a setting", "did you mean 'address'?"),
        ({"zzz": "x"}, "backends.b.zzz in /conf/strongroom.toml is not a setting", "known here: address"),
        ({"port": "s3cret"}, "backends.b.port in /conf/strongroom.toml is not usable", "expected a whole number"),
        ({"port": True}, "backends.b.port", "expected a whole number"),
        ({"port": 1.5}, "backends.b.port", "expected a whole number"),
        ({"ratio": "s3cret"}, "backends.b.ratio", "expected a number"),
        ({"verify": 1}, "backends.b.verify", "expected true or false"),
        ({"address": ["s3cret"]}, "backends.b.address", "expected a text"),
        ({"timeout": "s3cret"}, "backends.b.timeout", "expected a duration"),
        ({"timeout": 30}, "backends.b.timeout", "expected a duration"),
        ({"limit": "s3cret"}, "backends.b.limit", "expected a size"),
        ({"file": 7}, "backends.b.file", "expected a path as text"),
        ({"file": ""}, "backends.b.file", "expected a path as text"),
        ({"colour": "s3cret"}, "backends.b.colour", "expected one of 'red', 'blue'"),
        ({"colour": ["s3cret"]}, "backends.b.colour", "expected one of 'red', 'blue'"),
        ({"hosts": "s3cret"}, "backends.b.hosts", "expected a list of a text"),
        ({"hosts": [7]}, "backends.b.hosts", "expected a text"),
        ({"labels": "s3cret"}, "backends.b.labels", "expected a table"),
        ({"labels": {"x": "s3cret"}}, "'x' of backends.b.labels", "expected a whole number"),
        ({"key": 5453637265740}, "backends.b.key", "expected {env"),
        ({"token": ["s3cret"]}, "backends.b.token", "expected {env"),
        ({"token": {"envv": "s3cret"}}, "backends.b.token", "expected {env"),
        ({"login": "s3cret"}, "backends.b.login", "expected a table"),
        ({"login": {}}, "backends.b.login.method in /conf/strongroom.toml is missing", "expected a text"),
        ({"login": {"method": "m", "tires": 1}}, "backends.b.login.tires", "did you mean 'tries'?"),
    ],
    ids=repr,
)
def test_a_wrong_value_names_file_table_and_key_and_is_not_repeated(
    table: dict[str, Any], where: str, hint: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        made(**table)
    assert where in caught.value.what
    assert hint in caught.value.hint
    report = report_of(caught.value)
    assert "s3cret" not in report.replace(repr(table), "")
    assert "5453637265740" not in report


def test_a_missing_key_says_what_was_expected() -> None:
    with pytest.raises(
        ConfigurationError, match=r"backends\.b\.address in /conf/strongroom\.toml is missing"
    ) as caught:
        convert(Settings, {}, PLACE)
    assert caught.value.hint == "expected a text"


def test_a_settings_class_may_have_rules_of_its_own() -> None:
    class Ruled(Record):
        low: int
        high: int

        def problems(self) -> list[str]:
            return ["low is above high"] if self.low > self.high else []

    assert convert(Ruled, {"low": 1, "high": 2}, PLACE).high == 2
    with pytest.raises(ConfigurationError, match=r"backends.b in /conf/strongroom\.toml: low is above high"):
        convert(Ruled, {"low": 3, "high": 2}, PLACE)


class Chosen(Record):
    mode: Literal["fast", "safe"] = "safe"
    level: Literal["none", 1, 2, True] | None = None
    steps: list[Literal["apply", "undo"]] | None = None


class TestChoices:
    """A setting that takes some words only."""

    @pytest.mark.parametrize(("key", "value"), [("mode", "fast"), ("level", 1), ("level", True), ("steps", ["undo"])])
    def test_each_choice_is_taken_as_it_is(self, key: str, value: Any) -> None:
        found = getattr(convert(Chosen, {key: value}, PLACE), key)
        assert (found, type(found)) == (value, type(value))

    @pytest.mark.parametrize(
        ("key", "value", "hint"),
        [
            ("mode", "s3cret", "expected one of 'fast', 'safe'"),
            ("mode", "'fast'", "expected one of 'fast', 'safe'"),
            ("mode", ["fast"], "expected one of 'fast', 'safe'"),
            ("level", False, "expected one of 'none', 1, 2, true"),
            ("level", "1", "expected one of 'none', 1, 2, true"),
            ("steps", ["finish"], "expected one of 'apply', 'undo'"),
            ("steps", "apply", "expected a list of one of 'apply', 'undo'"),
        ],
    )
    def test_any_other_is_refused_and_the_choices_are_named(self, key: str, value: Any, hint: str) -> None:
        with pytest.raises(ConfigurationError, match=rf"backends\.b\.{key} in /conf/strongroom\.toml") as caught:
            convert(Chosen, {key: value}, PLACE)
        assert caught.value.hint == hint
        assert "s3cret" not in report_of(caught.value)

    @pytest.mark.parametrize(
        ("key", "text", "value"),
        [("mode", "fast", "fast"), ("level", "none", "none"), ("level", "2", 2), ("level", "true", True)],
    )
    def test_text_of_a_variable_stands_for_a_choice(
        self, key: str, text: str, value: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("X_CHOICE", text)
        for given, origin in ((text, (key,)), ({"env": "X_CHOICE"}, ())):
            found = getattr(convert(Chosen, {key: given}, PLACE, text_origin=origin), key)
            assert (found, type(found)) == (value, type(value))

    def test_quoted_text_of_a_variable_is_no_choice(self) -> None:
        with pytest.raises(ConfigurationError, match="mode"):
            convert(Chosen, {"mode": "'fast'"}, PLACE, text_origin=("mode",))

    def test_one_that_is_missing_is_named_with_its_choices(self) -> None:
        class Needed(Record):
            mode: Literal["fast", "safe"]

        with pytest.raises(ConfigurationError, match="mode") as caught:
            convert(Needed, {}, PLACE)
        assert caught.value.hint == "expected one of 'fast', 'safe'"


class TestReferences:
    """A reference may stand for any single value."""

    def test_each_type_is_read_from_the_variable_as_from_the_file(self, monkeypatch: pytest.MonkeyPatch) -> None:
        texts = {
            "port": "7",
            "ratio": "0.25",
            "verify": "off",
            "timeout": "5m",
            "limit": "1KiB",
            "file": "x",
            "colour": "blue",
        }
        for key, text in texts.items():
            monkeypatch.setenv(f"X_{key}", text)
        settings = made(**{key: {"env": f"X_{key}"} for key in texts})
        assert (settings.port, settings.ratio, settings.verify) == (7, 0.25, False)
        assert (settings.timeout, settings.limit, settings.file) == (300.0, 1024, "/conf/x")
        assert settings.colour is Colour.BLUE

    def test_a_final_line_feed_of_a_file_is_not_part_of_a_text(self, tmp_path: Path) -> None:
        (tmp_path / "f").write_bytes(b"abc\n\n")
        place = PLACE.replace(folder=str(tmp_path))
        assert made(place, address={"file": "f"}).address == "abc\n"

    def test_a_secret_is_exact(self, tmp_path: Path) -> None:
        (tmp_path / "f").write_bytes(b"abc\n\xff%(x)s\n")
        place = PLACE.replace(folder=str(tmp_path))
        settings = made(place, token={"file": "f"}, key={"file": "f"})
        assert settings.token is not None
        assert settings.key is not None
        assert settings.token.reveal() == settings.key.read().reveal() == b"abc\n\xff%(x)s\n"

    def test_a_key_source_is_read_when_it_is_used(self, monkeypatch: pytest.MonkeyPatch) -> None:
        source = made(key={"env": "X_LATER"}).key
        assert source is not None
        with pytest.raises(ConfigurationError, match=r"backends\.b\.key in .* refers to the variable X_LATER"):
            source.read()
        monkeypatch.setenv("X_LATER", "v")
        assert source.read().reveal() == b"v"

    @pytest.mark.parametrize("key", ["address", "port", "timeout", "verify"])
    def test_what_it_leads_to_is_not_repeated_if_it_does_not_fit(self, key: str, tmp_path: Path) -> None:
        (tmp_path / "f").write_bytes(b"s3cret\xff" if key == "address" else b"s3cret")
        with pytest.raises(StrongroomError, match=f"backends.b.{key} in /conf/strongroom.toml is not usable") as caught:
            made(PLACE.replace(folder=str(tmp_path)), **{key: {"file": "f"}})
        assert isinstance(caught.value, ConfigurationError)
        assert "s3cret" not in report_of(caught.value)


class TestOrigins:
    """A key that another file or a variable gives."""

    PLACE = Place(
        file="/conf/strongroom.toml",
        table="backends.b",
        folder="/conf",
        elsewhere={"file": ("/other/o.toml", "/other")},
    )

    def test_a_path_is_relative_to_the_file_that_declares_it(self) -> None:
        settings = made(self.PLACE, file="x", key={"file": "k"}, login={"method": "m", "folder": "sub"})
        assert settings.file == "/other/x"
        assert settings.key is not None
        assert settings.key.path == "/conf/k"
        assert settings.login is not None
        assert settings.login.folder == "/conf/sub"

    def test_an_error_names_the_file_that_declares_the_key(self) -> None:
        with pytest.raises(ConfigurationError, match=r"backends\.b\.file in /other/o\.toml is not usable"):
            made(self.PLACE, file=7)
        with pytest.raises(ConfigurationError, match=r"backends\.b\.port in /conf/strongroom\.toml is not usable"):
            made(self.PLACE, port="x")

    def test_only_text_from_a_variable_stands_for_a_number(self) -> None:
        assert made(text_origin=("port", "verify"), port="7", verify="YES").port == 7
        with pytest.raises(ConfigurationError, match="port"):
            made(port="7")
        with pytest.raises(ConfigurationError, match="verify") as caught:
            made(text_origin=("verify",), verify="maybe")
        assert caught.value.hint == "expected true or false"


def test_a_suggestion_is_made_only_if_something_is_close() -> None:
    assert suggestion("ttll", ["ttl", "jitter"]) == "did you mean 'ttl'?"
    assert suggestion("xyz", ["ttl", "jitter"]) == "known here: jitter, ttl"
    assert suggestion("xyz", []) == "known here: none"

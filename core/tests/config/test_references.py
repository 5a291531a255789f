"""Where a setting's secret comes from instead of standing in the file."""

from __future__ import annotations

import os

from pathlib import Path

import pytest

from strongroom.cli.keyfile import KeyFile
from strongroom.config.references import is_reference, make_source
from strongroom.errors import ConfigurationError
from strongroom.model import SecretValue

HARD = [b"", b"\n", b"plain", b"ends\n", b"%s %(x)s $HOME ${x} `id`", b"\xff\x80", "caf\u00e9".encode()]


@pytest.mark.parametrize("content", HARD, ids=repr)
def test_each_kind_gives_the_exact_bytes(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "f").write_bytes(content)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    os.environb[b"X_REFERRED"] = content
    try:
        for kind, target in (("env", "X_REFERRED"), ("file", "f"), ("credential", "f")):
            source = make_source({kind: target}, folder=str(tmp_path), where="here")
            assert source.read().reveal() == content
    finally:
        del os.environb[b"X_REFERRED"]


def test_a_text_in_the_file_stands_for_itself() -> None:
    source = make_source("%(x)s $HOME", folder="", where="backends.b.token in f")
    assert source.read() == SecretValue("%(x)s $HOME")
    assert source.describe() == "backends.b.token in f, in the configuration file itself"
    assert "HOME" not in repr(source)


def test_a_source_tells_where_it_leads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials/x")
    variable = make_source({"env": "X"}, folder="/conf", where="here")
    file = make_source({"file": "keys/k"}, folder="/conf", where="here")
    credential = make_source({"credential": "db"}, folder="/conf", where="here")
    assert (variable.variable, variable.path, variable.describe()) == ("X", None, "the variable X")
    assert (file.variable, file.path, file.describe()) == (None, "/conf/keys/k", "the file /conf/keys/k")
    assert (credential.path, credential.describe()) == ("/run/credentials/x/db", "the systemd credential db")


def test_a_file_is_relative_to_the_folder_of_its_declaration_unless_it_is_absolute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", "/home/u")
    assert make_source({"file": "/k"}, folder="/conf", where="here").path == "/k"
    assert make_source({"file": "~/k"}, folder="/conf", where="here").path == "/home/u/k"
    assert make_source({"file": "../k"}, folder="/conf", where="here").path == "/k"


def test_a_source_is_read_anew_each_time(tmp_path: Path) -> None:
    source = make_source({"file": "k"}, folder=str(tmp_path), where="here")
    for content in (b"1", b"2"):
        (tmp_path / "k").write_bytes(content)
        assert source.read().reveal() == content


def test_a_key_that_waits_beside_a_file_is_seen_also_behind_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    sources = [make_source({"file": name}, folder=str(tmp_path), where="here") for name in ("real", "link")]
    assert [source.is_changing() for source in sources] == [False, False]
    key = KeyFile(str(tmp_path / "link"))
    key.prepare()
    assert [source.is_changing() for source in sources] == [True, True]
    key.exchange()
    assert [source.is_changing() for source in sources] == [False, False]


def test_only_a_file_has_a_place_where_another_key_can_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("X", "value")
    assert not make_source({"env": "X"}, folder="/conf", where="here").is_changing()
    assert not make_source("plain", folder="/conf", where="here").is_changing()


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ({"env": "X_ABSENT"}, "here refers to the variable X_ABSENT, which is not set"),
        ({"file": "absent"}, r"here refers to the file .*/absent, which cannot be read: No such file"),
        ({"credential": "absent"}, r"which cannot be read: No such file"),
    ],
)
def test_what_is_not_there_names_the_setting_and_the_place(
    reference: dict[str, str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    with pytest.raises(ConfigurationError, match=message):
        make_source(reference, folder=str(tmp_path), where="here").read()


def test_a_credential_outside_a_service_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(ConfigurationError, match="CREDENTIALS_DIRECTORY is not set") as caught:
        make_source({"credential": "db"}, folder="", where="here").read()
    assert "LoadCredential=db:PATH" in caught.value.hint


@pytest.mark.parametrize("name", ["../db", "a/b", ".", ".."])
def test_a_credential_s_name_leads_nowhere_else(name: str) -> None:
    with pytest.raises(ConfigurationError, match="is not a credential's name"):
        make_source({"credential": name}, folder="", where="here")


@pytest.mark.parametrize(
    "value", [12345678, None, [], {}, {"env": ""}, {"env": 7}, {"enf": "X"}, {"env": "X", "file": "s3cret"}, b"s3cret"]
)
def test_what_is_no_reference_is_refused_without_being_repeated(value: object) -> None:
    with pytest.raises(ConfigurationError, match="here is not a reference") as caught:
        make_source(value, folder="", where="here")
    assert "s3cret" not in str(caught.value)
    assert "12345678" not in str(caught.value)


def test_only_a_table_with_one_known_key_is_a_reference() -> None:
    assert all(is_reference({kind: "x"}) for kind in ("env", "file", "credential"))
    assert not any(map(is_reference, ["env", {}, {"path": "x"}, {"env": "x", "file": "y"}, None]))

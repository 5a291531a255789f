"""`config`: what is in force, where it came from, and never a secret."""

from __future__ import annotations

import base64

from typing import Any

import pytest

MARKER = "zq7-marker-3f9d41c2b8e6-aB9xK2mQ7wL4"
SINK = '[[audit]]\ntype = "notebook"\npath = "trail.txt"\n'


def settings(done: Any) -> dict[str, tuple[Any, str]]:
    return {line["setting"]: (line["value"], line["source"]) for line in done.json["settings"]}


def test_each_setting_is_shown_with_its_origin(desk: Any) -> None:
    (desk.folder / "strongroom.local.toml").write_text('[cache]\nttl = "5s"\n')
    done = desk("config", "--json", STRONGROOM_BACKENDS__MAIN__RETRIES="7")
    shown = settings(done)
    file, overlay = desk.folder / "strongroom.toml", desk.folder / "strongroom.local.toml"
    assert shown["backends.main.type"] == ("moody", str(file))
    assert shown["cache.ttl"] == ("5s", str(overlay))
    assert shown["backends.main.retries"] == ("7", "<environment> STRONGROOM_BACKENDS__MAIN__RETRIES")
    assert shown["audit[1].path"] == ("trail.txt", str(file))
    assert shown["principal"][1] == "<operating system>"
    assert (done.status, done.stderr, done.json["problems"]) == (0, "", [])


def test_what_is_not_given_is_shown_with_its_default(desk: Any) -> None:
    shown = settings(desk("config", "--json"))
    assert shown["backends.main.retries"] == (3, "<default>")
    assert shown["cache.ttl"] == ("300s", "<default>")
    assert shown["backends.main.password"] == (None, "<default>")


def test_the_files_that_were_considered_are_named(desk: Any) -> None:
    config = desk.folder / "home/.config/strongroom/strongroom.toml"
    config.parent.mkdir(parents=True)
    config.write_text(f'locked = ["audit"]\n{SINK}')
    files = desk("config", "--json").json["files"]
    assert files[str(desk.folder / "strongroom.toml")] == "in force"
    assert files[str(desk.folder / "strongroom.local.toml")] == "not there"
    assert files[str(config)] == "in force, locks audit"
    below = desk.folder / "a/b"
    below.mkdir(parents=True)
    (below / "strongroom.toml").write_text(f'[backends.m]\ntype = "memory"\n{SINK}')
    named = desk("--config", "a/b/strongroom.toml", "config", "--json").json["files"]
    assert named[str(below / "strongroom.toml")] == "in force, named by --config"


SECRETS = f"""
[backends.main]
type = "moody"
password = "{MARKER}"
key = "{MARKER}"
old_keys = {{ first = "{MARKER}" }}
token = "{MARKER}"
address = "https://user:{MARKER}@example.com/path"

[backends.unknown]
type = "nowhere-to-be-found"
password = "{MARKER}"
tokens = {{ prod = "{MARKER}", others = ["{MARKER}"] }}
api_key = "{MARKER}"
auth = {{ method = "approle", secret_id = "{MARKER}" }}

[backends.seeded]
type = "memory"
seed = {{ "db/password" = "{MARKER}" }}

[telemetry]
key = "{MARKER}"
"""


def forms(marker: str) -> set[str]:
    raw = marker.encode()
    return {marker, raw.hex(), base64.b64encode(raw).decode(), marker[::-1]}


@pytest.mark.parametrize("options", [["config"], ["config", "--json"], ["doctor"], ["doctor", "--json"], ["health"]])
def test_no_secret_of_the_configuration_is_shown(desk: Any, options: list[str]) -> None:
    desk.configure('backend = "main"\n' + SECRETS + SINK)
    done = desk(*options, STRONGROOM_BACKENDS__MAIN__PASSWORD=MARKER, MARKER=MARKER)
    assert not [form for form in forms(MARKER) if form in done.stdout + done.stderr]


def test_what_is_secret_is_hidden_and_the_rest_is_not(desk: Any) -> None:
    desk.configure('backend = "main"\n' + SECRETS + SINK)
    shown = {setting: value for setting, (value, _) in settings(desk("config", "--json")).items()}
    for key in ("main.password", "main.key", "main.token", "unknown.password", "unknown.api_key"):
        assert shown[f"backends.{key}"] == "<hidden>"
    assert shown["backends.main.old_keys"] == {"first": "<hidden>"}
    assert shown["backends.main.address"] == "https://<hidden>@example.com/path"
    assert shown["backends.unknown.auth"] == {"method": "approle", "secret_id": "<hidden>"}
    assert shown["backends.unknown.tokens"] == {"prod": "<hidden>", "others": ["<hidden>"]}
    assert shown["backends.seeded.seed"] == {"db/password": "<hidden>"}
    assert shown["telemetry.key"] == "<hidden>"


def test_references_are_shown_as_they_stand(desk: Any) -> None:
    desk.configure(
        '[backends.main]\ntype = "moody"\npassword = { env = "MY_PASSWORD" }\nkey = { file = "my.key" }\n'
        'ca = "ca.pem"\n' + SINK
    )
    lines = desk("config", MY_PASSWORD=MARKER).lines
    shown = {line.split()[0]: line for line in lines if line}
    assert '{env = "MY_PASSWORD"}' in shown["backends.main.password"]
    assert '{file = "my.key"}' in shown["backends.main.key"]
    assert '"ca.pem"' in shown["backends.main.ca"]


def test_settings_that_do_not_fit_their_plugin_are_reported_after_all_else(desk: Any) -> None:
    desk.configure('[backends.main]\ntype = "moody"\nretries = "many"\n[cache]\ntll = "5s"\n' + SINK)
    done = desk("config")
    assert done.status == 2
    assert "backends.main.retries" in done.stdout
    first, second = done.stderr.splitlines()
    assert "backends.main.retries" in first
    assert "a whole number" in first
    assert "did you mean 'ttl'?" in second
    assert len(desk("config", "--json").json["problems"]) == 2


def test_the_schema_describes_what_installed_plugins_take(desk: Any) -> None:
    done = desk("config", "--schema")
    assert (done.status, done.stderr) == (0, "")
    schema = done.json
    assert schema["$schema"] == "http://json-schema.org/draft-07/schema#"
    backends = schema["properties"]["backends"]["additionalProperties"]["anyOf"]
    (moody,) = [table for table in backends if table["properties"]["type"] == {"const": "moody"}]
    reference = {"$ref": "#/definitions/reference"}
    assert moody["properties"]["retries"] == {"anyOf": [{"type": "integer"}, reference]}
    assert moody["properties"]["key"] == {"anyOf": [reference, {"type": "string"}]}
    assert moody["properties"]["old_keys"]["additionalProperties"] == {"anyOf": [reference, {"type": "string"}]}
    assert (moody["required"], moody["additionalProperties"]) == (["type"], False)
    sinks = schema["properties"]["audit"]["anyOf"][1]["items"]["anyOf"]
    (notebook,) = [table for table in sinks if table["properties"]["type"] == {"const": "notebook"}]
    assert notebook["required"] == ["type", "path"]
    assert {"required", "immediate", "path"} <= notebook["properties"].keys()


def test_the_schema_needs_no_configuration(desk: Any) -> None:
    (desk.folder / "strongroom.toml").unlink()
    assert desk("config", "--schema").status == 0


@pytest.mark.parametrize("section", ["alerts", "announcements"])
def test_of_a_table_of_who_is_told_only_the_secret_is_hidden(desk: Any, section: str) -> None:
    table = f'[[{section}]]\ntype = "webhook"\nurl = "https://example.com/hook"\nsecret = "{MARKER}"\n'
    (desk.folder / "strongroom.local.toml").write_text(f'state = "main"\n{table}')
    done = desk("config", "--json")
    shown = settings(done)
    assert (done.status, done.json["problems"]) == (0, [])
    assert shown[f"{section}[1].url"][0] == "https://example.com/hook"
    assert shown[f"{section}[1].secret"][0] == "<hidden>"
    assert shown["state"][0] == "main"
    assert MARKER not in done.stdout


ROTATION = """
[rotation."db/*"]
every = "90d"
window = "Sun 02:00-04:00"
encoding = "hex"

[rotation."app/*"]
rotator = "keyed"
admin = "{MARKER}"
user = {{ env = "ADMIN" }}
"""
KEYED = """
from strongroom.contracts import Record
from strongroom.contracts.rotation import RotatorSpec
from strongroom.hookspecs import hookimpl
from strongroom.model import SecretValue

class Settings(Record):
    admin: SecretValue
    user: str = "admin"
    retries: int = 3

@hookimpl
def strongroom_rotators():
    # No command of these tests opens it.
    yield RotatorSpec(name="keyed", summary="Has a key.", settings=Settings, open=Settings)
"""


@pytest.fixture
def rotating(desk: Any) -> Any:
    """A folder whose configuration has rules, one of them with a rotator that has a secret of its own."""
    site = desk.folder.parent / "site"
    (site / "keyed_rotators.py").write_text(KEYED)
    info = site / "keyed_rotators-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: keyed-rotators\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[strongroom.rotators]\nkeyed = keyed_rotators\n")
    (desk.folder / "strongroom.local.toml").write_text(ROTATION.format(MARKER=MARKER))
    return desk


def test_of_a_rotation_s_table_only_the_secret_is_hidden(rotating: Any) -> None:
    done = rotating("config", "--json", ADMIN="somebody")
    assert (done.status, done.json["problems"]) == (0, [])
    shown = {setting: value for setting, (value, _) in settings(done).items()}
    assert (shown["rotation.db/*.window"], shown["rotation.db/*.size"]) == ("Sun 02:00-04:00", 32)
    assert (shown["rotation.app/*.admin"], shown["rotation.app/*.retries"]) == ("<hidden>", 3)
    assert shown["rotation.app/*.user"] == {"env": "ADMIN"}
    for options in (["config"], ["doctor"], ["doctor", "--json"]):
        said = rotating(*options, ADMIN="somebody")
        assert not [form for form in forms(MARKER) if form in said.stdout + said.stderr]


def test_settings_that_do_not_fit_a_rotator_are_reported(rotating: Any) -> None:
    (rotating.folder / "strongroom.local.toml").write_text('[rotation."db/*"]\nencodign = "hex"\n')
    done = rotating("config")
    assert done.status == 2
    assert "rotation.db/*.encodign" in done.stderr
    assert "did you mean 'encoding'?" in done.stderr
    assert "encodign" in rotating("doctor").stdout


def test_the_schema_describes_rotations(rotating: Any) -> None:
    tables = rotating("config", "--schema").json["properties"]["rotation"]["additionalProperties"]["anyOf"]
    found = {table["properties"]["rotator"]["const"]: table for table in tables}
    assert (found["random"]["required"], found["keyed"]["required"]) == ([], ["rotator", "admin"])
    assert {"every", "window", "size", "encoding"} <= found["random"]["properties"].keys()
    assert {"every", "window", "admin"} <= found["keyed"]["properties"].keys()


def test_the_schema_describes_announcements(desk: Any) -> None:
    tables = desk("config", "--schema").json["properties"]["announcements"]["items"]["anyOf"]
    assert [table["properties"]["type"] for table in tables] == [{"const": "command"}, {"const": "webhook"}]
    for table in tables:
        assert "rotation_failed" in table["properties"]["events"]["items"]["enum"]
        assert {"names", "timeout"} <= table["properties"].keys()


def test_the_schema_describes_alerts_and_what_stands_at_the_top(desk: Any) -> None:
    properties = desk("config", "--schema").json["properties"]
    command, webhook = properties["alerts"]["items"]["anyOf"]
    assert (command["properties"]["type"], webhook["properties"]["type"]) == (
        {"const": "command"},
        {"const": "webhook"},
    )
    assert sorted(command["required"]) == ["command", "type"]
    assert sorted(webhook["required"]) == ["secret", "type", "url"]
    assert {"timeout", "detectors", "only_blocked"} <= command["properties"].keys() & webhook["properties"].keys()
    assert (properties["state"], properties["lock_memory"]) == ({"type": "string"}, {"type": "boolean"})
    assert "state_every" in properties

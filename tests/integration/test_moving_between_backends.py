"""Copies between real backends: the local store, OpenBao, an emulator of AWS, and variables of the environment."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

import strongroom

from awsclient import ACCESS_KEY, REGION, SECRET_KEY
from commandline import Cli, Finished, clean_environment
from moto_server import emulator
from openbao import Server, development_server

MARKER = "zq7-marker-3f9d41c2b8e6-aB9xK2mQ7wL4"
AWAY: Final = {"BAO_PROXY_ADDR": "http://127.0.0.1:9"}
"""Nothing listens there, so whatever goes through it meets an outage."""

CONFIGURATION = """
backend = "local"

[backends.local]
type = "local"
path = "secrets.db"
master_key = {{ file = "master.key" }}

[backends.second]
type = "local"
path = "second/secrets.db"
master_key = {{ file = "second/master.key" }}

[backends.vault]
type = "vault"
attempts = 1
prefix = "{prefix}"

[backends.ci]
type = "env"
prefix = "CI_"

[backends.aws]
type = "aws"
region = "{region}"

[[audit]]
type = "jsonl"
path = "audit.jsonl"
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with development_server(tmp_path_factory.mktemp("server")) as started:
        yield started


class Site:
    """The command in a folder with two stores, and a server beside them."""

    def __init__(self, cli: Cli, server: Server) -> None:
        self._cli = cli
        self.folder = cli.folder
        self.home = cli.home
        self.variables = {"BAO_ADDR": server.address, "BAO_TOKEN": server.token}

    def __call__(self, *arguments: str, stdin: str = "", **variables: str) -> Finished:
        return self._cli(*arguments, stdin=stdin, env=self.variables | variables, timeout=300)

    def json(self, *arguments: str, **variables: str) -> Any:
        """Run a command that must succeed; return its answer."""
        done = self(*arguments, "--json", **variables)
        assert done.status == 0, done.stderr
        return json.loads(done.stdout)

    def copying(self, source: str, target: str) -> subprocess.Popen[str]:
        """Begin to copy."""
        return subprocess.Popen(
            [str(Path(sys.executable).with_name("strongroom")), "copy", source, target, "--workers", "2"],
            cwd=self.folder,
            env=clean_environment(self.home, **self.variables),
            stderr=subprocess.PIPE,
            text=True,
        )

    def trail(self) -> list[dict[str, Any]]:
        """Return all that was recorded."""
        return [json.loads(line) for line in (self.folder / "audit.jsonl").read_text().splitlines()]

    def fill(self, values: dict[str, str | bytes], backend: str = "local") -> None:
        """Write secrets, of which nothing is recorded."""
        folder = self.folder if backend == "local" else self.folder / backend
        settings = {"type": "local", "path": str(folder / "secrets.db")}
        settings |= {"master_key": {"file": str(folder / "master.key")}}  # type: ignore[dict-item]  # a table in a table
        with strongroom.open({"audit": "none", "backends": {"local": settings}}) as manager:
            for name, value in values.items():
                manager.set(name, value)


@pytest.fixture
def site(store: Path, ready_store: Path, cli: Cli, cli_in: Callable[[Path], Cli], server: Server, request: Any) -> Site:
    (store / "second").mkdir(mode=0o700)
    assert cli_in(store / "second")("init").status == 0
    prefix = f"move-{abs(hash(request.node.name))}-{os.getpid()}"
    (store / "strongroom.toml").write_text(CONFIGURATION.format(prefix=prefix, region=REGION))
    return Site(cli, server)


def outcomes(site: Site) -> Counter[tuple[str, str | None]]:
    """Return how many operations of each kind have ended at each backend."""
    return Counter((one["event"], one.get("backend")) for one in site.trail() if one["phase"] == "outcome")


def test_ten_thousand_secrets_go_to_a_server_and_back(site: Site) -> None:
    many = 10_000
    site.fill({f"team-{n % 50}/app-{n}/password": f"{MARKER}-{n}" for n in range(many - 1)})
    site.fill({"tls/key": bytes(range(256))})
    # Recording each step durably takes longer than all else; the test below has that.
    content = (site.folder / "strongroom.toml").read_text().partition("[[audit]]")[0]
    (site.folder / "strongroom.toml").write_text(f'audit = "none"\n{content}')
    there = site("copy", "local", "vault")
    assert (there.status, there.stderr) == (0, f"copied {many:,} secrets from local to vault\n")
    back = site("copy", "vault", "second")
    assert (back.status, back.stderr.splitlines()[-1]) == (0, f"copied {many:,} secrets from vault to second")
    compared = site("diff", "local", "second")
    assert (compared.status, compared.stdout, compared.stderr) == (0, "", f"{many:,} same\n")


def test_few_calls_are_made_beside_reads_and_writes(site: Site) -> None:
    site.fill({f"app/n{n}": "1" for n in range(120)}, "second")
    assert site("copy", "second", "vault").status == 0
    assert site("copy", "vault", "local").status == 0
    found = outcomes(site)
    # One local store keeps no notes, and the other one need not be asked about each secret for that.
    assert (found["get", "vault"], found["set", "local"]) == (360, 120)
    assert found["describe", "vault"] <= 8
    assert found["list", None] == 4


def test_each_step_is_recorded_with_its_backend_and_without_a_value(site: Site) -> None:
    site.fill({f"app/n{n}": f"{MARKER}-{n}" for n in range(200)})
    assert site("copy", "local:app/", "vault:team/app/").status == 0
    # Compared and copied: two reads here. Written and read back: one of each there.
    found = outcomes(site)
    assert (found["get", "local"], found["set", "vault"], found["get", "vault"]) == (400, 200, 200)
    assert site("audit", "verify").status == 0
    assert MARKER not in (site.folder / "audit.jsonl").read_text()
    assert site("copy", "local:app/", "vault:team/app/").stderr.endswith("; 200 were there already\n")
    assert outcomes(site)["set", "vault"] == 200


def test_histories_and_notes_go_to_a_server_and_back(site: Site) -> None:
    for number in range(1, 15):
        site.fill({"app/x": f"value {number}"})
    site.fill({"app/y": b"\x00\xff"})
    copied = site.json("copy", "local:app/", "vault:app/", "--versions")
    assert [(one["name"], one["versions"]) for one in copied["copied"]] == [("app/x", 14), ("app/y", 1)]
    # The server keeps ten versions unless told otherwise.
    assert copied["fewer_versions"] == {"app/x": 10}
    again = site.json("copy", "local:app/", "vault:app/", "--versions")
    assert (again["copied"], again["equal"]) == ([], ["app/x", "app/y"])
    assert site("metadata", "app/x", "--set", "owner=shop", "--json", STRONGROOM_BACKEND="vault").status == 0
    back = site("copy", "vault:app/", "second:old/", "--versions")
    assert back.status == 0
    assert "notes about secrets, if there are any, were not copied: second " in back.stderr
    assert site("diff", "vault:app/", "second:old/", "--versions").stderr == "2 same\n"
    different = site("diff", "local:app/", "second:old/", "--versions")
    assert (different.status, different.stdout.splitlines()[1].split()) == (
        1,
        ["same", "value,", "other", "history", "x", "14", "10"],
    )


def test_what_was_set_back_on_a_server_stays_and_what_was_deleted_there_is_copied_anew(site: Site) -> None:
    for number in range(1, 4):
        site.fill({"app/x": f"value {number}"})
    copy = ("copy", "local:app/", "vault:app/", "--versions")
    on_server = {"STRONGROOM_BACKEND": "vault"}
    assert site(*copy).status == 0
    assert site("set", "app/x", stdin="value 1", **on_server).status == 0
    assert site(*copy).status == 7
    assert site("delete", "app/x", **on_server).status == 0
    # As if a copy had been stopped after its first write.
    assert site("set", "app/x", stdin="value 1", **on_server).status == 0
    assert [one["versions"] for one in site.json(*copy)["copied"]] == [2]
    assert site("get", "app/x", **on_server).stdout == "value 3"


def test_an_engine_that_neither_keeps_nor_compares_versions_takes_secrets_too(site: Site, server: Server) -> None:
    mount = f"kv1-{os.getpid()}"
    server.mount(mount, "kv", options={"version": "1"})
    with (site.folder / "strongroom.toml").open("a") as file:
        file.write(f'[backends.old]\ntype = "vault"\nmount = "{mount}"\nkv_version = 1\n')
    site.fill({"app/x": "1", "app/y": b"\x00\xff"})
    refused = site("copy", "local", "old", "--versions")
    assert (refused.status, refused.stderr.count("old")) == (2, 1)
    assert site("copy", "local", "old").stderr == "copied 2 secrets from local to old\n"
    site.fill({"app/x": "2"})
    assert site("copy", "local", "old").status == 7
    assert site("copy", "local", "old", "--if-exists", "overwrite").status == 0
    assert site("diff", "local", "old").stderr == "2 same\n"


def test_json_that_becomes_fields_of_a_server_is_a_good_copy_in_another_spelling(site: Site) -> None:
    with (site.folder / "strongroom.toml").open("a") as file:
        file.write('[backends.fields]\ntype = "vault"\nprefix = "fields"\nfields = ["**"]\n')
    site.fill({"app/login": '{"username":"shop","password":"1","port":5432}'})
    copied = site("copy", "local", "fields")
    assert (copied.status, copied.stderr.splitlines()[-1]) == (0, "copied 1 secret from local to fields")
    assert site.json("copy", "local", "fields")["equal"] == ["app/login"]
    compared = site("diff", "local", "fields")
    assert (compared.status, compared.stderr) == (1, "1 same JSON, other spelling\n")


def test_a_copy_that_is_killed_goes_on_where_it_was(site: Site) -> None:
    many = 400
    site.fill({f"app/n{n}": f"{MARKER}-{n}" for n in range(many)})
    with site.copying("local", "vault") as process:
        while written(site) < 50:
            assert process.poll() is None, "it has ended before it could be killed"
        process.send_signal(signal.SIGKILL)
    stopped = written(site)
    assert 50 <= stopped < many
    resumed = site.json("copy", "local", "vault")
    # What was under way when it died may be there although nobody has recorded that.
    assert many - stopped - 2 <= len(resumed["copied"]) <= many - stopped
    assert len(resumed["copied"]) + len(resumed["equal"]) == many
    compared = site("diff", "local", "vault")
    assert (compared.status, compared.stderr) == (0, f"{many} same\n")


def written(site: Site) -> int:
    """Return how many writes to the server have been recorded so far."""
    if not (site.folder / "audit.jsonl").exists():
        return 0
    text = (site.folder / "audit.jsonl").read_text()
    return sum('"event":"set","phase":"outcome"' in line for line in text.splitlines())


def test_a_backend_that_is_out_of_reach_stops_a_copy(site: Site) -> None:
    site.fill({f"app/n{n}": str(n) for n in range(30)})
    done = site("copy", "local", "vault", **AWAY)
    assert done.status == 6
    assert outcomes(site)["set", "vault"] == 0
    assert site("copy", "local", "vault").status == 0


def test_an_outage_in_the_middle_stops_a_copy_and_says_how_to_go_on(site: Site, tmp_path: Path) -> None:
    site.fill({f"app/n{n:03}": str(n) for n in range(300)})
    own = tmp_path / "own"
    own.mkdir()
    with development_server(own) as server:
        site.variables["BAO_ADDR"] = server.address
        with site.copying("local", "vault") as process:
            while written(site) < 30:
                assert process.poll() is None, "it has ended before the outage"
            server.ok("PUT", "sys/seal")
            _, told = process.communicate(timeout=120)
        assert process.returncode == 6, told
        assert "run the same command again when it answers" in told
        key = (own / "server.log").read_text().partition("Unseal Key: ")[2].split()[0]
        server.ok("PUT", "sys/unseal", {"key": key})
        server.wait()
        assert site("copy", "local", "vault").status == 0
        assert site("diff", "local", "vault").stderr == "300 same\n"


def test_variables_of_the_environment_go_into_a_store(site: Site) -> None:
    values = {"CI_DB_PASSWORD": MARKER, "CI_TOKEN": "(\";'@ $HOME `id` %s"}
    done = site("copy", "ci", "second:ci/", **values)
    assert (done.status, done.stderr) == (0, "copied 2 secrets from ci to second:ci/\n")
    assert site("diff", "ci", "second:ci/", **values).stderr == "2 same\n"
    refused = site("copy", "local", "ci", **values)
    assert refused.status == 3, refused.stderr
    site.fill({"x": "1"})
    assert site("copy", "local", "ci", **values).status == 2


def test_secrets_go_to_aws_and_back_and_what_it_cannot_hold_is_found_first(site: Site, tmp_path: Path) -> None:
    site.fill({"app/text": "value é", "app/binary": b"\x00\xff"})
    site.fill({"app/text": "value 2"})
    with emulator(tmp_path) as service:
        keys = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_ENDPOINT_URL": service.url}
        done = site("copy", "local:app/", "aws:app/", "--versions", **keys)
        assert done.status == 0, done.stderr
        assert site("diff", "local:app/", "aws:app/", "--versions", **keys).stderr == "2 same\n"
        assert site("copy", "aws:app/", "second", "--versions", **keys).status == 0
        assert site("diff", "local:app/", "second", "--versions").stderr == "2 same\n"
        # As if a copy had been killed between putting a value there and making it the current one.
        waiting = {"SecretId": "app/text", "SecretString": "value 3", "VersionStages": ["STRONGROOM_CANDIDATE"]}
        service.client().put_secret_value(**waiting)
        for number in (3, 4):
            site.fill({"app/text": f"value {number}"})
        assert site.json("copy", "local:app/", "aws:app/", "--versions", **keys)["copied"][0]["versions"] == 2
        assert site.json("copy", "local:app/", "aws:app/", "--versions", **keys)["copied"] == []
        site.fill({"app/empty": "", "app/caf\u00e9": "1", "app/more": "1"})
        refused = site("copy", "local:app/", "aws:app/", **keys)
        assert (refused.status, refused.stderr.splitlines()[-1]) == (2, "strongroom: nothing was copied")
        assert "cannot have a secret called app/caf\u00e9" in refused.stderr
        assert "cannot hold an empty value" in refused.stderr
        partly = site("copy", "local:app/", "aws:app/", "--keep-going", **keys)
        assert (partly.status, partly.stderr.splitlines()[0]) == (
            2,
            "copied 1 secret from local:app/ to aws:app/; 2 were there already",
        )

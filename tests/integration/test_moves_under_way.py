"""What becomes of copies between real backends while others are at work, and of those that are killed."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

import strongroom

from awsclient import ACCESS_KEY, REGION, SECRET_KEY
from commandline import Cli, Finished, clean_environment
from fakeaws import FakeSecretsManager
from fakefaults import Request
from moto_server import emulator
from moves import silent, surveyed
from openbao import Server, development_server
from strongroom.errors import StrongroomError, VersionConflictError
from strongroom.moving.copying import Copier
from strongroom.moving.planning import Plan, complete
from strongroom.moving.rules import IfExists
from tables import aws_table, local_table, vault_table

CONFIGURATION: Final = f"""
backend = "local"
audit = "none"

[backends.local]
type = "local"
path = "secrets.db"
master_key = {{ file = "master.key" }}

[backends.second]
type = "local"
path = "second/secrets.db"
master_key = {{ file = "second/master.key" }}

[backends.aws]
type = "aws"
region = "{REGION}"

[backends.vault]
type = "vault"
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with development_server(tmp_path_factory.mktemp("server")) as started:
        yield started


class Site:
    """The command in a folder with two stores."""

    def __init__(self, cli: Cli) -> None:
        self._cli = cli
        self.folder = cli.folder
        self.variables: dict[str, str] = {}

    def __call__(self, *arguments: str, stdin: str = "", **variables: str) -> Finished:
        return self._cli(*arguments, stdin=stdin, env=self.variables | variables, timeout=300)

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        """Begin to run the command."""
        return subprocess.Popen(
            [str(Path(sys.executable).with_name("strongroom")), *arguments],
            cwd=self.folder,
            env=clean_environment(self._cli.home, **self.variables, **variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def fill(self, *secrets: tuple[str, str]) -> None:
        """Write versions to the store."""
        settings = {"path": str(self.folder / "secrets.db"), "master_key": {"file": str(self.folder / "master.key")}}
        with strongroom.open({"audit": "none", "backends": {"local": {"type": "local", **settings}}}) as manager:
            for name, value in secrets:
                manager.set(name, value)


@pytest.fixture
def site(store: Path, cli: Cli, cli_in: Callable[[Path], Cli]) -> Site:
    (store / "second").mkdir(mode=0o700)
    assert cli_in(store / "second")("init").status == 0
    (store / "strongroom.toml").write_text(CONFIGURATION)
    return Site(cli)


@pytest.fixture
def aws(site: Site) -> Iterator[FakeSecretsManager]:
    """A fake of AWS, which a test can have do something amidst a copy; its versions have times within a second."""
    with FakeSecretsManager() as fake:
        keys = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
        site.variables |= keys | {"AWS_ENDPOINT_URL": fake.url}
        yield fake


def test_a_detector_that_takes_a_copy_for_a_search_stops_it(site: Site) -> None:
    site.fill(*((f"app/n{number:03}", "1") for number in range(200)))
    plain = (site.folder / "strongroom.toml").read_text()
    limits = "distinct = 20\nblock_at = 2\nwhile_learning = 1\n"
    (site.folder / "strongroom.toml").write_text(
        f'{plain}\n[[anomaly]]\ntype = "enumeration"\naction = "block"\n{limits}'
    )
    done = site("copy", "local", "second", "--keep-going")
    assert done.status == 9
    (line,) = done.stderr.splitlines()
    assert line.startswith("strongroom: stopped after 10 calls in a row that were blocked")
    assert site("diff", "local", "second").status == 9
    (site.folder / "strongroom.toml").write_text(plain)
    assert site("diff", "local", "second").stderr == "200 only in local\n"


def test_names_for_credentials_of_a_server_are_left_out_and_named(site: Site, server: Server) -> None:
    site.variables |= {"BAO_ADDR": server.address, "BAO_TOKEN": server.token}
    with (site.folder / "strongroom.toml").open("a") as file:
        file.write('dynamic = ["database/creds/*"]\nprefix = "leased"\n')
    site.fill(("database/creds/app", "1"), ("other", "1"), ("other", "2"))
    left_out = "left out database/creds/app, which is made anew for each reader\n"
    copied = site("copy", "local", "vault", "--versions")
    assert (copied.status, copied.stderr) == (0, f"{left_out}copied 1 secret from local to vault\n")
    copied = site("copy", "local", "vault")
    assert copied.stderr.startswith(left_out)
    compared = site("diff", "local", "vault", "--versions")
    assert (compared.status, compared.stderr) == (0, "1 same, 1 leased\n")


@pytest.fixture(params=["local", "vault", "aws"])
def sides(site: Site, server: Server, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    """A configuration with two backends, each with one secret that is rotated and one that is not."""
    with contextlib.ExitStack() as stack:
        if request.param == "aws":
            table = aws_table(stack.enter_context(emulator(tmp_path)))
        else:
            table = vault_table(server, 2) if request.param == "vault" else local_table(site.folder / "second")
        content: dict[str, Any] = {"audit": "none", "rotation": {"db/key": {"rotator": "random"}}}
        content |= {"backend": "one", "backends": {"one": local_table(site.folder), "two": table}}
        for name in ("db/key", "db/other"):
            for backend in ("one", "two"):
                write(content, backend, name, f"that of {backend}")
        yield content


def write(content: dict[str, Any], backend: str, name: str, value: str) -> None:
    """Write as another program."""
    with strongroom.open(content | {"backend": backend}) as manager:
        manager.set(name, value)


def values(content: dict[str, Any], backend: str) -> dict[str, bytes]:
    """Return what a backend holds."""
    with strongroom.open(content | {"backend": backend}) as manager:
        return {name: manager.get(name).reveal() for name in ("db/key", "db/other")}


def copied(content: dict[str, Any], rotating: str, *, versions: bool) -> dict[str, StrongroomError]:
    """Copy over what is there, with a rotation between comparison and write; return what was told of single names."""
    plan, rule = Plan(), IfExists.OVERWRITE
    with surveyed(content, "one", "two", versions=versions) as survey:
        complete(plan, survey, rule, silent)
        with strongroom.open(content | {"backend": rotating}) as manager:
            manager.rotate("db/key")
        copier = Copier(survey, plan, rule)
        copier.run(silent)
        return copier.outcome.problems


@pytest.mark.parametrize("versions", [False, True])
def test_a_rotation_in_the_target_after_the_comparison_stands(sides: dict[str, Any], versions: bool) -> None:
    problems = copied(sides, "two", versions=versions)
    assert list(problems) == ["db/key"]
    assert isinstance(problems["db/key"], VersionConflictError)
    assert "db/key has changed in two since it was compared, and was left as it is" in str(problems["db/key"])
    found = values(sides, "two")
    assert found["db/other"] == b"that of one"
    assert found["db/key"] not in {b"that of one", b"that of two"}


@pytest.mark.parametrize("versions", [False, True])
def test_a_rotation_in_the_source_after_the_comparison_goes_over(sides: dict[str, Any], versions: bool) -> None:
    assert copied(sides, "one", versions=versions) == {}
    found = values(sides, "two")
    assert found == values(sides, "one")
    assert found["db/key"] != b"that of one"
    with strongroom.open(sides | {"backend": "two"}) as manager:
        written = manager.versions("db/key")
    # What was there, and over it one value or the whole history.
    assert len(written) == (3 if versions else 2)


@pytest.mark.parametrize("change", [2, 3, 5])
def test_a_history_on_aws_that_was_cut_off_is_finished_by_the_same_command(
    site: Site, aws: FakeSecretsManager, change: int
) -> None:
    """One change creates it, two write each further version, and one tidies up: it is killed after or between two."""
    site.fill(*(("app/x", f"value {number}") for number in range(1, 4)))
    copy = ("copy", "local:app/", "aws:", "--versions")
    seen = 0

    def kill(request: Request) -> None:
        nonlocal seen
        seen += request.operation in {"CreateSecret", "PutSecretValue", "UpdateSecretVersionStage"}
        if seen == change:
            process.kill()
            process.wait()

    aws.before("*", kill, times=None)
    with site.start(*copy) as process:
        process.communicate(timeout=120)
    assert process.returncode < 0
    aws.heal()
    assert site(*copy).status == 0
    compared = site("diff", *copy[1:])
    assert (compared.status, compared.stderr) == (0, "1 same\n")
    written = aws.counts["PutSecretValue"]
    assert json.loads(site(*copy, "--json").stdout)["equal"] == ["x"]
    assert aws.counts["PutSecretValue"] == written

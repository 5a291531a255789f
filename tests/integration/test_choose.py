"""What ``choose`` writes works as it stands, with the backends that it names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from commandline import Cli
from moto_server import emulator
from openbao import Server, development_server


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    (tmp_path / "work").mkdir()
    return Cli(tmp_path / "work", tmp_path)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "openbao").mkdir()
    with development_server(tmp_path / "openbao") as running:
        yield running


def use(cli: Cli, **env: str) -> None:
    """Write and read with the configuration, and have it examined."""
    done = cli("set", "db/password", stdin="s3cret", env=env)
    assert done.status == 0, done.stderr
    assert cli("get", "db/password", env=env).stdout == "s3cret"
    done = cli("audit", "verify", env=env)
    assert done.status == 0, done.stderr
    done = cli("doctor", env=env)
    assert done.status == 0, done.stdout


def test_a_store_on_this_machine(cli: Cli) -> None:
    done = cli("choose", "--answers", "")
    assert done.status == 0, done.stderr
    use(cli)


def test_a_server_with_a_local_store_behind_it(cli: Cli, server: Server) -> None:
    done = cli("choose", "--answers", f"vault=yes,address={server.address},offline=yes,platform=yes")
    assert done.status == 0, done.stderr
    use(cli, BAO_TOKEN=server.token)
    assert cli("get", "ci/token", env={"CI__TOKEN": "t0ken"}).stdout == "t0ken"
    assert server.process is not None
    server.process.kill()
    server.process.wait()
    done = cli("get", "db/password", env={"BAO_TOKEN": server.token})
    assert (done.status, done.stdout) == (0, "s3cret"), done.stderr
    done = cli("set", "db/password", stdin="newer", env={"BAO_TOKEN": server.token})
    assert done.status == 11, done.stderr


def test_a_service_of_amazon_beside_a_server_that_makes_credentials(cli: Cli, server: Server, tmp_path: Path) -> None:
    answers = f"aws=yes,vault=yes,keep=aws,dynamic=yes,region=eu-central-1,address={server.address}"
    done = cli("choose", "--answers", answers)
    assert done.status == 0, done.stderr
    with emulator(tmp_path) as service:
        keys = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"}
        use(cli, AWS_ENDPOINT_URL=service.url, BAO_TOKEN=server.token, **keys)

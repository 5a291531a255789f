"""A real systemd gets credentials from the units that ``strongroom systemd units`` writes."""

from __future__ import annotations

import json
import os
import subprocess

from collections.abc import Iterator
from pathlib import Path

import pytest

from commandline import Cli
from systemduser import UserManager, find

VALUE = "s3cret %n $HOME 'of'\n\ttwo lines\n"
SERVICE = "strongroom-credentials@.service"
GIFTS = ["db-password=db/password", "user=db/config#user", "nothing=db/nothing", "empty=db/empty"]


def consumer(identifier: str, folder: Path) -> str:
    return f"[Service]\nType=oneshot\nExecStart=/bin/sh -c 'cat %d/{identifier} > {folder}/got-{identifier}'\n"


@pytest.fixture
def units(cli: Cli, store: Path) -> Path:
    """A folder with the units, and one for each credential that writes into a file what it has got."""
    folder = store / "units"
    gifts = [f"--give=needs-{gift.partition('=')[0]}.service:{gift}" for gift in GIFTS]
    assert cli("set", "db/password", stdin=VALUE).status == 0
    assert cli("set", "db/config", stdin='{"user": "shop"}').status == 0
    assert cli("set", "db/empty", stdin="").status == 0
    assert cli("systemd", "units", "--as-unit", *gifts, "units").status == 0
    # Where no journal runs, what the command says would be lost; and the store of a test is in /tmp.
    (folder / f"{SERVICE}.d").mkdir()
    (folder / f"{SERVICE}.d/said.conf").write_text(f"[Service]\nStandardError=append:{store}/said\nPrivateTmp=no\n")
    for gift in GIFTS:
        name = gift.partition("=")[0]
        (folder / f"needs-{name}.service").write_text(consumer(name, store))
    return folder


@pytest.fixture
def systemd(units: Path, home: Path) -> Iterator[UserManager]:
    with UserManager(units, home) as manager:
        yield manager


def test_units_start_with_what_they_are_given_and_not_without(systemd: UserManager, store: Path) -> None:
    started = systemd("start", "needs-db-password.service", "needs-user.service", "needs-empty.service")
    assert started.returncode == 0, (store / "said").read_text()
    assert (store / "got-db-password").read_text() == VALUE
    assert (store / "got-user").read_text() == "shop"
    assert (store / "got-empty").read_text() == ""

    assert systemd("start", "needs-nothing.service").returncode == 1
    assert systemd.show("needs-nothing.service", "ExecMainStatus") == "243"
    assert not (store / "got-nothing").exists()
    said = (store / "said").read_text()
    assert "db/nothing" in said
    assert "s3cret" not in said

    events = [json.loads(line) for line in (store / "audit.jsonl").read_text().splitlines()]
    readers = {event["key"]: event["principal"] for event in events if event["event"] == "get"}
    assert readers["db/password"] == "systemd:needs-db-password.service"
    assert readers["db/nothing"] == "systemd:needs-nothing.service"


def test_a_unit_that_is_given_nothing_does_not_start_by_asking(systemd: UserManager, units: Path, store: Path) -> None:
    drop_in = (units / "needs-user.service.d/strongroom-credentials.conf").read_text()
    (units / "thief.service").write_text(consumer("user", store))
    (units / "thief.service.d").mkdir()
    (units / "thief.service.d/asks.conf").write_text(drop_in)
    assert systemd("daemon-reload").returncode == 0
    assert systemd("start", "thief.service").returncode == 1
    assert systemd.show("thief.service", "ExecMainStatus") == "243"
    assert "thief.service is given no credential user" in (store / "said").read_text()
    assert not (store / "got-user").exists()


@pytest.mark.parametrize(
    "start", ["/nowhere/strongroom", "/bin/false", "/bin/sh -c 'kill -KILL $$$$'", "/bin/sleep 99"]
)
def test_no_death_of_the_command_is_taken_for_an_empty_credential(
    systemd: UserManager, units: Path, store: Path, start: str
) -> None:
    written = (units / SERVICE).read_text()
    before, _, after = written.partition("ExecStart=")
    after = after.partition("\n# Whatever")[2].partition("\n")[2]
    (units / SERVICE).write_text(f"{before.replace('60s', '1s')}ExecStart={start}\n{after}")
    assert systemd("daemon-reload").returncode == 0
    assert systemd("start", "needs-db-password.service").returncode == 1
    assert systemd.show("needs-db-password.service", "ExecMainStatus") == "243"
    assert not (store / "got-db-password").exists()


def test_systemd_finds_no_fault_with_the_units(units: Path, home: Path) -> None:
    done = subprocess.run(
        [
            find("systemd-analyze", "systemd"),
            "verify",
            "--man=no",
            "strongroom-credentials.socket",
            SERVICE.replace("@", "@x"),
        ],
        cwd=units,
        env={**os.environ, "SYSTEMD_LOG_LEVEL": "warning"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert [line for line in done.stderr.splitlines() if "strongroom" in line] == []


def test_a_key_that_is_sealed_to_the_host_opens_the_store(cli: Cli, store: Path, tmp_path: Path) -> None:
    # Its own secret of the host, not the machine's: what is mounted there is seen by these commands alone.
    unshare, creds = find("unshare", "util-linux"), find("systemd-creds", "systemd")
    script = f"""
        set -e
        umask 077
        mount -t tmpfs tmpfs /var/lib/systemd
        {creds} encrypt --with-key=host --name=master-key master.key sealed
        mkdir -m 700 credentials
        {creds} decrypt --name=master-key sealed credentials/master-key
        {creds} decrypt --name=other sealed - 2>/dev/null || echo refused
    """
    done = subprocess.run(
        [unshare, "--mount", "sh", "-c", script], cwd=store, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "refused\n"), done.stderr
    assert (store / "master.key").read_text().strip() not in (store / "sealed").read_text()
    assert cli("set", "db/password", stdin=VALUE).status == 0
    (store / "master.key").unlink()
    lines = (store / "strongroom.toml").read_text().splitlines()
    keys = [number for number, line in enumerate(lines) if line.startswith("master_key = ")]
    assert len(keys) == 1
    lines[keys[0]] = 'master_key = {credential = "master-key"}'
    (store / "strongroom.toml").write_text("\n".join(lines))
    opened = cli("get", "db/password", env={"CREDENTIALS_DIRECTORY": str(store / "credentials")})
    assert (opened.status, opened.stdout, opened.stderr) == (0, VALUE, "")
    assert cli("get", "db/password").status != 0

"""What the agent is deployed with fits what it takes: the example of a pod, and the systemd units."""

from __future__ import annotations

import os
import shutil
import subprocess
import textwrap

from collections.abc import Callable
from pathlib import Path

import pytest

from _workspace import ROOT
from commandline import Cli

POD = ROOT / "plugins/strongroom-agent/deploy/kubernetes-sidecar.yaml"


def test_the_configuration_in_the_pod_is_usable(tmp_path: Path, cli_in: Callable[[Path], Cli]) -> None:
    lines = POD.read_text().split("strongroom.toml: |\n", 1)[1].split("\n---", 1)[0]
    (tmp_path / "strongroom.toml").write_text(textwrap.dedent(lines))
    done = cli_in(tmp_path)("config")
    assert (done.status, done.stderr) == (0, "")
    assert "agent.callers" in done.stdout


def test_the_pod_and_its_configuration_name_the_same_user() -> None:
    text = POD.read_text()
    assert "uid = 10001" in text
    assert text.count("runAsUser: 10001") == 1
    assert text.count("mountPath: /run/strongroom") == 2


def test_systemd_takes_the_units(cli: Cli) -> None:
    verifier = shutil.which("systemd-analyze")
    if verifier is None:
        if os.environ.get("STRONGROOM_REQUIRE_ALL"):
            pytest.fail("systemd-analyze is missing: apt install systemd")
        # Not every system has systemd; where everything is required, it has failed above.
        pytest.skip("needs systemd-analyze: apt install systemd")
    assert cli("agent", "units", "units").status == 0
    names = ["strongroom-agent.service", "strongroom-agent.socket"]
    done = subprocess.run(
        [verifier, "verify", "--man=no", *names],
        cwd=cli.folder / "units",
        env={**os.environ, "SYSTEMD_LOG_LEVEL": "warning"},
        capture_output=True,
        text=True,
        check=False,
    )
    # Before systemd 253 one of the two types is not known, and the other one stays.
    told = [
        line
        for line in done.stderr.splitlines()
        if "strongroom" in line and "type, ignoring: notify-reload" not in line
    ]
    assert (done.returncode, told) == (0, [])

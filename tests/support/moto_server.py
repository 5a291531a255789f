"""An emulator of AWS (moto) in a process of its own, spoken to over HTTP like the real service.

Tests of one process can share it: regions and accounts do not see each other, and each test can have an account
to itself. Of a request's headers it reads the account from ``x-moto-account-id`` first; else from the access key,
if ``AssumeRole`` gave it (then it is the account in the role's ARN); any other key means account 123456789012.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import sys
import urllib.request

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from awsclient import REGION, plain_client

TIME_LIMIT = 60.0
PROGRAM = """
import sys
from moto.secretsmanager.models import SecretsManagerBackend
from moto.server import ThreadedMotoServer

move = SecretsManagerBackend.update_secret_version_stage

def move_and_remember(self, secret_id, version_stage, remove_from_version_id, move_to_version_id):
    moved = move(self, secret_id, version_stage, remove_from_version_id, move_to_version_id)
    if version_stage == "AWSCURRENT" and move_to_version_id:
        self.secrets[secret_id].default_version_id = move_to_version_id
    return moved

SecretsManagerBackend.update_secret_version_stage = move_and_remember
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""
"""It takes a free port itself, says which, and ends with its parent, whatever becomes of that.

One thing is mended in moto 5: when the label AWSCURRENT is moved it does not note which version has it now, and so the
next write leaves the label where it was, too; from then on the secret has two current versions.
"""


class Emulator:
    """A running emulator.

    Args:
        url: Where it listens, such as ``http://127.0.0.1:41234``.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._accounts = itertools.count(200_000_000_000)

    def client(self, service: str = "secretsmanager", region: str = REGION, **credentials: Any) -> Any:
        """Return a plain boto3 client, see :func:`awsclient.plain_client`."""
        return plain_client(self.url, service, region, **credentials)

    def fresh_account(self) -> dict[str, str]:
        """Return the credentials of an account that holds nothing yet, as boto3 names them."""
        role = f"arn:aws:iam::{next(self._accounts)}:role/test"
        answer = self.client("sts").assume_role(RoleArn=role, RoleSessionName="test")["Credentials"]
        return {
            "aws_access_key_id": answer["AccessKeyId"],
            "aws_secret_access_key": answer["SecretAccessKey"],
            "aws_session_token": answer["SessionToken"],
        }

    def reset(self) -> None:
        """Forget everything, for all who share this emulator."""
        request = urllib.request.Request(f"{self.url}/moto-api/reset", method="POST")
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(request, timeout=TIME_LIMIT) as answer:
            assert answer.status == 200


@contextlib.contextmanager
def emulator(folder: Path) -> Iterator[Emulator]:
    """Start an emulator with its home in a folder, and stop it in the end."""
    if find_spec("moto") is None or find_spec("flask") is None:
        pytest.skip("needs moto: install moto[server]")
    environment = {"HOME": str(folder), "PATH": os.environ.get("PATH", os.defpath), "PYTHONDONTWRITEBYTECODE": "1"}
    with (
        (folder / "moto.log").open("wb") as log,
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            env=environment,
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
        ) as process,
    ):
        try:
            assert process.stdout is not None
            port = process.stdout.readline().strip().decode()
            assert port, (folder / "moto.log").read_text(errors="replace")
            yield Emulator(f"http://127.0.0.1:{port}")
        finally:
            process.kill()

"""``choose``: questions whose answers lead to a configuration that works."""

from __future__ import annotations

import itertools
import json
import os
import pty
import subprocess
import sys
import tomllib

from pathlib import Path

import pytest

from commandline import Cli, clean_environment

ADDRESS = "address=https://vault.example.com:8200"
REGION = "region=eu-central-1"


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    (tmp_path / "work").mkdir()
    return Cli(tmp_path / "work", tmp_path)


def chosen(cli: Cli, answers: str) -> dict[str, object]:
    done = cli("choose", "--dry-run", "--json", "--answers", answers)
    assert done.status == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    ("answers", "backends"),
    [
        ("", ["local"]),
        ("shared=yes", ["local"]),
        ("platform=yes", ["local", "env"]),
        (f"vault=yes,{ADDRESS}", ["vault"]),
        (f"vault=yes,{ADDRESS},offline=yes", ["vault", "local"]),
        (f"aws=yes,{REGION}", ["aws"]),
        (f"aws=yes,{REGION},offline=yes", ["aws", "local"]),
        (f"aws=yes,vault=yes,{ADDRESS}", ["vault"]),
        (f"aws=yes,vault=yes,keep=aws,{REGION}", ["aws"]),
        (f"aws=yes,vault=yes,keep=aws,dynamic=yes,{REGION},{ADDRESS}", ["aws", "vault"]),
    ],
)
def test_the_answers_lead_to_backends(cli: Cli, answers: str, backends: list[str]) -> None:
    found = chosen(cli, answers)
    assert found["backends"] == backends
    assert found["install"] == f'pip install "strongroom[{",".join(backends)},audit-jsonl]"'
    content = tomllib.loads(str(found["config"]))
    assert content["backend"] == backends[0]
    assert list(content["backends"]) == backends
    assert content.get("fallback") == ("local" if "offline=yes" in answers else None)
    assert found["made"] == []
    assert list(cli.folder.iterdir()) == []


def everything() -> list[str]:
    """Return each set of answers that does not contradict itself."""
    found = []
    for aws, vault, dynamic, offline, platform in itertools.product(("yes", "no"), repeat=5):
        for keep, login in itertools.product(("vault", "aws"), ("token", "approle", "kubernetes")):
            given = {"aws": aws, "vault": vault, "dynamic": dynamic, "platform": platform}
            both = aws == vault == "yes"
            uses_aws = aws == "yes" and (not both or keep == "aws")
            uses_vault = vault == "yes" and (not both or keep == "vault" or dynamic == "yes")
            if vault == "no" and dynamic == "yes":
                continue
            given |= {"keep": keep} if both else {}
            given |= {"address": "http://127.0.0.1:8200", "login": login} if uses_vault else {}
            given |= {"region": "us-gov-west-1"} if uses_aws else {}
            given |= {"offline": offline} if uses_aws or uses_vault else {}
            found.append(",".join(f"{key}={answer}" for key, answer in given.items()))
    return list(dict.fromkeys(found))


def test_every_way_through_the_tree_ends_in_a_configuration_that_can_be_read() -> None:
    from strongroom.cli.choosing import QUESTIONS, recommend
    from strongroom.config.load import load

    ways = everything()
    assert len(ways) == 70
    for way in ways:
        stated = dict(pair.split("=") for pair in way.split(","))
        answers: dict[str, str] = {}
        for question in QUESTIONS:
            if question.needed(answers):
                answers[question.key] = question.check(stated.pop(question.key, ""))
        assert stated == {}, way
        found = recommend(answers)
        configuration = load(tomllib.loads(found.content))
        assert set(configuration.backends) == set(found.backends)
        assert configuration.default_backend == found.backends[0]
        assert ("local" in found.backends) == found.store
        for _, backend in configuration.routes:
            assert backend in configuration.backends


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ("dynamic=yes", "credentials on demand need a Vault or OpenBao"),
        ("vaul=yes", "'vaul' is no question: did you mean 'vault'?"),
        ("vault", "'vault' has no answer: write vault=ANSWER"),
        ("aws=no,aws=yes", "'aws' is answered twice"),
        ("aws=perhaps", "no usable answer to 'aws': give one of yes, no"),
        ("vault=yes", "no usable answer to 'address': give something like https://vault.example.com:8200"),
        ("vault=yes,address=vault.example.com", "no usable answer to 'address'"),
        ('vault=yes,address=https://x"\nlocked=[]', "no usable answer to 'address'"),
        ("vault=yes,address=https://x\x7f", "no usable answer to 'address'"),
        ("aws=yes,region=EU", "no usable answer to 'region'"),
        ("keep=aws", "'keep' does not matter"),
        (f"{ADDRESS}", "'address' does not matter"),
    ],
)
def test_answers_that_cannot_be_used_stop_it_before_anything_is_made(cli: Cli, answers: str, said: str) -> None:
    done = cli("choose", "--answers", answers)
    assert done.status == 2
    assert said in done.stderr
    assert list(cli.folder.iterdir()) == []


def test_all_that_is_wrong_is_said_at_once(cli: Cli) -> None:
    done = cli("choose", "--answers", "vaul=yes", "--answers", "aws=perhaps,foo=1")
    assert [line.partition("'")[2].partition("'")[0] for line in done.stderr.splitlines()] == ["vaul", "foo", "aws"]


def test_what_is_there_stays(cli: Cli) -> None:
    (cli.folder / "strongroom.toml").write_text("mine")
    done = cli("choose", "--answers", f"vault=yes,{ADDRESS}")
    assert done.status == 2
    assert "strongroom.toml is there already" in done.stderr
    assert (cli.folder / "strongroom.toml").read_text() == "mine"


def test_without_anybody_to_ask_it_says_how_to_answer(cli: Cli) -> None:
    done = cli("choose")
    assert done.status == 2
    assert "there is nobody to ask: answer with --answers" in done.stderr


def test_a_configuration_for_a_server_needs_no_plugin_to_be_written(cli: Cli) -> None:
    done = cli("choose", "shop", "--answers", f"vault=yes,login=approle,{ADDRESS}")
    assert done.status == 0, done.stderr
    assert sorted(path.name for path in (cli.folder / "shop").iterdir()) == [".gitignore", "strongroom.toml"]
    assert (cli.folder / "shop/strongroom.toml").stat().st_mode & 0o777 == 0o600


def answered(cli: Cli, typed: str) -> tuple[int, str]:
    """Run it at a terminal, and return its status and what it showed there."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "strongroom", "choose", "--dry-run"],
        cwd=cli.folder,
        env=clean_environment(cli.home),
        stdin=theirs,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
    )
    os.close(theirs)
    os.write(ours, typed.encode())
    shown = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:  # the other end has closed its terminal
            break
        if not part:
            break
        shown += part
    os.close(ours)
    return process.wait(60), shown.decode().replace("\r\n", "\n")


def test_a_person_is_asked_one_question_after_the_other(cli: Cli) -> None:
    status, shown = answered(cli, "\ny\n\nhttps://bao.example.com\n\nno\n\n")
    assert status == 0
    assert "Is a HashiCorp Vault or an OpenBao at hand? [yes/NO]" in shown
    assert "In which region" not in shown
    assert "vault keeps the secrets" in shown


def test_an_answer_that_cannot_be_used_is_asked_for_again(cli: Cli) -> None:
    status, shown = answered(cli, "maybe\nno\nno\nno\nno\nno\n")
    assert status == 0
    assert "give one of yes, no" in shown
    assert "local keeps the secrets" in shown


def test_nothing_is_made_when_the_answers_end(cli: Cli) -> None:
    status, shown = answered(cli, "no\n\x04")
    assert status == 2
    assert "the questions were not answered, and nothing was made" in shown

"""Who calls is known by a user or a token, and by nothing that gives the token away."""

from __future__ import annotations

import ast
import inspect
import os
import textwrap

from pathlib import Path

import pytest

import strongroom_agent.callers as module

from agents import OTHER_TOKEN, TOKEN, token
from strongroom.errors import ConfigurationError
from strongroom.testing import FakeClock
from strongroom_agent.callers import PEER, Callers, Peer, principal_of
from strongroom_agent.limits import Bucket
from strongroom_agent.settings import CallerSettings


def known(folder: Path, **tokens: str) -> Callers:
    return Callers(
        {name: CallerSettings(principal=name, token=token(folder, name, text)) for name, text in tokens.items()}
    )


def test_each_token_is_its_callers(tmp_path: Path) -> None:
    callers = known(tmp_path, web=TOKEN, job=OTHER_TOKEN)
    assert [callers.of_token(text.encode()).principal for text in (TOKEN, OTHER_TOKEN)] == ["web", "job"]
    assert callers.of_token(TOKEN[:-1].encode()) is None
    assert callers.of_token(b"") is None


def test_every_token_is_compared_whichever_is_the_right_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    callers = known(tmp_path, **{f"caller{number}": f"{number:02}-{TOKEN}" for number in range(10)})
    compared = []
    real = module.hmac.compare_digest
    monkeypatch.setattr(module.hmac, "compare_digest", lambda one, other: compared.append(1) or real(one, other))
    for text in (f"00-{TOKEN}", f"09-{TOKEN}", "nobody"):
        compared.clear()
        callers.of_token(text.encode())
        assert len(compared) == 10


def test_tokens_are_compared_by_digest_and_without_an_early_end() -> None:
    """The source itself: no return, break or `==` within the loop over the tokens."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(Callers.of_token)))
    loops = [node for node in ast.walk(tree) if isinstance(node, ast.For)]
    assert len(loops) == 1
    inside = list(ast.walk(loops[0]))
    assert not [node for node in inside if isinstance(node, ast.Return | ast.Break | ast.Continue | ast.Compare)]
    calls = [ast.unparse(node.func) for node in inside if isinstance(node, ast.Call)]
    assert calls == ["hmac.compare_digest"]


def test_what_is_kept_is_no_token_and_no_plain_digest(tmp_path: Path) -> None:
    import hashlib
    import subprocess
    import sys

    callers, again = known(tmp_path, web=TOKEN), known(tmp_path, web=TOKEN)
    found = callers.token_of("web")
    # What stays as it is over a reload is known as the same.
    assert found is not None
    assert found == again.token_of("web")
    assert found[1] != hashlib.sha256(TOKEN.encode()).digest()
    script = f"from strongroom_agent import callers; print(callers._digest({TOKEN.encode()!r}).hex())"
    elsewhere = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert elsewhere.strip() != found[1].hex()
    assert len(elsewhere.strip()) == 64


def test_only_a_caller_with_a_token_has_one(tmp_path: Path) -> None:
    callers = Callers({"user": CallerSettings(principal="user", uid=1234)})
    assert callers.token_of("user") is None
    assert callers.token_of("nobody") is None


def test_a_token_wins_over_the_user(tmp_path: Path) -> None:
    callers = Callers(
        {
            "web": CallerSettings(principal="web", token=token(tmp_path, "web", TOKEN)),
            "user": CallerSettings(principal="user", uid=1234),
        }
    )
    scope = {"extensions": {PEER: Peer(uid=1234)}}
    assert callers.identify(scope, {}).name == "user"
    assert principal_of(scope).principal == "user"
    assert callers.identify(scope, {b"x-strongroom-token": TOKEN.encode()}).name == "web"
    assert callers.identify(scope, {b"authorization": b"bearer  " + TOKEN.encode()}).name == "web"
    assert callers.identify(scope, {b"authorization": b"Bearer nonsense"}) is None
    assert principal_of(scope) is None


def test_a_user_whom_nobody_has_named_is_nobody() -> None:
    callers = Callers({"user": CallerSettings(principal="user", uid=1234)})
    for peer in (Peer(uid=1235), Peer(uid=None)):
        assert callers.identify({"extensions": {PEER: peer}}, {}) is None
    assert callers.identify({"extensions": {}}, {}) is None


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o601])
def test_a_token_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    source = token(tmp_path, "web", TOKEN)
    os.chmod(source.path, mode)
    with pytest.raises(ConfigurationError, match="others may read or replace"):
        Callers({"web": CallerSettings(principal="web", token=source)})


def test_a_credential_of_systemd_has_rules_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = token(tmp_path, "web", TOKEN)
    os.chmod(source.path, 0o440)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert Callers({"web": CallerSettings(principal="web", token=source)}).of_token(TOKEN.encode()) is not None


@pytest.mark.parametrize("text", ["short", "", "with a blank in it 0123456789abcdefghij", "ü" * 40])
def test_a_token_that_is_none_is_refused_and_not_shown(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        known(tmp_path, web=text)
    assert "not usable" in str(caught.value)
    assert not text or text not in str(caught.value)


def test_a_token_that_is_missing_says_how_to_make_one(tmp_path: Path) -> None:
    source = token(tmp_path, "web", TOKEN)
    os.unlink(source.path)
    with pytest.raises(ConfigurationError, match="strongroom agent token web"):
        Callers({"web": CallerSettings(principal="web", token=source)})


def test_two_callers_cannot_be_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="another caller's"):
        known(tmp_path, web=TOKEN, job=TOKEN)
    users = {name: CallerSettings(principal=name, uid=1234) for name in ("one", "other")}
    with pytest.raises(ConfigurationError, match="the same user"):
        Callers(users)


def test_a_user_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="does not know"):
        Callers({"x": CallerSettings(principal="x", user="no-such-user-here")})


def test_a_bucket_lets_so_many_through_and_then_so_many_a_second() -> None:
    clock = FakeClock()
    bucket = Bucket(10.0, 5, clock)
    assert [bucket.take() for _ in range(5)] == [0.0] * 5
    assert bucket.take() == pytest.approx(0.1)
    clock.advance(0.1)
    assert bucket.take() == 0.0
    assert bucket.take(5) == pytest.approx(0.5)
    clock.advance(100)
    assert [bucket.take() for _ in range(6)][-1] > 0


def test_more_than_a_bucket_holds_takes_all_of_it() -> None:
    clock = FakeClock()
    bucket = Bucket(1.0, 5, clock)
    assert bucket.take(100) == 0.0
    assert bucket.take(100) == pytest.approx(5.0)

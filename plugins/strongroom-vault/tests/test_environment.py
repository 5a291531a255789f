"""Where the server is and how it is reached: the configuration, then BAO_*, then VAULT_*."""

from __future__ import annotations

import contextlib

from typing import Any

import pytest

from hypothesis import given
from hypothesis import strategies as st

from strongroom.errors import ConfigurationError
from strongroom_vault import environment as env
from strongroom_vault.settings import TLSSettings, VaultSettings
from strongroom_vault.target import Target, Trust, resolve

ADDRESS = "https://vault.example.com:8200"


def target(settings: VaultSettings | None = None, **variables: str) -> Target:
    return resolve(settings or VaultSettings(), {"VAULT_ADDR": ADDRESS} | variables)


VARIABLES = [
    ("ADDR", "http://other:1", "addresses", ("http://other:1",)),
    ("ADDR", "http://other:1/", "addresses", ("http://other:1",)),
    ("ADDR", "http://[::1]:8200", "addresses", ("http://[::1]:8200",)),
    ("AGENT_ADDR", "http://agent:1", "addresses", ("http://agent:1",)),
    ("AGENT_ADDR", "unix:///run/agent.sock", "addresses", ("unix:///run/agent.sock",)),
    ("NAMESPACE", "/team/a/", "namespace", "team/a"),
    ("NAMESPACE", "root", "namespace", ""),
    ("CLIENT_TIMEOUT", "30", "timeout", 30.0),
    ("CLIENT_TIMEOUT", "1m30s", "timeout", 90.0),
    ("MAX_RETRIES", "0", "attempts", 1),
    ("MAX_RETRIES", "5", "attempts", 6),
    ("RATE_LIMIT", "10.5", "rate_limit", 10.5),
    ("RATE_LIMIT", "10:3", "burst", 3),
    ("RATE_LIMIT", "10", "burst", 10),
    ("HTTP_PROXY", "http://proxy:1", "proxy", "http://proxy:1"),
    ("PROXY_ADDR", "http://proxy:1", "proxy", "http://proxy:1"),
    ("DISABLE_REDIRECTS", "true", "redirects", False),
    ("SRV_LOOKUP", "false", "addresses", (ADDRESS,)),
    ("CACERT", "/ca.pem", "tls", Trust(ca_file="/ca.pem")),
    ("CAPATH", "/ca", "tls", Trust(ca_folder="/ca")),
    ("CACERT_BYTES", "-----BEGIN", "tls", Trust(ca_text="-----BEGIN")),
    ("CLIENT_CERT", "/c.pem", "tls", Trust(client_cert="/c.pem")),
    ("SKIP_VERIFY", "T", "tls", Trust(verify=False)),
    ("SKIP_VERIFY", "0", "tls", Trust(verify=True)),
    ("TLS_SERVER_NAME", "vault.internal", "tls", Trust(server_name="vault.internal")),
]


@pytest.mark.parametrize("prefix", ["BAO_", "VAULT_"])
@pytest.mark.parametrize(("variable", "text", "field", "expected"), VARIABLES)
def test_a_variable_is_read_under_both_prefixes(
    prefix: str, variable: str, text: str, field: str, expected: Any
) -> None:
    assert getattr(target(**{prefix + variable: text}), field) == expected


@pytest.mark.parametrize(("variable", "text", "field", "expected"), [v for v in VARIABLES if v[0] != "SRV_LOOKUP"])
def test_the_first_prefix_wins_even_if_it_is_empty(variable: str, text: str, field: str, expected: Any) -> None:
    assert getattr(target(**{f"BAO_{variable}": text, f"VAULT_{variable}": "not even usable"}), field) == expected
    if variable != "ADDR":
        hidden = target(**{f"BAO_{variable}": "", f"VAULT_{variable}": text})
        assert getattr(hidden, field) == getattr(target(), field)


def test_an_empty_address_hides_the_other_one_and_the_error_says_so() -> None:
    with pytest.raises(ConfigurationError, match="BAO_ADDR is set, and empty"):
        target(BAO_ADDR="")


def test_without_an_address_the_error_says_where_to_give_one() -> None:
    with pytest.raises(
        ConfigurationError, match="set `address` of the backend, or the variable BAO_ADDR or VAULT_ADDR"
    ):
        resolve(VaultSettings(), {})


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("ADDR", "vault.example.com:8200"),
        ("ADDR", "ftp://vault"),
        ("ADDR", "https://"),
        ("ADDR", "https://user:secret@vault"),
        ("ADDR", "https://vault:99999"),
        ("ADDR", "https://vault?x=1"),
        ("AGENT_ADDR", "unix://"),
        ("CLIENT_TIMEOUT", "soon"),
        ("CLIENT_TIMEOUT", "0"),
        ("CLIENT_TIMEOUT", "-1"),
        ("CLIENT_TIMEOUT", "nan"),
        ("CLIENT_TIMEOUT", "5 minutes"),
        ("MAX_RETRIES", "-1"),
        ("MAX_RETRIES", "two"),
        ("SKIP_VERIFY", "yes"),
        ("SRV_LOOKUP", "on"),
        ("SRV_LOOKUP", "1"),
        ("DISABLE_REDIRECTS", "2"),
        ("RATE_LIMIT", "0"),
        ("RATE_LIMIT", "10:0"),
        ("RATE_LIMIT", "many"),
        ("RATE_LIMIT", "inf"),
        ("HTTP_PROXY", "proxy:3128"),
        ("PROXY_ADDR", "socks5://proxy"),
    ],
)
def test_a_variable_that_is_not_usable_is_named_and_not_shown(variable: str, text: str) -> None:
    with pytest.raises(ConfigurationError, match=f"VAULT_{variable}") as raised:
        target(**{f"VAULT_{variable}": text})
    assert "secret" not in str(raised.value)


def test_the_configuration_wins_over_every_variable() -> None:
    settings = VaultSettings(
        address="http://here:1",
        namespace="mine",
        timeout=1.0,
        attempts=2,
        rate_limit=5.0,
        proxy="",
        redirects=True,
        tls=TLSSettings(verify=True, ca_file="/mine.pem", client_cert="/mine-cert.pem", server_name="mine"),
    )
    others = {name: text for name, text, *_ in VARIABLES if name != "SRV_LOOKUP"}
    assert target(settings, **{f"BAO_{name}": text for name, text in others.items()}) == Target(
        addresses=("http://here:1",),
        namespace="mine",
        timeout=1.0,
        attempts=2,
        rate_limit=5.0,
        burst=5,
        proxy="",
        tls=Trust(ca_file="/mine.pem", client_cert="/mine-cert.pem", server_name="mine"),
    )


def test_a_configured_authority_is_neither_added_to_nor_switched_off_by_a_variable() -> None:
    settings = VaultSettings(tls=TLSSettings(ca_folder="/mine"))
    found = target(settings, VAULT_CACERT="/theirs.pem", VAULT_CACERT_BYTES="theirs", VAULT_SKIP_VERIFY="true")
    assert found.tls == Trust(ca_folder="/mine")


def test_a_configured_certificate_does_not_get_the_key_of_a_variable() -> None:
    settings = VaultSettings(tls=TLSSettings(client_cert="/mine.pem"))
    assert target(settings, VAULT_CLIENT_KEY="/theirs.key").tls.client_key is None


def test_a_client_key_without_a_certificate_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="without its certificate"):
        target(VAULT_CLIENT_KEY="/c.key")


def test_the_agents_address_and_its_proxy_win_over_the_plain_ones() -> None:
    assert target(VAULT_AGENT_ADDR="http://agent:1").addresses == ("http://agent:1",)
    assert target(VAULT_HTTP_PROXY="http://one:1", VAULT_PROXY_ADDR="http://two:1").proxy == "http://two:1"


@pytest.mark.parametrize("spelling", ["", "/", "root", "/root/", "root/"])
def test_each_spelling_of_the_root_namespace_is_the_same(spelling: str) -> None:
    assert target(VaultSettings(namespace=spelling), VAULT_NAMESPACE="other").namespace == ""


@pytest.mark.parametrize("spelling", ["a", "a/", "/a"])
def test_slashes_around_a_namespace_mean_nothing(spelling: str) -> None:
    assert target(VaultSettings(namespace=spelling)).namespace == "a"


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("vault", "must be a URL"),
        (("http://a", "b"), "must be a URL"),
        ("https://user@vault", "must not hold a user"),
        ("https://vault/#x", "without query"),
        ("unix://run/vault.sock", "after three slashes"),
    ],
)
def test_a_configured_address_that_is_none_is_a_problem_of_the_settings(address: Any, problem: str) -> None:
    assert any(problem in found for found in VaultSettings(address=address).problems())
    assert not VaultSettings(address=(ADDRESS, "unix:///run/x", "http://h/prefix")).problems()


def test_nothing_that_holds_a_proxys_password_shows_it() -> None:
    settings = VaultSettings(address="http://a", proxy="http://user:pa55word@proxy.example.com:3128")
    for shown in (repr(settings), repr(resolve(settings, {}))):
        assert "pa55word" not in shown
        assert "http://...@proxy.example.com:3128" in shown


def test_a_configured_proxy_that_is_none_is_a_problem_of_the_settings() -> None:
    assert VaultSettings(proxy="proxy:3128").problems()
    assert not VaultSettings(proxy="").problems()


@given(hours=st.integers(0, 99), minutes=st.integers(0, 99), milliseconds=st.integers(0, 9999))
def test_durations_add_their_parts_up(hours: int, minutes: int, milliseconds: int) -> None:
    total = hours * 3600 + minutes * 60 + milliseconds / 1000
    text = f"{hours}h{minutes}m{milliseconds}ms"
    if total:
        assert env.seconds(text) == pytest.approx(total)
    else:
        with pytest.raises(ValueError):
            env.seconds(text)


@given(st.text(max_size=12))
def test_whatever_a_variable_holds_is_read_or_refused(text: str) -> None:
    for parse in (env.flag, env.whole_number, env.seconds, env.rate):
        with contextlib.suppress(ValueError):
            assert parse(text) is not None

"""What the settings allow."""

from __future__ import annotations

from typing import Any

import pytest

from hypothesis import given
from hypothesis import strategies as st

from hostnames import HOSTS
from strongroom.contracts import KeySource
from strongroom.model import SecretValue
from strongroom_rotate_tls.names import name_problem
from strongroom_rotate_tls.settings import TlsSettings


class Somewhere(KeySource):
    """A reference that nobody follows here."""

    def read(self) -> SecretValue:
        raise AssertionError("settings read nothing")

    def describe(self) -> str:
        return "somewhere"


def problems(**settings: Any) -> list[str]:
    return TlsSettings(**{"ca": "tls/ca", "names": ("web.example.com",)} | settings).problems()


def test_a_name_and_an_authority_are_all_that_is_needed() -> None:
    assert problems() == []


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"ca": None}, "ca is needed, or ca_certificate and ca_key"),
        ({"ca": None, "ca_key": Somewhere()}, "ca is needed, or ca_certificate and ca_key"),
        ({"ca_key": Somewhere()}, "ca stands for ca_certificate and ca_key: give it or them"),
        ({"names": ()}, "names or addresses are needed: clients look at nothing else"),
        ({"names": (), "common_name": "the orders service"}, "names or addresses are needed: clients look at nothing"),
        ({"common_name": "x" * 65}, "common_name is not 1 to 64 printable characters"),
        ({"common_name": "ü" * 33}, "common_name is longer than 64 bytes in UTF-8"),
        ({"common_name": ""}, "common_name is not 1 to 64 printable characters"),
        ({"organization": "a\nb"}, "organization is not 1 to 64 printable characters"),
        ({"key": "dsa"}, "key is none of ec-p256, ec-p384, ed25519, rsa-3072"),
        ({"usage": "mail"}, "usage is none of server, client, both"),
        ({"format": "pkcs12"}, "format is none of json, pem"),
        ({"life": 0.5}, "life is not from 1 second to 100 years"),
        ({"addresses": ("web.example.com",)}, "addresses: 'web.example.com' is no IP address"),
        ({"addresses": ("fe80::1%eth0",)}, "addresses: 'fe80::1%eth0' has a zone"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings: dict[str, Any], problem: str) -> None:
    (found,) = problems(**settings)
    assert found.startswith(problem)


def test_the_common_name_is_a_name_too_if_it_is_one() -> None:
    settings = TlsSettings(ca="tls/ca", common_name="Web.example.com", names=("a.example.com", "web.example.com"))
    assert settings.dns_names == ("web.example.com", "a.example.com")
    assert TlsSettings(ca="tls/ca", common_name="Orders", names=("a.example.com",)).dns_names[-1] == "a.example.com"
    assert TlsSettings(ca="tls/ca", common_name="two words", names=("a.b",)).dns_names == ("a.b",)


@given(HOSTS, st.booleans())
def test_every_host_name_is_accepted_with_and_without_an_asterisk(host: str, wild: bool) -> None:
    assert name_problem(f"*.{host}" if wild else host) == ""


@given(HOSTS, st.characters(exclude_characters="abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-."))
def test_a_name_with_any_other_character_is_refused(host: str, foreign: str) -> None:
    assert name_problem(host[:1] + foreign + host[1:]) != ""


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "a..b",
        ".a",
        "a.",
        "-a",
        "a-.b",
        "a.*.b",
        "w*.a",
        "*",
        "*.",
        "1.2.3.4",
        "a.1",
        "x" * 64,
        "a." * 127 + "b",
    ],
)
def test_what_is_no_host_name_is_refused(name: str) -> None:
    assert name_problem(name) != ""

"""Certificates of a local authority: what is in them, whom they serve, and what is refused before anything changes."""

from __future__ import annotations

import datetime
import ipaddress
import json
import logging
import ssl

from typing import Any

import pytest

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given, settings
from hypothesis import strategies as st

from authorities import DAY, Made, authority, pem_of
from hostnames import HOSTS
from strongroom.contracts import ApplyRequest, GenerateRequest, KeySource, UndoRequest, VerifyCandidateRequest
from strongroom.errors import CandidateRefusedError, ConfigurationError, InvalidValueError
from strongroom.model import SecretName, SecretValue
from strongroom.testing import assert_hidden, report_of
from strongroom_rotate_tls.rotator import TlsRotator
from strongroom_rotate_tls.settings import FORMATS, KEYS, TlsSettings
from tlsuse import client_of, handshake, members_of, shown_by

NAME = SecretName("tls/web")
CA = "tls/ca"
HOST = "web.example.com"


class Text(KeySource):
    """A reference that leads to a text."""

    def __init__(self, text: str) -> None:
        self._text = text

    def read(self) -> SecretValue:
        return SecretValue(self._text)

    def describe(self) -> str:
        return "a test's text"


class Case:
    """A rotator, and the authority that it reads."""

    def __init__(self, made: Made | str | None = None, now: datetime.datetime | None = None, **more: Any) -> None:
        made = authority() if made is None else made
        self.ca = made.text if isinstance(made, Made) else made
        self.trusted = made.pem if isinstance(made, Made) else ""
        self.settings = TlsSettings(**{"ca": CA, "names": (HOST,)} | more)
        assert self.settings.problems() == []
        self.now = now
        self.rotator = TlsRotator(self.settings, now=self.time)

    def time(self) -> datetime.datetime:
        return self.now or datetime.datetime.now(datetime.UTC)

    def read(self, name: str) -> SecretValue:
        assert name == CA
        return SecretValue(self.ca)

    def generate(self) -> SecretValue:
        request = GenerateRequest(name=NAME, current=SecretValue("none yet"), attempt=1, read_secret=self.read)
        return self.rotator.generate(request).value

    def verify(self, value: SecretValue) -> None:
        self.rotator.verify(VerifyCandidateRequest(name=NAME, candidate=value, read_secret=self.read))

    def certificate(self) -> x509.Certificate:
        return certificate_of(self.generate())


def certificate_of(value: SecretValue) -> x509.Certificate:
    return x509.load_pem_x509_certificate(members_of(value.reveal_text())["certificate"].encode())


def extension(certificate: x509.Certificate, kind: type[Any]) -> Any:
    return certificate.extensions.get_extension_for_class(kind).value


# What they are used for


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("key", KEYS)
def test_a_server_that_shows_it_is_accepted_under_each_of_its_names(key: str, format: str) -> None:
    case = Case(key=key, format=format, names=(HOST, "*.apps.example.com"), addresses=("127.0.0.1", "::1"))
    value = case.generate()
    case.verify(value)
    server, client = shown_by(value.reveal_text(), server=True), client_of(case.trusted)
    for name in (HOST, "orders.apps.example.com", "127.0.0.1", "::1"):
        handshake(server, client, name)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(server, client, "other.example.com")


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP384R1()),
        ed25519.Ed25519PrivateKey.generate(),
        rsa.generate_private_key(65537, 2048),
    ],
    ids=["ec-p384", "ed25519", "rsa-2048"],
)
def test_an_authority_may_have_a_key_of_any_usual_kind(key: Any) -> None:
    case = Case(authority(key=key))
    value = case.generate()
    case.verify(value)
    handshake(shown_by(value.reveal_text(), server=True), client_of(case.trusted), HOST)


def test_client_and_server_accept_each_other_and_no_certificate_of_the_other_kind() -> None:
    ca = authority()
    server, client = (Case(ca, usage=usage).generate().reveal_text() for usage in ("server", "client"))
    both = Case(ca, usage="both").generate().reveal_text()
    for one, other in ((server, client), (both, both)):
        handshake(shown_by(one, server=True, trusted=ca.pem), shown_by(other, server=False, trusted=ca.pem), HOST)
    for one, other in ((client, client), (server, server)):
        with pytest.raises((ssl.SSLError, ConnectionError)):
            handshake(shown_by(one, server=True, trusted=ca.pem), shown_by(other, server=False, trusted=ca.pem), HOST)


@pytest.mark.parametrize("as_json", [True, False])
def test_the_chain_of_an_authority_below_a_root_leads_to_that_in_whatever_order_it_is_kept(as_json: bool) -> None:
    root = authority("root")
    middle = authority("middle", issuer=root)
    ca = authority("issuing", issuer=middle, path_length=0)
    stranger = authority("stranger")
    if as_json:
        chain = "".join((stranger.pem, root.pem, middle.pem))
        case = Case(json.dumps({"certificate": ca.pem, "private_key": ca.key_pem, "chain": chain}))
    else:
        case = Case("notes of a person\n" + root.pem + stranger.pem + ca.key_pem + middle.pem + ca.pem)
    value = case.generate()
    case.verify(value)
    assert members_of(value.reveal_text())["chain"] == ca.pem + middle.pem + root.pem
    handshake(shown_by(value.reveal_text(), server=True), client_of(root.pem), HOST)


def test_an_authority_whose_root_is_not_at_hand_signs_all_the_same() -> None:
    root = authority("root")
    ca = authority("issuing", issuer=root)
    case = Case(ca.pem + ca.key_pem)
    value = case.generate()
    case.verify(value)
    handshake(shown_by(value.reveal_text(), server=True), client_of(root.pem), HOST)


def test_the_authority_may_be_given_as_two_references() -> None:
    ca = authority()
    case = Case("", ca=None, ca_certificate=Text(ca.pem), ca_key=Text(ca.key_pem))
    case.verify(case.generate())


# What is in them


@given(names=st.lists(HOSTS, min_size=1, max_size=5), addresses=st.lists(st.ip_addresses(), max_size=3))
@settings(max_examples=25, deadline=None)
def test_whatever_names_are_given_are_those_of_the_certificate(names: list[str], addresses: list[Any]) -> None:
    case = Case(SHARED, names=tuple(names), addresses=tuple(map(str, addresses)))
    value = case.generate()
    case.verify(value)
    alternatives = extension(certificate_of(value), x509.SubjectAlternativeName)
    assert alternatives.get_values_for_type(x509.DNSName) == list(dict.fromkeys(names))
    assert alternatives.get_values_for_type(x509.IPAddress) == list(dict.fromkeys(addresses))


SHARED = authority()


def test_the_certificate_is_for_what_the_settings_say_and_for_nothing_else() -> None:
    ca = authority()
    made = Case(ca, common_name="Orders", organization="Example", key="rsa-3072", usage="both").certificate()
    assert made.subject.rfc4514_string() == "CN=Orders,O=Example"
    assert made.issuer == ca.certificate.subject
    assert made.version is x509.Version.v3
    assert extension(made, x509.BasicConstraints) == x509.BasicConstraints(ca=False, path_length=None)
    both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    assert list(extension(made, x509.ExtendedKeyUsage)) == both
    usage = extension(made, x509.KeyUsage)
    assert (usage.digital_signature, usage.key_encipherment, usage.key_cert_sign) == (True, True, False)
    own = extension(ca.certificate, x509.SubjectKeyIdentifier)
    assert extension(made, x509.AuthorityKeyIdentifier).key_identifier == own.digest
    public = x509.SubjectKeyIdentifier.from_public_key(made.public_key())
    assert extension(made, x509.SubjectKeyIdentifier) == public


def test_the_first_name_is_the_common_name_unless_it_is_too_long_for_one() -> None:
    assert Case().certificate().subject.rfc4514_string() == f"CN={HOST}"
    long = ".".join(["x" * 40, "y" * 40, "example.com"])
    made = Case(names=(long,)).certificate()
    assert not list(made.subject)
    assert made.extensions.get_extension_for_class(x509.SubjectAlternativeName).critical


def test_each_certificate_has_a_key_and_a_serial_number_of_its_own() -> None:
    case = Case()
    made = [case.certificate() for _ in range(20)]
    assert len({one.serial_number for one in made}) == len({one.public_key().public_numbers() for one in made}) == 20
    assert all(0 < one.serial_number < 2**159 for one in made)
    assert max(one.serial_number for one in made).bit_length() > 140


def test_a_json_value_says_what_is_in_the_certificate() -> None:
    value = Case().generate()
    found, made = json.loads(value.reveal_text()), certificate_of(value)
    assert set(found) == {"certificate", "private_key", "chain", "not_before", "not_after", "serial"}
    assert int(found["serial"].replace(":", ""), 16) == made.serial_number
    assert datetime.datetime.fromisoformat(found["not_before"]) == made.not_valid_before_utc
    assert datetime.datetime.fromisoformat(found["not_after"]) == made.not_valid_after_utc


# Times


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(("life", "before"), [(90 * 86400, 300), (3000, 300), (60, 6), (30, 3)])
def test_it_begins_a_little_early_and_lives_as_long_as_it_is_told(life: int, before: int, format: str) -> None:
    now = datetime.datetime.now(datetime.UTC)
    case = Case(life=life, now=now, format=format)
    found = case.rotator.life(case.generate())
    second = now.replace(microsecond=0)
    assert found is not None
    assert (found.begins, found.ends) == (
        second - datetime.timedelta(seconds=before),
        second + datetime.timedelta(seconds=life),
    )


def test_it_lives_no_longer_than_each_certificate_above_it_and_a_warning_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    root = authority("root", ends=10 * DAY)
    ca = authority("issuing", issuer=root, ends=30 * DAY, begins=-datetime.timedelta(seconds=60))
    case = Case(ca)
    with caplog.at_level(logging.WARNING):
        value = case.generate()
    made = certificate_of(value)
    assert made.not_valid_after_utc == root.certificate.not_valid_after_utc
    assert made.not_valid_before_utc == ca.certificate.not_valid_before_utc
    assert "renew the authority" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        Case(ca, life=86400.0).generate()
    assert caplog.text == ""


def test_a_value_that_is_no_certificate_has_no_life() -> None:
    rotator = Case().rotator
    for value in (b"", b"first", b"{}", b"[]", b'{"certificate": 5}', b"\xff\x00", b"[" * 100_000):
        with pytest.raises(InvalidValueError):
            rotator.life(SecretValue(value))


# What is refused


def test_nothing_but_the_readers_has_to_take_it() -> None:
    case = Case()
    one, other = case.generate(), case.generate()

    def confirm() -> None:
        raise AssertionError("nothing is changed")

    common: dict[str, Any] = {"name": NAME, "current": one, "candidate": other, "read_secret": case.read}
    case.rotator.apply(ApplyRequest(**common, confirm=confirm))
    case.rotator.undo(UndoRequest(**common, confirm=confirm))
    case.rotator.close()


def clients_only() -> x509.ExtendedKeyUsage:
    return x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])


def no_names() -> x509.NameConstraints:
    return x509.NameConstraints(permitted_subtrees=[x509.DNSName("other.test")], excluded_subtrees=None)


@pytest.mark.parametrize(
    ("ca", "says"),
    [
        (lambda: authority(ca=False), "is not that of an authority"),
        (lambda: authority(ca=None), "is not that of an authority"),
        (lambda: authority(signs=False), "is not for signing certificates"),
        (lambda: authority(ends=-DAY / 2), "has ended at"),
        (lambda: authority(begins=DAY), "begins at"),
        (lambda: authority(issuer=authority("root", ends=-DAY / 2)), "has ended at"),
        (lambda: authority(issuer=authority("root", path_length=0)), "allows no authorities below it, and there are 1"),
        (lambda: authority(extensions=((no_names(), True),)), "is not accepted with the authority's certificates"),
        (
            lambda: authority(key=ed25519.Ed25519PrivateKey.generate(), extensions=((no_names(), True),)),
            "is not accepted with the authority's certificates",
        ),
        (lambda: authority(extensions=((clients_only(), False),)), "is not accepted with the authority's certificates"),
    ],
)
def test_an_authority_that_may_not_sign_is_refused_before_anything_changes(ca: Any, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        Case(ca()).generate()


def tree(*, permitted: Any = None, excluded: Any = None) -> Made:
    """Return an authority of a kind that the verifier does not know, with constraints."""
    limits = x509.NameConstraints(permitted_subtrees=permitted, excluded_subtrees=excluded)
    return authority(key=ed25519.Ed25519PrivateKey.generate(), extensions=((limits, True),))


NET = [x509.IPAddress(ipaddress.ip_network("10.0.0.0/8"))]
DOMAIN = [x509.DNSName("Example.com")]


@pytest.mark.parametrize(
    ("limits", "more", "fits"),
    [
        ({"permitted": DOMAIN}, {}, True),
        ({"permitted": DOMAIN}, {"names": ("*.example.com", "EXAMPLE.com")}, True),
        ({"permitted": DOMAIN}, {"names": ("badexample.com",)}, False),
        ({"permitted": DOMAIN}, {"names": ("*.com",)}, False),
        ({"permitted": DOMAIN}, {"addresses": ("10.1.1.1",)}, True),
        ({"permitted": NET}, {"addresses": ("10.1.1.1",)}, True),
        ({"permitted": NET}, {"addresses": ("11.1.1.1",)}, False),
        ({"permitted": NET}, {"addresses": ("::1",)}, False),
        ({"excluded": DOMAIN}, {}, False),
        ({"excluded": DOMAIN}, {"names": ("*.com",)}, False),
        ({"excluded": DOMAIN}, {"names": ("*.a.com", "com")}, True),
        ({"excluded": NET}, {"addresses": ("10.1.1.1",)}, False),
    ],
)
def test_name_constraints_count_whatever_the_kind_of_the_authoritys_key(limits: Any, more: Any, fits: bool) -> None:
    case = Case(tree(**limits), **more)
    if fits:
        case.generate()
    else:
        with pytest.raises(ConfigurationError, match="is not accepted with the authority's certificates"):
            case.generate()


def test_an_ed448_authority_that_has_no_identifier_signs() -> None:
    case = Case(authority(key=ed448.Ed448PrivateKey.generate(), identified=False))
    case.verify(case.generate())


def test_a_name_with_an_asterisk_may_be_as_long_as_any() -> None:
    case = Case(names=("*." + ".".join(["a" * 63] * 3 + ["b" * 59]),))
    case.verify(case.generate())


def test_a_certificate_of_a_version_that_there_is_not_is_refused() -> None:
    ca = authority()
    odd = ca.certificate.public_bytes(Encoding.DER).replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x05", 1)
    pem = ssl.DER_cert_to_PEM_cert(odd)
    with pytest.raises(InvalidValueError, match="cannot be read"):
        Case(ca.text + pem).generate()
    with pytest.raises(InvalidValueError, match="cannot be read"):
        Case().rotator.life(SecretValue(pem))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (lambda ca: "", "holds no certificate"),
        (lambda ca: "not PEM at all", "holds no certificate"),
        (lambda ca: ca.key_pem, "holds no certificate"),
        (lambda ca: ca.pem, "holds no private key"),
        (lambda ca: ca.pem + ca.key_pem + authority().key_pem, "holds 2 private keys"),
        (lambda ca: ca.pem + authority().key_pem, "do not belong together"),
        (lambda ca: ca.pem + ca.encrypted_key_pem, "is encrypted"),
        (lambda ca: ca.pem.replace("M", "N", 9) + ca.key_pem, "cannot be read"),
        (lambda ca: ca.pem + cut(ca.key_pem), "cannot be read"),
        (lambda ca: json.dumps({"certificate": ca.pem}), "holds no private key"),
        (lambda ca: authority(key=rsa.generate_private_key(65537, 1024)).text, "less than 2048 bits"),
    ],
)
def test_what_is_no_authority_is_refused_and_its_key_not_shown(text: Any, says: str) -> None:
    ca = authority()
    with pytest.raises(InvalidValueError, match=says) as caught:
        Case(text(ca)).generate()
    assert caught.value.name == CA
    report = report_of(caught.value, "strongroom_rotate_tls")
    for line in ca.key_pem.splitlines()[1:-1]:
        assert_hidden(line, report, "the error's report")


def cut(pem: str) -> str:
    first, second, *rest = pem.splitlines(keepends=True)
    return "".join([first, second[:-9] + "\n", *rest])


def test_a_candidate_is_refused_once_it_would_not_be_accepted_any_more() -> None:
    case = Case()
    value = case.generate()
    for change, says in (
        (lambda: setattr(case, "now", datetime.datetime.now(datetime.UTC) + 91 * DAY), "is not valid now"),
        (lambda: setattr(case, "ca", authority().text), "is not signed by the authority"),
    ):
        before = case.now, case.ca
        change()
        with pytest.raises(CandidateRefusedError, match=says):
            case.verify(value)
        case.now, case.ca = before
    case.verify(value)
    other = Case(case.ca, names=("other.example.com",))
    with pytest.raises(CandidateRefusedError, match="is not made out to the names"):
        other.verify(value)


def test_a_candidate_with_the_key_of_another_one_is_refused_and_neither_key_shown() -> None:
    case = Case()
    one, other = (json.loads(case.generate().reveal_text()) for _ in range(2))
    mixed = json.dumps(one | {"private_key": other["private_key"]})
    with pytest.raises(CandidateRefusedError, match="does not belong to its private key") as caught:
        case.verify(SecretValue(mixed))
    report = report_of(caught.value, "strongroom_rotate_tls")
    for line in other["private_key"].splitlines()[1:-1]:
        assert_hidden(line, report, "the error's report")


def test_a_foreign_certificate_with_the_authoritys_name_is_refused() -> None:
    case = Case()
    forged = Case(authority()).generate()
    with pytest.raises(CandidateRefusedError, match="is not signed by the authority"):
        case.verify(forged)


def test_no_key_is_in_what_is_shown_of_the_rotator_and_its_settings() -> None:
    ca = authority()
    case = Case("", ca=None, ca_certificate=Text(ca.pem), ca_key=Text(ca.key_pem))
    value = case.generate()
    shown = repr((case.rotator, case.settings, value, vars(case.rotator)))
    for key in (ca.key_pem, members_of(value.reveal_text())["private_key"]):
        for line in key.splitlines()[1:-1]:
            assert_hidden(line, shown, "the repr")


def test_an_authority_made_with_openssl_by_hand_needs_no_key_usage() -> None:
    ca = authority(signs=None)
    case = Case(ca)
    value = case.generate()
    case.verify(value)
    handshake(shown_by(value.reveal_text(), server=True), client_of(pem_of(ca.certificate)), HOST)

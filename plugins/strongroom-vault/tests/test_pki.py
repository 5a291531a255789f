"""Certificates that a PKI engine issues: against a real server, and where that cannot be had, one that is told."""

from __future__ import annotations

import json
import ssl

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from authorities import authority
from fakes import FakeVault
from logins import Given
from openbao import ROOT_TOKEN, Server
from pkis import HOST, assert_no_key_in, certificate_of, revoked
from strongroom.contracts import (
    ApplyRequest,
    FinishRequest,
    GenerateRequest,
    UndoRequest,
    VerifyCandidateRequest,
)
from strongroom.errors import (
    AccessDeniedError,
    BackendError,
    BackendUnavailableError,
    CandidateRefusedError,
    ConfigurationError,
    InvalidValueError,
    RotationError,
    StrongroomError,
    UndoRefusedError,
)
from strongroom.model import SecretName, SecretValue
from strongroom.testing import RotatorContract, in_forked_child, report_of
from strongroom_vault import plugin
from strongroom_vault.pki import PkiRotator
from strongroom_vault.settings import AuthSettings, PkiSettings
from tlsuse import client_of, handshake, members_of, shown_by

NAME = SecretName("tls/web")
ISSUE = "/v1/pki/issue/web"
REVOKE = "/v1/pki/revoke"


class Case:
    """A rotator, and what the core would call it with."""

    def __init__(self, server: Any, *, token: str = ROOT_TOKEN, now: datetime | None = None, **more: Any) -> None:
        given = {"address": server.address, "proxy": "", "auth": AuthSettings(token=Given(token))}
        self.settings = PkiSettings(**given | {"role": "web", "common_name": HOST} | more)
        assert self.settings.problems() == []
        self.confirmed = 0
        self.now = now
        self.rotator = PkiRotator.open(self.settings)
        self.rotator._now = self.time  # noqa: SLF001  # the settings know no clock

    def time(self) -> datetime:
        return self.now or datetime.now(UTC)

    def confirm(self) -> None:
        self.confirmed += 1

    def read(self, name: str) -> SecretValue:
        raise AssertionError(f"{name} is not needed")

    def generate(self) -> SecretValue:
        request = GenerateRequest(name=NAME, current=SecretValue("none yet"), attempt=1, read_secret=self.read)
        return self.rotator.generate(request).value

    def verify(self, value: SecretValue) -> None:
        self.rotator.verify(VerifyCandidateRequest(name=NAME, candidate=value, read_secret=self.read))

    def finish(self, former: SecretValue, current: SecretValue) -> None:
        common: dict[str, Any] = {"name": NAME, "read_secret": self.read, "confirm": self.confirm}
        self.rotator.finish(FinishRequest(former=former, current=current, **common))

    def undo(self, candidate: SecretValue, current: SecretValue, *, promoted: bool = False) -> None:
        common: dict[str, Any] = {"name": NAME, "read_secret": self.read, "confirm": self.confirm}
        self.rotator.undo(UndoRequest(candidate=candidate, current=current, promoted=promoted, **common))


@pytest.fixture
def case(server: Server, authority_mount: str) -> Iterator[Case]:
    made = Case(server, mount=authority_mount)
    yield made
    made.rotator.close()


class TestContract(RotatorContract):
    dependent = False  # a certificate is good from its issue on

    @pytest.fixture
    def rotator(self, case: Case) -> PkiRotator:
        return case.rotator

    @pytest.fixture
    def current(self, case: Case) -> SecretValue:
        return case.generate()


class TestIssuing:
    """What is asked for, and what comes of it."""

    @pytest.mark.parametrize("format", ["json", "pem"])
    @pytest.mark.parametrize("role", ["ec-256", "ec-384", "ed25519-0", "rsa-2048"])
    def test_a_server_that_shows_it_is_accepted_under_each_of_its_names(
        self, server: Server, authority_mount: str, role: str, format: str
    ) -> None:
        case = Case(
            server, mount=authority_mount, role=role, format=format, alt_names=("b.x.test",), ip_sans=("127.0.0.1",)
        )
        value = case.generate()
        case.verify(value)
        text = value.reveal_text()
        chain = members_of(text)["chain"].split("-----BEGIN")
        shown, client = shown_by(text, server=True), client_of("-----BEGIN" + chain[-1])
        for name in (HOST, "b.x.test", "127.0.0.1"):
            handshake(shown, client, name)
        case.rotator.close()

    def test_a_json_value_says_what_is_in_the_certificate(self, case: Case) -> None:
        value = case.generate()
        found, made = json.loads(value.reveal_text()), certificate_of(value)
        assert set(found) == {"certificate", "private_key", "chain", "not_before", "not_after", "serial"}
        assert int(found["serial"].replace(":", ""), 16) == made.serial_number
        assert datetime.fromisoformat(found["not_after"]) == made.not_valid_after_utc
        assert found["private_key"].startswith("-----BEGIN PRIVATE KEY-----")
        life = case.rotator.life(value)
        assert (life.begins, life.ends) == (made.not_valid_before_utc, made.not_valid_after_utc)

    def test_it_lives_as_long_as_it_is_told(self, server: Server, authority_mount: str) -> None:
        case = Case(server, mount=authority_mount, ttl=120.0)
        left = case.rotator.life(case.generate()).ends - datetime.now(UTC)
        assert timedelta(seconds=100) < left <= timedelta(seconds=120)
        case.rotator.close()

    @pytest.mark.parametrize(
        ("more", "says"),
        [
            ({"common_name": "elsewhere.test"}, "elsewhere.test not allowed by this role"),
            ({"role": "missing"}, "unknown role: missing"),
            ({"mount": "nowhere"}, "there is no PKI engine at nowhere"),
            ({"mount": "secret"}, "there is no PKI engine at secret"),
        ],
    )
    def test_what_is_not_allowed_says_why(
        self, server: Server, authority_mount: str, more: dict[str, Any], says: str
    ) -> None:
        case = Case(server, **{"mount": authority_mount} | more)
        with pytest.raises(ConfigurationError, match=says):
            case.generate()
        case.rotator.close()

    def test_a_token_without_the_right_is_denied(self, server: Server, authority_mount: str) -> None:
        server.policy("no-pki", 'path "secret/*" { capabilities = ["read"] }')
        case = Case(server, mount=authority_mount, token=server.new_token("no-pki"))
        with pytest.raises(AccessDeniedError):
            case.generate()
        case.rotator.close()

    def test_a_forked_child_has_one_issued_over_connections_of_its_own(self, case: Case) -> None:
        case.generate()
        assert in_forked_child(lambda: len(case.generate()) > 0)
        case.generate()


class TestRevoking:
    """What finishing and undoing take back."""

    def test_finishing_revokes_the_former_certificate_and_no_other_however_often(
        self, server: Server, authority_mount: str, case: Case
    ) -> None:
        former, current = case.generate(), case.generate()
        for _ in range(2):
            case.finish(former, current)
        assert revoked(server, authority_mount, former)
        assert not revoked(server, authority_mount, current)
        assert case.confirmed == 2

    def test_finishing_revokes_nothing_if_the_settings_say_so(self, server: Server, authority_mount: str) -> None:
        case = Case(server, mount=authority_mount, revoke_former=False)
        former, current = case.generate(), case.generate()
        case.finish(former, current)
        assert not revoked(server, authority_mount, former)
        case.rotator.close()

    def test_undoing_revokes_the_candidate_however_often(
        self, server: Server, authority_mount: str, case: Case
    ) -> None:
        current, candidate = case.generate(), case.generate()
        for _ in range(2):
            case.undo(candidate, current)
        assert revoked(server, authority_mount, candidate)
        assert not revoked(server, authority_mount, current)

    @pytest.mark.parametrize("weak", [False, True])
    def test_one_that_finishing_has_revoked_cannot_become_current_again(
        self, server: Server, authority_mount: str, case: Case, weak: bool
    ) -> None:
        former, candidate = case.generate(), case.generate()
        case.finish(former, candidate)
        server.policy("only-rotate", f'path "{authority_mount}/revoke" {{ capabilities = ["update"] }}')
        # Anybody may ask for a certificate.
        token = server.new_token("only-rotate") if weak else ROOT_TOKEN
        other = Case(server, mount=authority_mount, token=token)
        for _ in range(2):
            with pytest.raises(UndoRefusedError, match="of tls/web was revoked already") as caught:
                other.undo(candidate, former, promoted=True)
        assert "rotate tls/web --resume" in caught.value.hint
        assert other.confirmed == 0
        assert not revoked(server, authority_mount, candidate)
        other.rotator.close()

    def test_a_promoted_one_is_undone_as_long_as_the_former_one_is_good(
        self, server: Server, authority_mount: str, case: Case
    ) -> None:
        unstored = Case(server, mount=authority_mount, role="unstored")
        for former in (case.generate(), unstored.generate(), SecretValue(authority().text), SecretValue("by hand")):
            candidate = case.generate()
            case.undo(candidate, former, promoted=True)
            assert revoked(server, authority_mount, candidate)
        unstored.rotator.close()

    def test_one_that_is_not_promoted_is_undone_whatever_readers_have(
        self, server: Server, authority_mount: str, case: Case
    ) -> None:
        current, candidate, next_one = (case.generate() for _ in range(3))
        case.finish(current, candidate)
        case.undo(next_one, current)
        assert revoked(server, authority_mount, next_one)

    def test_a_certificate_that_stays_current_is_not_revoked(
        self, server: Server, authority_mount: str, case: Case
    ) -> None:
        value = case.generate()
        again = SecretValue(json.dumps(json.loads(value.reveal_text()), indent=1))
        case.undo(value, again)
        case.finish(value, again)
        assert not revoked(server, authority_mount, value)
        assert case.confirmed == 0

    @pytest.mark.parametrize("former", ["none yet", "{}", "", authority().text])
    def test_a_former_value_that_the_server_has_not_issued_is_no_error(self, case: Case, former: str) -> None:
        case.finish(SecretValue(former), case.generate())

    def test_one_that_the_server_does_not_keep_is_no_error(self, server: Server, authority_mount: str) -> None:
        case = Case(server, mount=authority_mount, role="unstored")
        case.finish(case.generate(), case.generate())
        case.rotator.close()

    def test_one_that_has_ended_is_left_alone(self, server: Server, authority_mount: str) -> None:
        case = Case(server, mount=authority_mount, now=datetime.now(UTC) + timedelta(days=1))
        former, current = case.generate(), case.generate()
        case.finish(former, current)
        assert not revoked(server, authority_mount, former)
        case.rotator.close()

    def test_what_confirm_raises_passes_and_nothing_is_revoked(
        self, server: Server, authority_mount: str, case: Case
    ) -> None:
        current, candidate = case.generate(), case.generate()

        def confirm() -> None:
            raise RotationError("somebody else leads it now", code="rotation_lost")

        common: dict[str, Any] = {"name": NAME, "read_secret": case.read, "confirm": confirm}
        with pytest.raises(RotationError, match="somebody else"):
            case.rotator.undo(UndoRequest(candidate=candidate, current=current, **common))
        assert not revoked(server, authority_mount, candidate)

    def test_a_token_that_may_not_revoke_is_told_so(self, server: Server, authority_mount: str, case: Case) -> None:
        server.policy("only-issue", f'path "{authority_mount}/issue/web" {{ capabilities = ["update"] }}')
        weak = Case(server, mount=authority_mount, token=server.new_token("only-issue"))
        former, current = weak.generate(), weak.generate()
        with pytest.raises(AccessDeniedError, match="revoking the certificate"):
            weak.finish(former, current)
        weak.rotator.close()

    def test_applying_asks_the_server_nothing(self, case: Case) -> None:
        common: dict[str, Any] = {"name": NAME, "read_secret": case.read, "confirm": case.confirm}
        sent = case.rotator._transport.requests  # noqa: SLF001  # what has been sent is not to be seen elsewhere
        one = SecretValue("one")
        case.rotator.apply(ApplyRequest(candidate=one, current=one, **common))
        assert case.rotator._transport.requests == sent  # noqa: SLF001  # as above


class TestVerifying:
    """What is refused."""

    def test_one_that_has_ended_is_refused(self, case: Case) -> None:
        value = case.generate()
        case.now = datetime.now(UTC) + timedelta(days=2)
        with pytest.raises(CandidateRefusedError, match="is not valid now"):
            case.verify(value)

    def test_one_whose_issuers_have_ended_is_refused(self, case: Case) -> None:
        ended = authority(ends=-timedelta(hours=1))
        leaf = authority("leaf", issuer=ended, ca=False)
        with pytest.raises(CandidateRefusedError, match="an issuer that is not valid now"):
            case.verify(SecretValue(leaf.text))

    def test_one_with_another_key_or_another_chain_is_refused_and_no_key_shown(self, case: Case) -> None:
        one, other = (json.loads(case.generate().reveal_text()) for _ in range(2))
        for mixed, says in (
            (one | {"private_key": other["private_key"]}, "does not belong to its private key"),
            (one | {"chain": authority().pem}, "is not signed by the issuers"),
            (one | {"chain": ""}, "comes without its issuer"),
        ):
            with pytest.raises(CandidateRefusedError, match=says) as caught:
                case.verify(SecretValue(json.dumps(mixed)))
            assert_no_key_in(report_of(caught.value, "strongroom_vault"), one, other)

    @pytest.mark.parametrize("broken", ["none yet", "{}", "[]", '{"certificate": 1}', "\0", "[" * 100_000])
    def test_what_is_no_certificate_is_an_error(self, case: Case, broken: str) -> None:
        with pytest.raises(InvalidValueError):
            case.verify(SecretValue(broken))
        with pytest.raises(InvalidValueError):
            case.rotator.life(SecretValue(broken))


class TestToldServer:
    """What a real server cannot be made to answer."""

    @pytest.fixture
    def faked(self, vault: FakeVault) -> Iterator[Case]:
        made = Case(vault, attempts=3)
        yield made
        made.rotator.close()

    def test_a_request_whose_answer_is_lost_is_not_sent_again(self, vault: FakeVault, faked: Case) -> None:
        """There may be a certificate by then."""
        vault.answer("POST", ISSUE, reset=True)
        with pytest.raises(BackendUnavailableError, match="may have been changed"):
            faked.generate()
        assert [one.path for one in vault.requests].count(ISSUE) == 1

    def test_a_revocation_whose_answer_is_lost_is_sent_again(self, vault: FakeVault, faked: Case) -> None:
        vault.answer("POST", REVOKE, body={"data": {"state": "revoked"}})
        vault.answer("POST", REVOKE, reset=True, times=1)
        faked.finish(SecretValue(authority().text), SecretValue("{}"))
        assert [one.path for one in vault.requests].count(REVOKE) == 2

    @pytest.mark.parametrize(
        ("status", "errors"), [(404, ["no handler for route"]), (400, ["odd"]), (403, ["permission denied"])]
    )
    def test_nothing_is_revoked_as_long_as_nobody_knows_whether_the_former_one_is(
        self, vault: FakeVault, faked: Case, status: int, errors: list[str]
    ) -> None:
        vault.answer("GET", "/v1/pki/cert/", status, {"errors": errors})
        with pytest.raises(StrongroomError) as caught:
            faked.undo(SecretValue(authority().text), SecretValue(authority().text), promoted=True)
        assert not isinstance(caught.value, UndoRefusedError)
        assert REVOKE not in [one.path for one in vault.requests]

    @pytest.mark.parametrize("lacks", ["private_key", "certificate"])
    def test_an_answer_without_key_or_certificate_is_an_error_that_shows_neither(
        self, vault: FakeVault, faked: Case, lacks: str
    ) -> None:
        made = authority()
        data = {"private_key": made.key_pem, "certificate": made.pem, "issuing_ca": "", "serial_number": "01"}
        vault.answer("POST", ISSUE, body={"data": {**data, lacks: ""}})
        with pytest.raises(BackendError, match="is no certificate with its key") as caught:
            faked.generate()
        assert_no_key_in(report_of(caught.value, "strongroom_vault"), data)

    def test_an_answer_of_a_version_that_there_is_not_is_an_error_that_does_not_show_the_key(
        self, vault: FakeVault, faked: Case
    ) -> None:
        made = authority()
        odd = ssl.PEM_cert_to_DER_cert(made.pem).replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x05", 1)
        data = {"private_key": made.key_pem, "certificate": ssl.DER_cert_to_PEM_cert(odd), "issuing_ca": made.pem}
        vault.answer("POST", ISSUE, body={"data": data})
        with pytest.raises(BackendError, match="is no certificate with its key") as caught:
            faked.generate()
        assert_no_key_in(report_of(caught.value, "strongroom_vault"), data)

    def test_what_is_asked_for_is_what_the_settings_say(self, vault: FakeVault) -> None:
        made = authority()
        data = {"private_key": made.key_pem, "certificate": made.pem, "ca_chain": [made.pem]}
        vault.answer("POST", "/v1/a/pki/issue/web", body={"data": data})
        case = Case(
            vault, mount="a/pki", namespace="ns/one", alt_names=("a.b", "c.d"), ip_sans=("::1", "127.0.0.1"), ttl=90.5
        )
        case.generate()
        assert vault.requests[-1].json == {
            "common_name": HOST,
            "alt_names": "a.b,c.d",
            "ip_sans": "::1,127.0.0.1",
            "ttl": "90s",
            "format": "pem",
            "private_key_format": "pkcs8",
        }
        assert vault.requests[-1].headers.get("x-vault-namespace") == "ns/one"
        case.rotator.close()

    def test_a_reason_that_may_steer_a_terminal_is_not_shown(self, vault: FakeVault, faked: Case) -> None:
        vault.answer("POST", ISSUE, 400, {"errors": ["\x1b[2J gone"]})
        with pytest.raises(ConfigurationError, match="see the server's own log"):
            faked.generate()


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"common_name": None}, "common_name, alt_names or ip_sans is needed"),
        ({"role": "a/b"}, "role must be one word, without a slash"),
        ({"role": ""}, "role must be one word, without a slash"),
        ({"role": ".."}, "role must be segments joined by single slashes"),
        ({"mount": "/"}, "mount must not be empty"),
        ({"mount": "a//b"}, "mount must be segments joined by single slashes"),
        ({"alt_names": ("a.b,c.d",)}, "alt_names and ip_sans are lists, one name an entry"),
        ({"ttl": 0.5}, "ttl must be at least 1 s"),
        ({"format": "der"}, "format must be one of json, pem"),
        ({"attempts": 0}, "attempts must be from 1 to 100"),
        ({"address": "nonsense"}, "address must be a URL such as https://vault.example.com:8200"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(more: dict[str, Any], problem: str) -> None:
    assert PkiSettings(**{"role": "web", "common_name": HOST} | more).problems() == [problem]


def test_without_cryptography_the_rotator_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "cryptography", None)
    (spec,) = plugin.strongroom_rotators()
    with pytest.raises(ConfigurationError, match=r"strongroom-vault\[pki\]"):
        spec.open(PkiSettings(role="web", common_name=HOST))

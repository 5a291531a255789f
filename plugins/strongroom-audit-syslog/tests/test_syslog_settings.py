"""What a configuration may say."""

from typing import Any

import pytest

from hypothesis import given
from hypothesis import strategies as st

from strongroom_audit_syslog.address import parse
from strongroom_audit_syslog.plugin import SyslogSettings


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("udp://logs.example", ("udp", "logs.example", 514, "")),
        ("udp://192.0.2.1:1514", ("udp", "192.0.2.1", 1514, "")),
        ("tcp://logs.example:601/", ("tcp", "logs.example", 601, "")),
        ("tls://logs.example", ("tls", "logs.example", 6514, "")),
        ("tls://[2001:db8::1]", ("tls", "2001:db8::1", 6514, "")),
        ("unix:///dev/log", ("unix", "", 0, "/dev/log")),
    ],
)
def test_an_address_says_transport_host_and_port(text: str, meant: tuple[str, str, int, str]) -> None:
    found = parse(text)
    assert (found.transport, found.host, found.port, found.path) == meant
    assert parse(str(found)) == found


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("logs.example", "does not begin with"),
        ("http://logs.example", "does not begin with"),
        ("tcp://logs.example", "has no port"),
        ("tls://", "has no host"),
        ("tls://:6514", "has no host"),
        ("tls://logs.example:0", "no number from 1 to 65535"),
        ("tls://logs.example:65536", "no number from 1 to 65535"),
        ("tls://logs.example:x", "no number from 1 to 65535"),
        ("tls://[2001:db8::1", "no IPv6 address"),
        ("tls://user@logs.example", "has a user"),
        ("tls://logs.example/path", "has a path"),
        ("tls://logs.example?verify=no", r"after a \? or #"),
        ("tls://logs.example#", r"after a \? or #"),
        ("tls://logs example", "blank or a control"),
        ("tls://logs.example\n", "blank or a control"),
        ("unix://dev/log", "absolute path"),
        ("unix:dev/log", "absolute path"),
        ("unix:///dev/", "absolute path"),
    ],
)
def test_what_is_no_address_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse(text)
    (problem,) = SyslogSettings(address=text).problems()
    assert problem.startswith("address ")


@given(st.text(max_size=40).map(lambda text: f"tls://{text}") | st.text(max_size=40))
def test_any_text_is_an_address_or_refused_with_a_reason(text: str) -> None:
    problems = SyslogSettings(address=text).problems()
    if problems:
        assert all(problem.removeprefix("address").strip() for problem in problems)
    else:
        found = parse(text)
        assert found.host or found.path


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"facility": "local8"}, "facility must be one of kern, "),
        ({"app_name": ""}, "app_name must be 1 to 48"),
        ({"app_name": "a b"}, "app_name must be 1 to 48"),
        ({"app_name": "a" * 49}, "app_name must be 1 to 48"),
        ({"app_name": "caf\u00e9"}, "app_name must be 1 to 48"),
        ({"hostname": "web 1"}, "hostname must be 1 to 255"),
        ({"hostname": "web\n1"}, "hostname must be 1 to 255"),
        ({"enterprise_id": 0}, "enterprise_id must be from 1"),
        ({"enterprise_id": 2**32}, "enterprise_id must be from 1"),
        ({"timeout": 0.0}, "timeout must be more than 0"),
        ({"max_bytes": 2047}, "max_bytes must be at least 2048"),
        ({"address": "udp://logs.example", "max_bytes": 65508}, "max_bytes must be at most 65507"),
        ({"client_key": "/key.pem"}, "client_key is given without client_cert"),
        ({"server_name": ""}, "server_name must be"),
        ({"server_name": ".example"}, "server_name must be"),
        ({"server_name": "logs..example"}, "server_name must be"),
        ({"server_name": "l" * 64}, "server_name must be"),
        *(
            ({"address": "tcp://logs.example:601", name: "x"} | more, f"{name} is for tls:// only")
            for name, more in (
                ("ca_file", {}),
                ("client_cert", {}),
                ("client_key", {"client_cert": None}),
                ("server_name", {}),
            )
        ),
    ],
)
def test_settings_that_cannot_be_kept_to_are_refused(settings: dict[str, Any], problem: str) -> None:
    problems = SyslogSettings(**({"address": "tls://logs.example"} | settings)).problems()
    assert any(found.startswith(problem) for found in problems), problems


def test_an_address_is_all_that_is_needed() -> None:
    assert SyslogSettings(address="tls://logs.example").problems() == []


def test_nothing_switches_the_check_of_the_server_off() -> None:
    assert not {name for name in SyslogSettings(address="tls://x").as_dict() if "verify" in name or "insecure" in name}

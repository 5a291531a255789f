"""With a manager: what is to be stopped raises, and the audit trail and the alerts say why."""

from __future__ import annotations

import pytest

import strongroom

from strongroom.errors import SecretNotFoundError, SuspiciousActivityError

NAMES = [f"folder/{number}" for number in range(40)]


def opened(names: list[str] = NAMES, /, **detector: object) -> strongroom.SecretsManager:
    return strongroom.open(
        {
            "principal": "api",
            "audit": "none",
            "backends": {"memory": {"type": "memory", "seed": dict.fromkeys(names, "value")}},
            "anomaly": [{"action": "block", **detector}],
        }
    )


def is_read(manager: strongroom.SecretsManager, name: str) -> bool:
    try:
        manager.get(name)
    except SuspiciousActivityError:
        return False
    return True


def test_a_search_is_stopped_and_known_names_go_on() -> None:
    with opened(type="enumeration", learn_for=0, distinct=5, block_at=2) as manager:
        for name in NAMES[:9]:
            manager.get(name)
        with pytest.raises(
            SuspiciousActivityError, match="api read 10 names within 1h that it never read before"
        ) as caught:
            manager.get(NAMES[9])
        assert caught.value.rule == "enumeration"
        assert manager.get(NAMES[0]).reveal_text() == "value"
        with pytest.raises(SuspiciousActivityError):
            manager.get(NAMES[9])


def test_a_search_by_a_newcomer_is_stopped_with_the_defaults() -> None:
    names = [f"folder/{number}" for number in range(600)]
    with opened(names, type="enumeration") as manager:
        read_all = [name for name in names if is_read(manager, name)]
    assert 100 < len(read_all) < 500
    assert read_all == names[: len(read_all)]


def test_only_alerting_stops_nothing() -> None:
    with opened(type="enumeration", action="alert", learn_for=0, distinct=2, block_at=2) as manager:
        for name in NAMES:
            manager.get(name)


def test_guessing_names_is_stopped() -> None:
    with opened(type="enumeration", learn_for=0, missing=3, block_at=2) as manager:
        for number in range(6):
            with pytest.raises(SecretNotFoundError):
                manager.get(f"guess/{number}")
        with pytest.raises(SuspiciousActivityError):
            manager.get("guess/6")


@pytest.mark.parametrize("kind", ["rate", "enumeration", "denied-burst", "first-use", "unusual-time", "unusual-source"])
def test_usual_work_is_not_stopped(kind: str) -> None:
    with opened(type=kind) as manager:
        for name in NAMES * 5:
            assert manager.get(name).reveal_text() == "value"

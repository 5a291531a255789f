"""A real Prometheus scrapes the agent, and takes the rules that come with it."""

from __future__ import annotations

import json
import re
import subprocess

from pathlib import Path

import pytest

import prometheus

from agents import RunningAgent
from strongroom.errors import BackendUnavailableError
from strongroom.telemetry import METRICS
from strongroom.testing import FaultyBackend

RULES = Path(__file__).parents[1] / "deploy/prometheus-rules.yaml"
MINUTE = "1m"

# What is scraped once a minute, and the alerts that are there after ten minutes.
CASES: dict[str, tuple[dict[str, str], set[str]]] = {
    "quiet": (
        {
            'up{job="strongroom",instance="a"}': "1x60",
            'strongroom_breaker_state{instance="a",strongroom_backend="v",strongroom_breaker_state="degraded"}': "0x60",
            'strongroom_part_up{instance="a",strongroom_backend="v",strongroom_sink_type=""}': "1x60",
            'strongroom_audit_lost_total{instance="a",strongroom_sink_type="jsonl"}': "3x60",
            'strongroom_audit_lag_seconds{instance="a",strongroom_sink_type="jsonl"}': "0.04x60",
            'strongroom_rotations_due{instance="a",strongroom_outcome="overdue"}': "0x60",
            'strongroom_rotations_due{instance="a",strongroom_outcome="due"}': "4x60",
            'strongroom_accesses_total{instance="a",strongroom_operation="get",strongroom_outcome="denied"}': "0+1x60",
            'strongroom_accesses_total{instance="a",strongroom_operation="get",strongroom_outcome="ok"}': "0+1000x60",
            'strongroom_store_key_uses{instance="a",strongroom_backend="l"}': "5x60",
            'strongroom_token_remaining_seconds{instance="a",strongroom_backend="v"}': "3000x60",
            'strongroom_agent_start_time_seconds{instance="a"}': "100x60",
            'strongroom_journal_length{instance="a",strongroom_backend="v"}': "0x60",
        },
        set(),
    ),
    "gone": ({'up{job="strongroom",instance="a"}': "0x60"}, {"StrongroomAgentDown"}),
    "restarting": (
        {'strongroom_agent_start_time_seconds{instance="a"}': "0+60x60"},
        {"StrongroomAgentRestarts"},
    ),
    "outage": (
        {'strongroom_breaker_state{instance="a",strongroom_backend="v",strongroom_breaker_state="degraded"}': "1x60"},
        {"StrongroomBackendOut"},
    ),
    "part": (
        {'strongroom_part_up{instance="a",strongroom_backend="v",strongroom_sink_type=""}': "0x60"},
        {"StrongroomPartDown"},
    ),
    "losing": (
        {'strongroom_audit_lost_total{instance="a",strongroom_sink_type="syslog"}': "0+1x60"},
        {"StrongroomAuditLost"},
    ),
    "late": (
        {'strongroom_audit_lag_seconds{instance="a",strongroom_sink_type="otel"}': "30x60"},
        {"StrongroomAuditLags"},
    ),
    "denied": (
        {'strongroom_accesses_total{instance="a",strongroom_operation="get",strongroom_outcome="denied"}': "0+30x60"},
        {"StrongroomDeniedBurst"},
    ),
    "strangers": (
        {'strongroom_agent_requests_total{instance="a",endpoint="/v1/get",code="401"}': "0+30x60"},
        {"StrongroomStrangers"},
    ),
    "failed": (
        {'strongroom_rotations_total{strongroom_rotator_type="tls",strongroom_outcome="undone"}': "0+1x60"},
        {"StrongroomRotationFailed"},
    ),
    "overdue": (
        {'strongroom_rotations_due{instance="a",strongroom_outcome="overdue"}': "2x60"},
        {"StrongroomRotationOverdue"},
    ),
    "worn": (
        {'strongroom_store_key_uses{instance="a",strongroom_backend="l"}': "2147483649x60"},
        {"StrongroomStoreKeyWorn"},
    ),
    "token": (
        {'strongroom_token_remaining_seconds{instance="a",strongroom_backend="v"}': "100x60"},
        {"StrongroomTokenEnds"},
    ),
    "waiting": ({'strongroom_journal_length{instance="a",strongroom_backend="v"}': "3x90"}, {"StrongroomJournalWaits"}),
    "odd": (
        {'strongroom_anomaly_alerts_total{instance="a",security_rule_name="r",strongroom_outcome="allow"}': "0+1x60"},
        {"StrongroomDetector"},
    ),
    "full": (
        {'strongroom_agent_refused_total{instance="a",reason="too_many_connections"}': "0+9x60"},
        {"StrongroomAgentFull"},
    ),
    "broken": (
        {'strongroom_agent_reloads_total{instance="a",outcome="failed"}': "0 0 0 0 0 0 1x60"},
        {"StrongroomReloadFailed"},
    ),
}
EVAL = {"waiting": "70m", "overdue": "40m", "quiet": "50m"}


def names() -> list[str]:
    """Return the alerts that there are rules for."""
    return re.findall(r"- alert: (\w+)", RULES.read_text())


def test_the_rules_are_as_prometheus_has_them() -> None:
    done = subprocess.run(
        [prometheus.program("promtool"), "check", "rules", "--lint-fatal", str(RULES)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(names())} rules found" in done.stdout


def test_every_rule_has_a_case_that_makes_it_an_alert() -> None:
    assert set().union(*(alerts for _, alerts in CASES.values())) == set(names())


@pytest.mark.parametrize("case", CASES)
def test_each_trouble_is_its_alert_and_no_other(case: str, tmp_path: Path) -> None:
    series, expected = CASES[case]
    queries = [
        {
            "expr": f'count by (alertname) (ALERTS{{alertstate="firing",alertname="{name}"}})',
            "eval_time": EVAL.get(case, "10m"),
            "exp_samples": [{"labels": f'{{alertname="{name}"}}', "value": 1}] if name in expected else [],
        }
        for name in names()
    ]
    content = {
        "rule_files": [str(RULES)],
        "evaluation_interval": MINUTE,
        "tests": [
            {
                "interval": MINUTE,
                "input_series": [{"series": one, "values": values} for one, values in series.items()],
                "promql_expr_test": queries,
            }
        ],
    }
    path = tmp_path / "case.yaml"
    path.write_text(json.dumps(content))
    done = subprocess.run(
        [prometheus.program("promtool"), "test", "rules", str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_rules_name_metrics_that_there_are() -> None:
    ours = {metric.name.replace(".", "_") for metric in METRICS}
    used = set(re.findall(r"\bstrongroom_[a-z_]+", "\n".join(re.findall(r"expr: (.*)", RULES.read_text()))))
    metrics = {name for name in used if not re.fullmatch(r"strongroom_(backend|sink_type|outcome|breaker_state)", name)}
    metrics -= {"strongroom_breaker_state"}
    own = {name for name in metrics if name.startswith("strongroom_agent_")}
    strange = {name for name in metrics - own if re.sub(r"_(total|seconds|bytes)$", "", name) not in ours}
    assert strange == set()
    assert {name.removesuffix("_total") for name in own} == {
        "strongroom_agent_start_time_seconds",
        "strongroom_agent_reloads",
        "strongroom_agent_requests",
        "strongroom_agent_refused",
    }


def test_a_prometheus_scrapes_the_agent_with_a_token(
    agent: RunningAgent, backend: FaultyBackend, tmp_path: Path
) -> None:
    folder = tmp_path / "prometheus"
    folder.mkdir()
    for _ in range(3):
        agent.get("db/password")
    with prometheus.running(folder, f"127.0.0.1:{agent.port}", tmp_path / "web.token", RULES) as server:
        assert server.wait_for('up{job="strongroom"}') == 1
        # Counted for the whole process, in which other tests have read as well.
        assert server.wait_for('strongroom_cache_reads_total{strongroom_outcome="hit"}') >= 2
        assert server.wait_for('strongroom_agent_requests_total{endpoint="/v1/get",code="200"}') == 3
        assert server.wait_for("strongroom_client_operation_duration_seconds_count") >= 1
        backend.error = BackendUnavailableError("away")
        for name in ("one", "two", "three", "four", "five", "six"):
            agent.get(name)
        agent.state.health.look()
        assert server.wait_for("count(strongroom_part_up == 0)") == 1
        # Each has been looked at before any of them can be an alert.
        assert server.wait_for('count(ALERTS{alertname="StrongroomPartDown"})') == 1
        rules = server.ask("/api/v1/rules")["groups"][0]["rules"]
        assert {rule["name"] for rule in rules} == set(names())
        assert "err" not in {rule["health"] for rule in rules}

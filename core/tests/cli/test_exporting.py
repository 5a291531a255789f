"""What a command sends of itself, through the exporter that is configured, and when nothing is sent."""

from __future__ import annotations

import json
import textwrap

from pathlib import Path
from typing import Any

import pytest

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"

PLUGIN = """
import json
import os
import time

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

from strongroom.contracts import (
    Backend, BackendSpec, Capability, ExporterSpec, FilePath, KeySource, ListResult, ReadResult, Record,
    TelemetryExporter,
)
from strongroom.errors import SecretNotFoundError
from strongroom.hookspecs import hookimpl
from strongroom.model import SecretValue


class Constant(Backend):
    def __init__(self, settings):
        self.address = "constant"

    def read(self, request):
        if request.name == "db/password":
            return ReadResult(value=SecretValue("s3cret"), version="1")
        raise SecretNotFoundError(f"there is no {request.name}")

    def list(self, request):
        return ListResult(names=("db/password",))


class Settings(Record):
    path: FilePath
    headers: KeySource | None = None
    mood: str = "good"


class Lines(SpanExporter):
    def __init__(self, path):
        self.path = path

    def export(self, spans):
        with open(self.path, "a") as file:
            for span in spans:
                told = {"name": span.name, "kind": span.kind.name, "trace": f"{span.context.trace_id:032x}"}
                told |= {"attributes": dict(span.attributes), "status": span.status.status_code.name}
                told["parent"] = f"{span.parent.span_id:016x}" if span.parent else None
                told["id"] = f"{span.context.span_id:016x}"
                file.write(json.dumps(told) + "\\n")
        return SpanExportResult.SUCCESS


class Exporter(TelemetryExporter):
    def __init__(self, settings):
        self.settings = settings

    def start(self):
        if self.settings.mood == "bad":
            raise RuntimeError("what was configured: s3cret")
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(Lines(self.settings.path)))
        trace.set_tracer_provider(provider)

    def close(self, seconds):
        with open(self.settings.path, "a") as file:
            file.write(json.dumps({"closed": seconds}) + "\\n")
        if self.settings.mood == "sour":
            raise RuntimeError("no")


@hookimpl
def strongroom_backends():
    yield BackendSpec(
        name="constant", summary="One secret.", settings=Record, open=Constant,
        capabilities=frozenset({Capability.LIST}),
    )


@hookimpl
def strongroom_telemetry_exporters():
    yield ExporterSpec(name="lines", summary="Lines in a file.", settings=Settings, open=Exporter)
"""


@pytest.fixture
def desk(desk: Any, tmp_path: Path) -> Any:
    """A folder with an exporter that appends each span to a file."""
    site = tmp_path / "site"
    (site / "lines_plugin.py").write_text(textwrap.dedent(PLUGIN))
    info = site / "lines_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lines-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[strongroom.backends]\nconstant = lines_plugin\n[strongroom.telemetry_exporters]\nlines = lines_plugin\n"
    )
    configured(desk, 'exporter = "lines"\npath = "spans"')
    return desk


def configured(desk: Any, telemetry: str) -> None:
    desk.configure(
        '[backends.main]\ntype = "constant"\n[[audit]]\ntype = "notebook"\npath = "trail"\n'
        + f"[telemetry]\n{telemetry}\n"
    )


def sent(desk: Any) -> list[dict[str, Any]]:
    """Return the spans that were sent, and what came after them."""
    path = desk.folder / "spans"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_a_command_is_one_span_around_the_calls_that_it_makes(desk: Any) -> None:
    assert desk("get", "db/password").status == 0
    *calls, command, closed = sent(desk)
    assert (command["name"], command["kind"], command["parent"]) == ("strongroom.command", "INTERNAL", None)
    assert command["attributes"]["strongroom.operation"] == "get"
    assert command["attributes"]["process.exit.code"] == 0
    assert {call["parent"] for call in calls} == {command["id"]}
    assert "strongroom.read" in {call["name"] for call in calls}
    assert closed == {"closed": 1.0}


def test_it_is_part_of_the_trace_that_its_environment_names(desk: Any) -> None:
    assert desk("list", TRACEPARENT=PARENT).status == 0
    *calls, command, _ = sent(desk)
    assert command["parent"] == "b7ad6b7169203331"
    assert {span["trace"] for span in (*calls, command)} == {TRACE}


def test_a_program_that_it_runs_is_part_of_the_same_trace(desk: Any) -> None:
    done = desk("run", "--secret", "PASSWORD=db/password", "--", "sh", "-c", "echo $TRACEPARENT", TRACEPARENT=PARENT)
    assert done.status == 0, done.stderr
    command = next(span for span in sent(desk) if span.get("name") == "strongroom.command")
    assert done.stdout.strip() == f"00-{TRACE}-{command['id']}-01"
    assert "process.exit.code" not in command["attributes"]


def test_what_fails_says_so_by_its_status(desk: Any) -> None:
    assert desk("get", "no/such").status == 3
    command = sent(desk)[-2]
    assert (command["status"], command["attributes"]["error.type"]) == ("ERROR", "exit_3")
    assert "no/such" not in (desk.folder / "spans").read_text()


@pytest.mark.parametrize("command", [("health",), ("stats",), ("audit", "verify")])
def test_commands_without_a_manager_are_traced_as_well(desk: Any, command: tuple[str, ...]) -> None:
    desk(*command)
    assert sent(desk)[-2]["attributes"]["strongroom.operation"] == command[0]


def test_an_exporter_that_fails_at_the_end_changes_nothing(desk: Any) -> None:
    configured(desk, 'exporter = "lines"\npath = "spans"\nmood = "sour"')
    done = desk("get", "db/password")
    assert (done.status, done.stderr) == (0, "")


def test_an_exporter_that_cannot_start_is_told_without_what_it_says(desk: Any) -> None:
    configured(desk, 'exporter = "lines"\npath = "spans"\nmood = "bad"')
    done = desk("get", "db/password")
    assert done.status != 0
    assert "'lines' could not be started: it failed with RuntimeError" in done.stderr
    assert "s3cret" not in done.stderr


def test_one_that_is_not_installed_is_an_error_where_the_configuration_names_it(desk: Any) -> None:
    configured(desk, 'exporter = "acme"')
    done = desk("get", "db/password")
    assert done.status != 0
    assert "'acme'" in done.stderr


def test_variables_for_other_programs_are_no_error_where_none_is_installed(desk: Any, tmp_path: Path) -> None:
    # The first on the path of this name hides the real one, where that is installed.
    (tmp_path / "site" / "strongroom_otel-0.dist-info").mkdir()
    configured(desk, "")
    done = desk("get", "db/password", OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9")
    assert (done.status, done.stderr, sent(desk)) == (0, "", [])


def test_variables_for_other_programs_that_do_not_suit_are_a_warning_only(desk: Any, tmp_path: Path) -> None:
    """Whoever set them for another program must not have switched this one off."""
    info = tmp_path / "site" / "strongroom_otel-0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: strongroom-otel\nVersion: 0\n")
    (info / "entry_points.txt").write_text("[strongroom.telemetry_exporters]\notel = no_such_module\n")
    configured(desk, "")
    done = desk("get", "db/password", OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9")
    assert (done.status, done.stdout) == (0, "s3cret")
    assert done.stderr.startswith("spans and metrics are not sent: ")
    assert done.stderr.count("\n") == 1
    # Log records are not what an exporter sends.
    assert desk("get", "db/password", OTEL_EXPORTER_OTLP_LOGS_ENDPOINT="http://127.0.0.1:9").stderr == ""
    configured(desk, 'exporter = "otel"')
    assert desk("get", "db/password").status != 0


@pytest.mark.parametrize("off", [{"OTEL_SDK_DISABLED": "TRUE"}, {}])
def test_it_is_switched_off_by_variable_or_setting(desk: Any, off: dict[str, str]) -> None:
    if not off:
        configured(desk, 'exporter = "none"')
        off = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    assert desk("get", "db/password", **off).status == 0
    assert sent(desk) == []


def test_settings_of_an_exporter_need_one_that_is_named(desk: Any) -> None:
    configured(desk, 'path = "spans"')
    done = desk("get", "db/password")
    assert done.status == 2
    assert "telemetry.path" in done.stderr


def test_its_settings_are_shown_and_its_secrets_are_not(desk: Any) -> None:
    (desk.folder / "headers").write_text("authorization=s3cret")
    configured(desk, 'exporter = "lines"\npath = "spans"\nheaders = "s3cret"')
    shown = desk("config")
    assert "telemetry.exporter" in shown.stdout
    assert "telemetry.mood" in shown.stdout
    assert "s3cret" not in shown.stdout + shown.stderr

"""What a collector answers, and whether that confirms all that was sent."""

from __future__ import annotations

import json

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from strongroom_otel.failures import UndeliveredError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from strongroom_otel.target import Target

_LATER: Final = frozenset({429, 502, 503, 504})
_REJECTED: Final = {"traces": "rejected_spans", "metrics": "rejected_data_points", "logs": "rejected_log_records"}
_HINTS: Final = {
    401: "see headers: the collector asks for a token",
    403: "see headers: the collector does not accept what it was shown",
    404: "see endpoint: the collector takes nothing under this path",
    413: "let the collector take larger requests",
    415: "see protocol and endpoint: this may be another protocol's port",
}


def check_http(target: Target, status: int, headers: Mapping[str, str], content: bytes) -> None:
    """Look whether an answer over HTTP confirms everything.

    Args:
        target: Who was asked for what.
        status: The answer's status.
        headers: Its headers.
        content: Its body.

    Raises:
        UndeliveredError: It does not.
    """
    where = f"the collector at {target}"
    if not 200 <= status < 300:
        raise UndeliveredError(
            f"{where} answered {status} {_phrase(status)}".rstrip(),
            hint=_HINTS.get(status, ""),
            again=status in _LATER,
        )
    if not content:
        return
    kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        _check_json(target, content)
    elif kind == "application/x-protobuf":
        check_message(target, content)
    else:
        # Such as a page of a proxy's: whoever sends it is no collector.
        raise UndeliveredError(f"{where} answered with something else than OTLP", hint="see endpoint")


def check_message(target: Target, content: bytes) -> None:
    """Look whether an encoded answer confirms everything.

    Raises:
        UndeliveredError: It does not.
    """
    from google.protobuf.message import DecodeError

    answer = _answer_class(target.signal)()
    try:
        answer.ParseFromString(content)
    except DecodeError as error:
        raise _no_answer(target) from error
    _check_count(target, getattr(answer.partial_success, _REJECTED[target.signal]))


def _answer_class(signal: str) -> Any:
    if signal == "logs":
        from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse

        return ExportLogsServiceResponse
    if signal == "metrics":
        from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse

        return ExportMetricsServiceResponse
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

    return ExportTraceServiceResponse


def _check_json(target: Target, content: bytes) -> None:
    first, *rest = _REJECTED[target.signal].split("_")
    try:
        answer = json.loads(content)
        count = int((answer.get("partialSuccess") or {}).get(first + "".join(map(str.capitalize, rest)), 0))
    except (AttributeError, TypeError, ValueError) as error:
        raise _no_answer(target) from error
    _check_count(target, count)


def _check_count(target: Target, count: int) -> None:
    if count:
        what = {"traces": "spans", "metrics": "data points", "logs": "log records"}[target.signal]
        raise UndeliveredError(
            f"the collector at {target} has rejected {count} {what}", hint="see the collector's own log for the reason"
        )


def _no_answer(target: Target) -> UndeliveredError:
    return UndeliveredError(f"the collector at {target} answered with something else than OTLP", hint="see endpoint")


def _phrase(status: int) -> str:
    # Never the answer's own: it may say anything.
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""

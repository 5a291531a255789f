"""What a collector answers, and whether that confirms all that was sent."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from strongroom_otel.failures import UndeliveredError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from strongroom_otel.target import Target

_TAKEN: Final = frozenset({200, 201, 202, 204})
_LATER: Final = frozenset({429, 502, 503, 504})
_REJECTED: Final = {
    "traces": ("rejected_spans", "spans"),
    "metrics": ("rejected_data_points", "data points"),
    "logs": ("rejected_log_records", "log records"),
}
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
    if status not in _TAKEN:
        raise UndeliveredError(
            f"{where} answered {status} {_phrase(status)}".rstrip(),
            hint=_HINTS.get(status, ""),
            again=status in _LATER,
        )
    # Without these an answer ends with its connection, so that nobody could tell one that was cut off.
    if status != HTTPStatus.NO_CONTENT and not {"content-length", "transfer-encoding"} & set(map(str.lower, headers)):
        raise UndeliveredError(f"{where} gave an answer that may not be whole", again=True)
    answer = _answer_class(target.signal)()
    kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    try:
        _read(kind, content, answer)
    except ValueError as error:
        raise UndeliveredError(f"{where} answered with something else than OTLP", hint="see endpoint") from error
    check_count(target, answer)


def check_count(target: Target, answer: Any) -> None:
    """Look whether a decoded answer rejects nothing.

    Raises:
        UndeliveredError: It does.
    """
    field, what = _REJECTED[target.signal]
    if count := getattr(answer.partial_success, field):
        raise UndeliveredError(
            f"the collector at {target} has rejected {count} {what}",
            hint="see the collector's own log for the reason",
        )


def _read(kind: str, content: bytes, answer: Any) -> None:
    """Fill an answer with what has come.

    Raises:
        ValueError: It is something else.
    """
    from google.protobuf.json_format import Parse, ParseError
    from google.protobuf.message import DecodeError

    try:
        if kind == "application/json" and content.startswith(b"{"):
            Parse(content, answer)
        elif kind == "application/x-protobuf" or (kind in {"", "application/json"} and not content):
            answer.ParseFromString(content)
        else:
            # Such as a page of a proxy's: whoever sends it is no collector.
            raise ValueError(kind)
    except (DecodeError, ParseError) as error:
        raise ValueError(kind) from error


def _answer_class(signal: str) -> Any:
    if signal == "logs":
        from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse

        return ExportLogsServiceResponse
    if signal == "metrics":
        from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse

        return ExportMetricsServiceResponse
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

    return ExportTraceServiceResponse


def _phrase(status: int) -> str:
    # Never the answer's own: it may say anything.
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""

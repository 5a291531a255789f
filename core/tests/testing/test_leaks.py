"""Finding a value where it must not be."""

from __future__ import annotations

import base64
import json

from urllib.parse import quote

import pytest

from strongroom.testing import assert_hidden, encodings_of, leaks_in, marker_value, report_of

WAYS_TO_LEAK = {
    "plain": str,
    "repr": repr,
    "ascii": ascii,
    "repr of bytes": lambda marker: repr(marker.encode()),
    "json": json.dumps,
    "json with unicode": lambda marker: json.dumps({"a": marker}, ensure_ascii=False),
    "base64": lambda marker: base64.b64encode(marker.encode()).decode(),
    "url-safe base64": lambda marker: base64.urlsafe_b64encode(marker.encode()).decode(),
    "hexadecimal": lambda marker: marker.encode().hex(),
    "upper-case hexadecimal": lambda marker: marker.encode().hex().upper(),
    "percent-encoded": quote,
    "cut short": lambda marker: marker[:20],
    "without its beginning": lambda marker: marker[10:],
}


def test_markers_have_40_characters_and_differ() -> None:
    markers = {marker_value() for _ in range(20)}
    assert len(markers) == 20
    assert {len(marker) for marker in markers} == {40}


@pytest.mark.parametrize("leak", WAYS_TO_LEAK.values(), ids=WAYS_TO_LEAK.keys())
def test_a_leak_is_found(leak) -> None:
    marker = marker_value()
    assert leaks_in(f"before {leak(marker)} after", marker)


def test_another_marker_is_no_leak() -> None:
    assert leaks_in(" ".join(encodings_of(marker_value()).values()), marker_value()) == []


def test_a_failure_says_where_but_not_what() -> None:
    marker = marker_value()
    with pytest.raises(AssertionError, match="the log shows the secret's value as it is") as caught:
        assert_hidden(marker, f"got {marker}", "the log")
    assert marker not in str(caught.value)


def test_nothing_is_raised_where_nothing_leaks() -> None:
    assert_hidden(marker_value(), "all is well", "the log")


def failing(*, where: str, marker: str) -> BaseException:
    try:
        try:
            raise KeyError(marker if where == "cause" else "x")
        except KeyError as cause:
            error = ValueError(marker if where == "text" else "x")
            if where == "note":
                error.add_note(marker)
            if where == "attribute":
                error.value = marker
            raise error from (cause if where != "context" else None)
    except ValueError as error:
        return error


@pytest.mark.parametrize("where", ["text", "cause", "note", "attribute"])
def test_a_report_holds_all_that_an_error_carries(where: str) -> None:
    marker = marker_value()
    assert leaks_in(report_of(failing(where=where, marker=marker)), marker)


def test_a_report_holds_local_variables_of_the_package_only() -> None:
    marker = marker_value()
    error = failing(where="nowhere", marker=marker)
    assert leaks_in(report_of(error, __name__.partition(".")[0]), marker)
    assert not leaks_in(report_of(error, "another_package"), marker)
    assert not leaks_in(report_of(error), marker)

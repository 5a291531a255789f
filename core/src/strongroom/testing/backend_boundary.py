"""Checks of what crosses the boundary: errors, log records, spans. A value never does."""

from __future__ import annotations

import logging

from collections.abc import Callable

import pytest

from strongroom.contracts import Backend, Capability, HealthState, ReadResult
from strongroom.errors import BackendError, BackendUnavailableError, StrongroomError
from strongroom.model import ABSENT
from strongroom.resilience.guarded import GuardedBackend
from strongroom.telemetry import ATTRIBUTES, Telemetry
from strongroom.testing.backend_kit import (
    BackendKit,
    Seed,
    delete,
    names_below,
    read,
    text_of,
    versions_of,
    write,
)
from strongroom.testing.doubles import FaultyBackend
from strongroom.testing.leaks import assert_hidden, marker_value, report_of
from strongroom.testing.promises import promised_by
from strongroom.testing.spans import Spans


class BoundaryChecks(BackendKit):
    """Checks that a value shows nowhere, and that errors keep what is needed to find their cause."""

    @promised_by(Backend)
    def test_a_failure_becomes_a_documented_error(self, failing: Backend, folder: str) -> None:
        """Whatever the client library raises, the caller gets a ``StrongroomError`` that names the backend.

        Applications catch the documented errors, and a fallback stands in only for those.
        """
        with pytest.raises(StrongroomError) as caught:
            read(self.guarded(failing), f"{folder}/a")
        assert caught.value.backend == "under-test", "the error does not name the backend"

    @promised_by(Backend)
    def test_a_foreign_exception_is_kept_as_the_cause(self, failing: Backend, folder: str) -> None:
        """An error that was made of another library's exception has that as its cause.

        Without the cause nobody could find out what has really happened.
        """
        with pytest.raises(StrongroomError) as caught:
            read(self.guarded(failing), f"{folder}/a")
        assert caught.value.__cause__ is not None, "use `raise ... from error`"

    @promised_by(Backend.read)
    def test_an_outage_is_told_as_one(self, failing: Backend, folder: str) -> None:
        """A read that gets no answer raises ``BackendUnavailableError``.

        Only in an outage do the cache and the fallback store stand in. A missing secret is an answer, on which programs
        act.
        """
        if isinstance(failing, FaultyBackend):
            # What the core makes of an exception that no backend has translated is checked above.
            pytest.skip("the test class does not override the fixture `failing`")
        with pytest.raises(BackendUnavailableError):
            read(self.guarded(failing), f"{folder}/a")

    @promised_by(Backend.list)
    def test_an_outage_is_no_empty_listing(self, failing: Backend, folder: str) -> None:
        """Listing without getting an answer raises an error.

        An empty listing says that there is no secret: a backup would keep nothing, and report success.
        """
        self.need(Capability.LIST)
        with pytest.raises(StrongroomError):
            names_below(self.guarded(failing), folder)

    @promised_by(Backend.health)
    def test_a_backend_that_cannot_answer_is_not_up(self, failing: Backend) -> None:
        """The health of a backend that has lost its server is not up.

        Health checks and ``strongroom doctor`` believe it, and would keep a host in service that cannot read.
        """
        assert self.guarded(failing).health().state is not HealthState.UP

    @promised_by(Backend)
    def test_an_unexpected_exception_becomes_a_backend_error(self, backend: Backend, folder: str) -> None:
        """An exception that the backend does not know becomes a ``BackendError`` whose cause it is.

        The core translates it, so a backend needs no ``except Exception`` that would hide mistakes.
        """
        surprise = RuntimeError("a surprise")
        with pytest.raises(BackendError) as caught:
            read(self.guarded(FaultyBackend(backend, error=surprise)), f"{folder}/a")
        assert caught.value.__cause__ is surprise

    @promised_by(Backend)
    def test_no_value_in_the_backend_itself(self, backend: Backend, seed: Seed, folder: str) -> None:
        """Neither ``repr`` nor ``str`` of the backend show a value that was read.

        Both end up in logs and in the reports of error trackers.
        """
        marker = marker_value()
        text_of(backend, seed(f"{folder}/a", marker))
        assert_hidden(marker, f"{backend!r} {backend!s} {backend}", "the backend's repr")

    @promised_by(Backend)
    def test_no_credentials_in_the_backend_itself(self, backend: Backend) -> None:
        """Neither ``repr`` nor ``str`` of the backend show what opens it.

        Whoever reads a log that shows the token could read every secret with it.
        """
        for credential in self.credentials:
            assert credential not in f"{backend!r} {backend!s}", "the backend's repr shows a credential"

    @promised_by(ReadResult)
    def test_no_value_in_results(self, backend: Backend, seed: Seed, folder: str) -> None:
        """The ``repr`` of no result shows the value.

        A result may be printed or logged; the value inside hides itself, so no other field may repeat it.
        """
        marker = marker_value()
        name = seed(f"{folder}/a", marker)
        assert_hidden(marker, f"{read(backend, name)!r}", "the result of a read")
        if Capability.WRITE in self.capabilities:
            assert_hidden(marker, f"{write(backend, name, marker)!r}", "the result of a write")
        if Capability.VERSIONS in self.capabilities:
            assert_hidden(marker, f"{versions_of(backend, name)!r}", "the versions")

    @promised_by(Backend)
    def test_no_value_in_errors(self, backend: Backend, seed: Seed, folder: str) -> None:
        """No error shows the value: not in its text, arguments, attributes, causes or traceback.

        Errors are logged and sent to others more readily than anything else.
        """
        marker = marker_value()
        for error in self._provoked(backend, seed, folder, marker):
            assert_hidden(marker, report_of(error), f"the report of {type(error).__name__}")

    @promised_by(Backend)
    def test_no_value_in_local_variables(self, backend: Backend, seed: Seed, folder: str) -> None:
        """When a call raises, no frame of the plugin holds the value in a local variable.

        Error trackers send the local variables of each frame along with the error.
        """
        marker = marker_value()
        package = type(backend).__module__.partition(".")[0]
        for error in self._provoked(backend, seed, folder, marker):
            assert_hidden(marker, report_of(error, package), f"a local variable on the way to {type(error).__name__}")

    @promised_by(Backend.write)
    def test_no_value_in_errors_of_a_failing_backend(self, failing: Backend, folder: str) -> None:
        """A write that fails because nobody answers raises an error without what was to be written.

        Client libraries like to put the body of a request into their exceptions.
        """
        self.need(Capability.WRITE)
        marker = marker_value()
        with pytest.raises(StrongroomError) as caught:
            write(self.guarded(failing), f"{folder}/a", marker)
        assert_hidden(marker, report_of(caught.value), f"the report of {type(caught.value).__name__}")

    @promised_by(Backend)
    def test_no_value_in_the_log(
        self,
        backend: Backend,
        seed: Seed,
        folder: str,
        caplog: pytest.LogCaptureFixture,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        """Nothing that is logged or printed shows the value, not even at level DEBUG of all libraries.

        Logs are read by more people than secrets may be, and are kept for years.
        """
        caplog.set_level(logging.DEBUG)
        marker = marker_value()
        self._provoked(backend, seed, folder, marker)
        # Another secret: not every backend lets a deleted one be written anew at once.
        seed(f"{folder}/used/a", marker)
        self._use(self.guarded(backend), f"{folder}/used", marker)
        logged = [f"{record.getMessage()} {record.args!r} {record.exc_text}" for record in caplog.records]
        assert_hidden(marker, "\n".join(logged), "the log")
        assert_hidden(marker, "".join(capsys.readouterr()), "what was printed")

    @promised_by(Backend)
    def test_one_span_around_each_call(self, backend: Backend, seed: Seed, folder: str) -> None:
        """A call has one span without a parent: the core's.

        A plugin may open children of it; a second one beside it would be counted as another call.
        """
        name = seed(f"{folder}/a", "content")
        spans = Spans()
        text_of(self._traced(backend, spans), name)
        roots = [span.name for span in spans.finished() if span.parent is None]
        assert roots == ["strongroom.read"]

    @promised_by(Backend)
    def test_no_value_and_no_name_in_spans(self, backend: Backend, seed: Seed, folder: str) -> None:
        """No span shows the value or the name of the secret.

        Spans go to other systems: of a name they hold an HMAC only, and of a value nothing.
        """
        marker = marker_value()
        seed(f"{folder}/a", marker)
        spans = Spans()
        traced = self._traced(backend, spans)
        self._use(traced, folder, marker)
        _errors_of([lambda: read(traced, f"{folder}/missing")])
        assert_hidden(marker, spans.text(), "a span")
        assert folder not in spans.text(), "a span shows the secret's name"

    @promised_by(Backend)
    def test_spans_of_the_core_hold_known_attributes_only(self, backend: Backend, seed: Seed, folder: str) -> None:
        """The core's spans hold attributes of its own list only.

        The list is closed, so that nothing slips into a span later; a plugin sets attributes on spans of its own.
        """
        name = seed(f"{folder}/a", "content")
        spans = Spans()
        text_of(self._traced(backend, spans), name)
        for span in spans.finished():
            if span.name.startswith("strongroom."):
                assert set(span.attributes or {}) <= ATTRIBUTES

    def _traced(self, backend: Backend, spans: Spans) -> GuardedBackend:
        telemetry = Telemetry(tracer_provider=spans.provider)
        return GuardedBackend(
            backend, name="under-test", type="test", capabilities=self.capabilities, telemetry=telemetry
        )

    def _use(self, backend: Backend, folder: str, marker: str) -> None:
        """Call every operation that the backend offers, with a value that can be found again."""
        if Capability.WRITE in self.capabilities:
            write(backend, f"{folder}/a", marker)
        text_of(backend, f"{folder}/a")
        if Capability.VERSIONS in self.capabilities:
            versions_of(backend, f"{folder}/a")
        if Capability.LIST in self.capabilities:
            names_below(backend, folder)
        if Capability.WRITE in self.capabilities:
            delete(backend, f"{folder}/a")

    def _provoked(self, backend: Backend, seed: Seed, folder: str, marker: str) -> list[StrongroomError]:
        """Return the errors of all that can go wrong while a value is at hand."""
        name = seed(f"{folder}/a", marker)
        guard = self.guarded(backend)
        attempts: list[Callable[[], object]] = [
            lambda: read(guard, f"{folder}/missing"),
            lambda: read(guard, f"{name}/below"),
            lambda: read(guard, name, "no-such-version"),
            lambda: write(guard, name, marker, expect_version="no-such-version"),
            lambda: write(guard, name, marker, expect_version=ABSENT),
        ]
        if backend.max_value_bytes is not None:
            too_large = marker * (backend.max_value_bytes // len(marker) + 1)
            attempts.append(lambda: write(guard, name, too_large))
        if Capability.WRITE in self.capabilities:
            attempts += [lambda: delete(guard, name), lambda: read(guard, name)]
        return _errors_of(attempts)


def _errors_of(attempts: list[Callable[[], object]]) -> list[StrongroomError]:
    errors = []
    for attempt in attempts:
        try:
            attempt()
        except StrongroomError as error:
            errors.append(error)
    return errors

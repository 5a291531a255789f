"""The audit sink's contract: kept by the sink in memory, and each mistake fails its check."""

from __future__ import annotations

import textwrap

from collections.abc import Callable

import pytest

from strongroom.testing import AuditSinkContract, MemorySink

pytest_plugins = ["pytester"]


class TestMemorySink(AuditSinkContract):
    shared = False  # a forked child has a list of its own

    @pytest.fixture
    def sink(self) -> MemorySink:
        return MemorySink()

    @pytest.fixture
    def recorded(self, sink: MemorySink):
        return lambda: sink.events

    @pytest.fixture
    def failing(self) -> MemorySink:
        sink = MemorySink()
        sink.failing = True
        return sink


HEAD = """
    import pytest

    from strongroom.contracts import Block, Hits
    from strongroom.errors import AuditError
    from strongroom.testing import AuditSinkContract, MemorySink

    class Broken(MemorySink):
"""
TAIL = """
    class TestBroken(AuditSinkContract):
        shared = False

        @pytest.fixture
        def sink(self):
            return Broken()

        @pytest.fixture
        def recorded(self, sink):
            return lambda: sink.events

        @pytest.fixture
        def failing(self):
            sink = Broken()
            sink.failing = True
            return sink
"""

MISTAKES = {
    "records the newest first": (
        """
        def write(self, request):
            super().write(request.replace(events=request.events[::-1]))
        """,
        {
            "test_events_keep_their_order",
            "test_a_large_batch_is_recorded_as_a_whole",
            "test_odd_characters_stay_within_their_event",
            "test_cache_hits_are_recorded_like_other_events",
        },
    ),
    "leaves a field out": (
        """
        def write(self, request):
            super().write(request.replace(events=tuple(event.replace(rule=None) for event in request.events)))
        """,
        {"test_an_event_is_recorded_as_it_is"},
    ),
    "makes nothing of nothing": (
        """
        def write(self, request):
            filled = [event.replace(key=event.key or "-") for event in request.events]
            super().write(request.replace(events=tuple(filled)))
        """,
        {"test_an_event_with_few_facts_is_recorded"},
    ),
    "cuts details at the end of a line": (
        """
        def write(self, request):
            cut = [event.replace(detail=event.detail and event.detail.splitlines()[0]) for event in request.events]
            super().write(request.replace(events=tuple(cut)))
        """,
        {"test_odd_characters_stay_within_their_event"},
    ),
    "records a hundred events at most": (
        """
        def write(self, request):
            super().write(request.replace(events=request.events[:100]))
        """,
        {"test_a_large_batch_is_recorded_as_a_whole"},
    ),
    "drops what need not be durable": (
        """
        def write(self, request):
            if request.durable:
                super().write(request)
        """,
        {
            "test_events_that_need_not_be_durable_are_recorded",
            "test_what_was_written_before_can_be_made_durable",
            "test_what_was_recorded_survives_closing",
            "test_cache_hits_are_recorded_like_other_events",
        },
    ),
    "takes a row's text from the row before": (
        """
        def write(self, request):
            events, common = [], {}
            for part in request.events.parts if isinstance(request.events, Block) else [request.events]:
                rows = part.rows if isinstance(part, Hits) else [None] * len(part)
                for row, event in zip(rows, part):
                    if row is not None:
                        version = common.setdefault(row[2], event.version)
                        event = event.replace(version=version)
                    events.append(event)
            super().write(request.replace(events=tuple(events)))
        """,
        {"test_cache_hits_are_recorded_like_other_events"},
    ),
    "needs an event to sync": (
        """
        def write(self, request):
            assert request.events or not self.events
            super().write(request)
        """,
        {"test_what_was_written_before_can_be_made_durable"},
    ),
    "writes what was before once more to sync it": (
        """
        def write(self, request):
            super().write(request if request.events else request.replace(events=tuple(self.events)))
        """,
        {"test_what_was_written_before_can_be_made_durable"},
    ),
    "swallows its failure": (
        """
        def write(self, request):
            if not self.failing:
                super().write(request)
        """,
        {
            "test_a_failure_is_an_audit_error",
            "test_a_failure_says_so_each_time",
            "test_a_failing_sink_is_not_up",
        },
    ),
    "reports a failure once": (
        """
        def write(self, request):
            try:
                super().write(request)
            finally:
                self.failing = False
        """,
        {"test_a_failure_says_so_each_time"},
    ),
    "lets a foreign error through": (
        """
        def write(self, request):
            if self.failing:
                raise OSError("no space left on device")
            super().write(request)
        """,
        {
            "test_a_failure_is_an_audit_error",
            "test_a_failure_says_so_each_time",
            "test_a_failing_sink_is_not_up",
        },
    ),
    "fails in a forked child": (
        """
        def after_fork(self):
            raise RuntimeError("the handle is the parent's")
        """,
        {"test_a_forked_child_can_record"},
    ),
    "forgets on closing": (
        """
        def close(self):
            self.events = []
        """,
        {"test_what_was_recorded_survives_closing"},
    ),
    "cannot be closed twice": (
        """
        def close(self):
            if self.closed:
                raise ValueError("closed already")
            super().close()
        """,
        {"test_closing_twice_is_no_error"},
    ),
}


@pytest.mark.parametrize(("body", "expected"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_fails_its_checks(failed_checks: Callable[..., set[str]], body: str, expected: set[str]) -> None:
    source = textwrap.dedent(HEAD) + textwrap.indent(textwrap.dedent(body), "    ") + textwrap.dedent(TAIL)
    assert failed_checks(source) == expected

"""The kit and backends that mistake an outage for an answer, or tell what they should not."""

from __future__ import annotations

from collections.abc import Callable

import opentelemetry.sdk.trace.export.in_memory_span_exporter  # noqa: F401  # here once, not in each inner run
import pytest

import strongroom.testing  # noqa: F401  # the same

pytest_plugins = ["pytester"]

MODULE = """
    import pytest

    from strongroom.builtin.memory import MemoryBackend
    from strongroom.contracts import *
    from strongroom.errors import *
    from strongroom.testing.backend_boundary import BoundaryChecks

    class Lost(MemoryBackend):
        def _fail(self, request=None):
            try:
                raise ConnectionResetError("the far end hung up")
            except ConnectionResetError as error:
                raise BackendUnavailableError("no answer") from error

        read = write = list = _fail

        def health(self):
            return Health(state=HealthState.DOWN, reason="no answer")

    class Broken(Lost):
{body}

    class TestBroken(BoundaryChecks):
        capabilities = frozenset({{Capability.WRITE, Capability.LIST}})

        @pytest.fixture
        def backend(self):
            return {backend}()

        @pytest.fixture
        def failing(self):
            return Broken()
"""
MISTAKES = {
    "takes an outage for a missing secret": (
        """
        def read(self, request):
            try:
                self._fail()
            except BackendUnavailableError as error:
                raise SecretNotFoundError(f"there is no {request.name}", name=request.name) from error
        """,
        {"test_an_outage_is_told_as_one"},
    ),
    "translates nothing": (
        """
        def read(self, request):
            raise ConnectionResetError("the far end hung up")
        """,
        {"test_an_outage_is_told_as_one"},
    ),
    "takes an outage for an empty store": (
        """
        def list(self, request):
            return ListResult(names=())
        """,
        {"test_an_outage_is_no_empty_listing"},
    ),
    "says that it is up whatever happens": (
        """
        def health(self):
            return Health(state=HealthState.UP)
        """,
        {"test_a_backend_that_cannot_answer_is_not_up"},
    ),
    "fails to say how it is": ("        health = Lost._fail", set()),
}


@pytest.mark.parametrize(("body", "expected"), MISTAKES.values(), ids=MISTAKES.keys())
def test_each_mistake_in_an_outage_is_found(
    failed_checks: Callable[..., set[str]], body: str, expected: set[str]
) -> None:
    source = MODULE.format(body=body, backend="MemoryBackend")
    assert failed_checks(source, "-k", "outage or failure or foreign or failing or answer") == expected


def test_a_value_that_is_printed_is_found(failed_checks: Callable[..., set[str]]) -> None:
    body = """
        read, list, health = MemoryBackend.read, MemoryBackend.list, MemoryBackend.health

        def write(self, request):
            print("writing", request.value.reveal_text())
            return MemoryBackend.write(self, request)
    """
    source = MODULE.format(body=body, backend="Broken")
    assert failed_checks(source, "-k", "no_value_in_the_log") == {"test_no_value_in_the_log"}


HISTORY = """
    import pytest

    from strongroom.builtin.memory import MemoryBackend
    from strongroom.contracts import *
    from strongroom.errors import *
    from strongroom.testing.backend_versions import VersionChecks

    class Plain(Backend):
        # Versions, and nothing that brings them back once they are deleted.
        address = "plain:"

        def __init__(self):
            self.memory = MemoryBackend()
            self.versions = self.memory.versions
            self.delete = self.memory.delete
            self.written = {{}}

        def write(self, request):
            result = self.memory.write(request)
            self.written[request.name, result.version] = request.value
            return result

        def read(self, request):
            {read}

    class TestPlain(VersionChecks):
        capabilities = frozenset({{Capability.WRITE, Capability.VERSIONS}})

        @pytest.fixture
        def backend(self):
            return Plain()
"""
KEPT = """if (request.name, request.version) in self.written:
                return ReadResult(value=self.written[request.name, request.version], version=request.version)
            return self.memory.read(request)
"""


@pytest.mark.parametrize(
    ("read", "expected"),
    [("return self.memory.read(request)", set()), (KEPT, {"test_no_version_of_a_deleted_secret_is_read"})],
    ids=["gone", "kept"],
)
def test_a_deleted_value_that_is_read_by_its_version_is_found(
    failed_checks: Callable[..., set[str]], read: str, expected: set[str]
) -> None:
    assert failed_checks(HISTORY.format(read=read)) == expected

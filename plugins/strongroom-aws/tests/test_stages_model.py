"""Whatever happens in whatever order to a secret's versions, a small model of it knows what comes out.

It runs against the fake, since the emulator lets AWSPENDING be taken from another version without naming that.
"""

from __future__ import annotations

import itertools
import uuid

from typing import Any

import pytest

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from fakeaws import FakeSecretsManager
from strongroom.contracts import DiscardRequest, PromoteRequest, ReadRequest, StageRequest, StagesRequest, WriteRequest
from strongroom.errors import SecretNotFoundError, StrongroomError, VersionConflictError
from strongroom.model import SecretName, SecretValue
from strongroom_aws.backend import AwsBackend
from strongroom_aws.settings import AwsSettings

NAMES = itertools.count()
NOBODY = str(uuid.UUID(int=0))
CHOICE = st.integers(min_value=0)


class Model:
    """A secret's versions and the labels on them."""

    def __init__(self, version: str, value: str) -> None:
        self.values = {version: value}
        self.current = version
        self.previous: str | None = None
        self.label: str | None = None
        """Where AWSPENDING is."""

    @property
    def pending(self) -> str | None:
        return None if self.label in (self.current, self.previous) else self.label

    def make_current(self, version: str) -> None:
        if version != self.current:
            self.current, self.previous = version, self.current


class Machine(RuleBasedStateMachine):
    """Several that stage, promote, discard and write, one step at a time."""

    aws: FakeSecretsManager
    backend: AwsBackend

    @initialize()
    def create(self) -> None:
        self.name = SecretName(f"secret-{next(NAMES)}")
        self.client: Any = self.aws.client()
        self.model = Model(self.client.create_secret(Name=self.name, SecretString="0")["VersionId"], "0")
        self.numbers = itertools.count(1)

    def version(self, choice: int) -> str:
        """Return one of the versions, or one that is not there."""
        known = [*self.model.values, NOBODY]
        return known[choice % len(known)]

    @rule(choice=CHOICE, again=st.booleans(), expected=st.sampled_from(["none", "pending", "any"]))
    def stage(self, choice: int, again: bool, expected: str) -> None:
        model = self.model
        token = list(model.values)[choice % len(model.values)] if again else str(uuid.uuid4())
        value = model.values.get(token) or str(next(self.numbers))
        expects = {"none": None, "pending": model.pending, "any": self.version(choice // 7)}[expected]
        request = StageRequest(name=self.name, value=SecretValue(value), token=token, expect_pending=expects)
        if token in (model.current, model.previous, model.pending):
            assert self.backend.stage(request).version == token
        elif expects != model.pending:
            with pytest.raises(VersionConflictError) as caught:
                self.backend.stage(request)
            assert caught.value.found == (model.pending or "absent")
        else:
            assert self.backend.stage(request).version == token
            model.values[token] = value
            model.label = token

    @rule(choice=CHOICE)
    def stage_another_value(self, choice: int) -> None:
        token = list(self.model.values)[choice % len(self.model.values)]
        request = StageRequest(
            name=self.name, value=SecretValue("other"), token=token, expect_pending=self.model.pending
        )
        with pytest.raises(VersionConflictError):
            self.backend.stage(request)

    @rule(choice=CHOICE, expected=st.sampled_from(["current", "any"]), keep=st.booleans())
    def promote(self, choice: int, expected: str, keep: bool) -> None:
        model, version = self.model, self.version(choice)
        expects = model.current if expected == "current" else self.version(choice // 7)
        request = PromoteRequest(name=self.name, version=version, expect_current=expects, keep_unfinished=keep)
        error: type[StrongroomError] | None = None
        if version != model.current and expects != model.current:
            error = VersionConflictError
        elif version == NOBODY:
            error = SecretNotFoundError
        if error is not None:
            with pytest.raises(error):
                self.backend.promote(request)
            return
        self.backend.promote(request)
        # What had been current and what is so now are no candidates any more.
        left = {version} if version == model.current else {version, model.current}
        model.make_current(version)
        model.label = None if model.label in left and not keep else model.label

    @rule(choice=CHOICE)
    def discard(self, choice: int) -> None:
        model, version = self.model, self.version(choice)
        existed = self.backend.discard(DiscardRequest(name=self.name, version=version)).existed
        # One left on the current version marks it, on the previous one it says nothing: both are taken off.
        assert existed == (version == model.label)
        model.label = None if existed else model.label

    @rule(conditional=st.booleans())
    def write(self, conditional: bool) -> None:
        model, value = self.model, str(next(self.numbers))
        expected = model.current if conditional else None
        request = WriteRequest(name=self.name, value=SecretValue(value), expect_version=expected)
        version = self.backend.write(request).version
        model.values[version] = value
        model.make_current(version)

    @rule()
    def leave_the_label_as_a_function_may(self) -> None:
        model = self.model
        where = {"MoveToVersionId": model.current} | ({"RemoveFromVersionId": model.label} if model.label else {})
        self.client.update_secret_version_stage(SecretId=self.name, VersionStage="AWSPENDING", **where)
        model.label = model.current

    @invariant()
    def the_versions_are_told_and_read(self) -> None:
        model = self.model
        found = self.backend.stages(StagesRequest(name=self.name))
        assert (found.current, found.pending, found.previous) == (model.current, model.pending, model.previous)
        assert found.unfinished == (model.label if model.label == model.current else None)
        assert self.read(None) == (model.current, model.values[model.current])
        for version in {found.pending, found.previous} - {None}:
            assert self.read(version) == (version, model.values[str(version)])

    def read(self, version: str | None) -> tuple[str, str]:
        result = self.backend.read(ReadRequest(name=self.name, version=version))
        return result.version, result.value.reveal_text()


def test_versions_move_as_the_model_says(aws: FakeSecretsManager) -> None:
    backend = AwsBackend.open(AwsSettings(region="eu-central-1", endpoint=aws.url))
    # The limits that the service sets are not what this is about.
    aws.operations.version_limit = 10_000
    machine = type("Machine", (Machine,), {"aws": aws, "backend": backend})
    quick = settings(max_examples=15, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(machine, settings=quick)
    backend.close()

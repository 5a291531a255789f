"""Which calls each operation makes: the table in the documentation, counted at the service."""

from __future__ import annotations

import contextlib
import itertools
import re

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

import strongroom

from awsbackends import REPLICA, managed, opened
from awsclient import REGION
from fakeaws import FakeSecretsManager
from strongroom import SecretManager
from strongroom.contracts import (
    DiscardRequest,
    PromoteRequest,
    RotationStatusRequest,
    StageRequest,
    StagesRequest,
    TriggerRotationRequest,
)
from strongroom.errors import SecretDeletedError, SecretNotFoundError, VersionConflictError
from strongroom.model import SecretName, SecretValue
from strongroom_aws.backend import AwsBackend
from strongroom_aws.calls import KINDS
from strongroom_aws.settings import RateSettings

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "aws-calls.md"
NAME: Final = SecretName("app/key")
TOKEN: Final = "0f8fad5b-d9cb-469f-a165-70867728950e"
LAMBDA: Final = "arn:aws:lambda:eu-central-1:123456789012:function:rotate"
UNPACED: Final = {"rates": {"list": 10_000.0, "write": 10_000.0}}


class Service:
    """A service with whatever an operation needs.

    Attributes:
        started: How many requests have been made for that.
    """

    def __init__(self, aws: FakeSecretsManager) -> None:
        self.aws = aws
        self.client = aws.client()
        self.started = 0

    def begin(self) -> None:
        """Count from here."""
        self.started = len(self.aws.requests)

    def calls(self) -> list[str]:
        """Return what was called since then."""
        return [request.operation for request in self.aws.requests[self.started :]]

    def create(self, *names: str, **further: Any) -> str:
        """Create secrets; return the version of the last one."""
        return str(
            [self.client.create_secret(Name=name, SecretString=name, **further) for name in names][-1]["VersionId"]
        )

    def delete(self) -> None:
        """Schedule the deletion of the secret."""
        self.client.delete_secret(SecretId=NAME, RecoveryWindowInDays=7)


Scenario = Callable[[Service], object]
SCENARIOS: Final[dict[str, Scenario]] = {}


def scenario(*operations: str) -> Callable[[Scenario], Scenario]:
    """Have a function do what rows of the table are about; it calls ``begin`` when all is prepared."""

    def register(function: Scenario) -> Scenario:
        SCENARIOS.update(dict.fromkeys(operations, function))
        return function

    return register


@contextlib.contextmanager
def managing(service: Service, **settings: Any) -> Iterator[SecretManager]:
    """Open a manager, and count from there."""
    with managed(service.aws.url, **UNPACED, **settings) as manager:
        service.begin()
        yield manager


@contextlib.contextmanager
def backing(service: Service, **settings: Any) -> Iterator[AwsBackend]:
    """Open a backend, and count from there."""
    with opened(service.aws.url, rates=RateSettings(list=10_000.0, write=10_000.0), **settings) as backend:
        service.begin()
        yield backend


@scenario("read a secret")
def _(service: Service) -> None:
    service.create(NAME)
    with managing(service) as manager:
        manager.get(NAME)


@scenario("read it again while it is cached")
def _(service: Service) -> None:
    service.create(NAME)
    with managing(service) as manager:
        manager.get(NAME)
        service.begin()
        manager.get(NAME)
        manager.get_many([NAME])


@scenario("read an older version")
def _(service: Service) -> None:
    version = service.create(NAME)
    service.client.put_secret_value(SecretId=NAME, SecretString="2")
    with managing(service) as manager:
        manager.get(NAME, version=version)


@scenario("read a secret that is not there")
def _(service: Service) -> None:
    with managing(service) as manager, pytest.raises(SecretNotFoundError):
        manager.get(NAME)


@scenario("read it 1,000 times within the negative TTL")
def _(service: Service) -> None:
    with managing(service) as manager:
        for _ in range(1000):
            with pytest.raises(SecretNotFoundError):
                manager.get(NAME)


@scenario("read a secret that is scheduled for deletion")
def _(service: Service) -> None:
    service.create(NAME)
    service.delete()
    with managing(service) as manager, pytest.raises(SecretDeletedError):
        manager.get(NAME)


def _many(count: int) -> Scenario:
    def read(service: Service) -> None:
        names = [f"app/{number:03}" for number in range(count)]
        service.create(*names)
        with managing(service) as manager:
            assert len(manager.get_many(names).found) == count

    return read


scenario("read 1 secret with `get_many`")(_many(1))
scenario("read 20 secrets at once")(_many(20))
scenario("read 21 secrets at once")(_many(21))
scenario("read 100 secrets at once")(_many(100))


@scenario("read 20 secrets at once, one of which is scheduled for deletion")
def _(service: Service) -> None:
    service.create(NAME, *(f"app/{number:03}" for number in range(19)))
    service.delete()
    with managing(service) as manager:
        assert len(manager.get_many([NAME, *(f"app/{number:03}" for number in range(19))]).found) == 19


@scenario("read 20 secrets at once without the right to `BatchGetSecretValue`")
def _(service: Service) -> None:
    names = [f"app/{number:03}" for number in range(20)]
    service.create(*names)
    service.aws.deny("BatchGetSecretValue")
    with managing(service) as manager:
        assert len(manager.get_many(names).found) == 20


@scenario("prefetch 250 secrets by a pattern")
def _(service: Service) -> None:
    service.create(*(f"app/{number:03}" for number in range(250)))
    with managing(service) as manager:
        assert len(manager.prefetch("app/**").found) == 250


@scenario("create a secret")
def _(service: Service) -> None:
    with managing(service) as manager:
        manager.set(NAME, "1")


@scenario("create a secret only if there is none")
def _(service: Service) -> None:
    with managing(service) as manager:
        manager.set(NAME, "1", expect_version=strongroom.ABSENT)


@scenario("the same, and there is one")
def _(service: Service) -> None:
    service.create(NAME)
    with managing(service) as manager, pytest.raises(VersionConflictError):
        manager.set(NAME, "1", expect_version=strongroom.ABSENT)


@scenario("update a secret")
def _(service: Service) -> None:
    service.create(NAME)
    with managing(service) as manager:
        manager.set(NAME, "2")


@scenario("update a secret over an expected version")
def _(service: Service) -> None:
    version = service.create(NAME)
    with managing(service) as manager:
        manager.set(NAME, "2", expect_version=version)


@scenario("the same, and another version is current")
def _(service: Service) -> None:
    version = service.create(NAME)
    service.client.put_secret_value(SecretId=NAME, SecretString="2")
    with managing(service) as manager, pytest.raises(VersionConflictError):
        manager.set(NAME, "3", expect_version=version)


@scenario("the same, and another one becomes current in that moment")
def _(service: Service) -> None:
    version = service.create(NAME)
    other = service.aws.client()

    def come_first(_: object) -> None:
        other.put_secret_value(SecretId=NAME, SecretString="theirs")
        del service.aws.requests[-1]  # theirs

    with managing(service) as manager:
        service.aws.before("UpdateSecretVersionStage", come_first)
        with pytest.raises(VersionConflictError):
            manager.set(NAME, "3", expect_version=version)


@scenario("update a secret that is scheduled for deletion")
def _(service: Service) -> None:
    service.create(NAME)
    service.delete()
    with managing(service) as manager, pytest.raises(SecretDeletedError):
        manager.set(NAME, "2")


@scenario('the same with `on_deleted = "restore"`')
def _(service: Service) -> None:
    service.create(NAME)
    service.delete()
    with managing(service, on_deleted="restore") as manager:
        manager.set(NAME, "2")


@scenario("delete a secret")
def _(service: Service) -> None:
    service.create(NAME)
    with managing(service) as manager:
        manager.delete(NAME)


@scenario("delete a secret that is not there")
def _(service: Service) -> None:
    with managing(service) as manager:
        manager.delete(NAME)


@scenario('delete a secret with `recovery_window = "0s"`')
def _(service: Service) -> None:
    service.create(NAME)
    with managing(service, recovery_window="0s") as manager:
        manager.delete(NAME)


@scenario("undelete a secret")
def _(service: Service) -> None:
    service.create(NAME)
    service.delete()
    with managing(service) as manager:
        manager.undelete(NAME)


@scenario("destroy a secret")
def _(service: Service) -> None:
    service.create(NAME)
    with managing(service) as manager:
        manager.destroy(NAME)


@scenario("delete a secret whose replicas are those of `replicate`")
def _(service: Service) -> None:
    service.create(NAME, AddReplicaRegions=[{"Region": REPLICA}])
    with managing(service, replicate=[REPLICA]) as manager:
        manager.delete(NAME)


@scenario("undelete it")
def _(service: Service) -> None:
    service.create(NAME)
    service.delete()
    with managing(service, replicate=[REPLICA]) as manager:
        manager.undelete(NAME)


@scenario("destroy a secret whose replicas are those of `replicate`")
def _(service: Service) -> None:
    service.create(NAME, AddReplicaRegions=[{"Region": REPLICA}])
    with managing(service, replicate=[REPLICA]) as manager:
        manager.destroy(NAME)


@scenario("list up to 100 names")
def _(service: Service) -> None:
    service.create(NAME)
    with managing(service) as manager:
        assert manager.list("app") == [NAME]


@scenario("list 250 names")
def _(service: Service) -> None:
    service.create(*(f"app/{number:03}" for number in range(250)))
    with managing(service) as manager:
        assert len(manager.list("app")) == 250


@scenario("list up to 100 versions")
def _(service: Service) -> None:
    service.create(NAME)
    with managing(service) as manager:
        manager.versions(NAME)


@scenario("show the metadata of a secret")
def _(service: Service) -> None:
    service.create(NAME)
    with managing(service) as manager:
        manager.describe(NAME)


@scenario("set notes")
def _(service: Service) -> None:
    service.create(NAME)
    with managing(service) as manager:
        manager.annotate(NAME, {"a": "1"})


@scenario("replace notes by others")
def _(service: Service) -> None:
    service.create(NAME, Tags=[{"Key": "a", "Value": "1"}])
    with managing(service) as manager:
        manager.annotate(NAME, {"b": "1"})


@scenario("set the notes that are there")
def _(service: Service) -> None:
    service.create(NAME, Tags=[{"Key": "a", "Value": "1"}])
    with managing(service) as manager:
        manager.annotate(NAME, {"a": "1"})


@scenario("ask for the health")
def _(service: Service) -> None:
    with managing(service) as manager:
        manager.health()


@scenario("rotate a secret that is not cached")
def _(service: Service) -> None:
    service.create(NAME)
    with managing(service) as manager:
        manager.rotate(NAME)


@scenario("stage a value")
def _(service: Service) -> None:
    service.create(NAME)
    with backing(service) as backend:
        backend.stage(StageRequest(name=NAME, value=SecretValue("2"), token=TOKEN))


@scenario("look for the stages")
def _(service: Service) -> None:
    service.create(NAME)
    with backing(service) as backend:
        backend.stages(StagesRequest(name=NAME))


@scenario("promote a staged value")
def _(service: Service) -> None:
    current = service.create(NAME)
    with backing(service) as backend:
        backend.stage(StageRequest(name=NAME, value=SecretValue("2"), token=TOKEN))
        service.begin()
        backend.promote(PromoteRequest(name=NAME, version=TOKEN, expect_current=current))


@scenario("discard a staged value")
def _(service: Service) -> None:
    service.create(NAME)
    with backing(service) as backend:
        backend.stage(StageRequest(name=NAME, value=SecretValue("2"), token=TOKEN))
        service.begin()
        backend.discard(DiscardRequest(name=NAME, version=TOKEN))


@scenario("ask whether the service rotates a secret")
def _(service: Service) -> None:
    service.create(NAME)
    with backing(service) as backend:
        backend.rotates(NAME)


@scenario("the same for a name of `rotation_enabled`")
def _(service: Service) -> None:
    with backing(service, rotation_enabled=("app/*",)) as backend:
        assert backend.rotates(NAME)


@scenario("have the service rotate a secret")
def _(service: Service) -> None:
    service.create(NAME)
    service.client.rotate_secret(SecretId=NAME, RotationLambdaARN=LAMBDA, RotateImmediately=False)
    with backing(service) as backend:
        backend.trigger_rotation(TriggerRotationRequest(name=NAME, token=TOKEN))


@scenario("ask how far that has come, each time")
def _(service: Service) -> None:
    service.create(NAME)
    with backing(service) as backend:
        backend.rotation_status(RotationStatusRequest(name=NAME, version=TOKEN))


@scenario("list the rotations of 250 secrets")
def _(service: Service) -> None:
    service.create(*(f"app/{number:03}" for number in range(250)))
    with managing(service) as manager:
        manager.schedules("app")


def rows() -> dict[str, tuple[int, list[str]]]:
    """Return the rows of the table: how many calls an operation makes, and which."""
    found: dict[str, tuple[int, list[str]]] = {}
    for line in PAGE.read_text().partition("<!-- calls -->")[2].partition("<!-- end -->")[0].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 3 and cells[1].isdigit():
            found[cells[0]] = int(cells[1]), list(named(cells[2]))
    return found


def named(cell: str) -> Iterator[str]:
    """Yield the calls that a cell names; ``3 ListSecrets`` are three."""
    for times, call in re.findall(r"(?:(\d+) )?`(\w+)`", cell):
        yield from itertools.repeat(call, int(times or 1))


ROWS: Final = rows()


def test_the_page_has_a_row_for_each_operation() -> None:
    assert list(ROWS) == list(SCENARIOS)


@pytest.mark.parametrize("operation", SCENARIOS)
def test_an_operation_makes_the_calls_that_the_page_says(aws: FakeSecretsManager, operation: str) -> None:
    service = Service(aws)
    SCENARIOS[operation](service)
    calls = service.calls()
    # Two chunks are read at the same time.
    ordered = sorted(calls) if operation == "read 21 secrets at once" else calls
    assert (len(calls), ordered) == ROWS[operation]


def test_the_page_has_the_rates_that_are_set_by_default() -> None:
    table = PAGE.read_text().partition("<!-- rates -->")[2].partition("<!-- end -->")[0]
    told = {
        cells[0].strip(): cells[1].strip().replace(",", "")
        for cells in (line.strip("|").split("|") for line in table.splitlines())
        if len(cells) == 3
    }
    for rate, granted in RateSettings().as_dict().items():
        assert float(told[f"`{rate}`"]) == granted
    assert float(told["half of `list`"]) == RateSettings().list / 2
    for call in KINDS:
        assert f"`{call}`" in table


def test_every_region_is_asked_for_itself(aws: FakeSecretsManager) -> None:
    """No call goes anywhere else, to find out where to go, say."""
    service = Service(aws)
    SCENARIOS["read 100 secrets at once"](service)
    assert {(request.service, request.region) for request in aws.requests} == {("secretsmanager", REGION)}

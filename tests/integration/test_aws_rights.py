"""A rendered policy is enough for each call that an operation makes, and holds no right that none of them takes.

Each row of the table of calls runs as a principal with just the actions that it needs, both in strongroom and at a
fake of the service that asks an evaluator of the policy which is rendered for these actions.
"""

from __future__ import annotations

import contextlib
import functools

from collections.abc import Iterator
from typing import Final

import pytest

import strongroom
import test_call_counts

from awsbackends import REPLICA, managed, opened, read, read_many
from awsclient import ACCESS_KEY, REGION, SECRET_KEY
from awsrights import BARE, GIVES, NO_RESOURCE, Rights, arn_of
from fakeaws import FakeSecretsManager
from fakefaults import Request, ServiceError
from strongroom.errors import AccessDeniedError
from strongroom.policy import Policy, Rule, parse_actions
from strongroom.rendering.aws import render_aws
from strongroom.rendering.aws_target import AwsTarget
from test_call_counts import NAME, SCENARIOS, UNPACED, Service

KEY: Final = "arn:aws:kms:eu-central-1:123456789012:key/0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"
PLAIN: Final = BARE.replace(tags=False)
FULL: Final = PLAIN.replace(kms_key=KEY, replicas=(REPLICA,), read_from=(REPLICA,))
ARN: Final = arn_of(NAME)
BESIDE: Final = {"kms_key_id": KEY, "replicate": [REPLICA], "replicas": []}

NEEDED: Final[dict[str, tuple[str, ...]]] = {
    "read a secret": ("read",),
    "read it again while it is cached": ("read",),
    "read an older version": ("read",),
    "read a secret that is not there": ("read",),
    "read it 1,000 times within the negative TTL": ("read",),
    "read a secret that is scheduled for deletion": ("read",),
    "read 1 secret with `get_many`": ("read",),
    "read 20 secrets at once": ("read",),
    "read 21 secrets at once": ("read",),
    "read 100 secrets at once": ("read",),
    "read 20 secrets at once, one of which is scheduled for deletion": ("read",),
    "read 20 secrets at once without the right to `BatchGetSecretValue`": ("read",),
    "prefetch 250 secrets by a pattern": ("read list",),
    "create a secret": ("create", "create update"),
    "create a secret only if there is none": ("create",),
    "the same, and there is one": ("create",),
    "update a secret": ("update", "create update"),
    "update a secret over an expected version": ("update",),
    "the same, and another version is current": ("update",),
    "the same, and another one becomes current in that moment": ("update",),
    "update a secret that is scheduled for deletion": ("update", "create update"),
    'the same with `on_deleted = "restore"`': ("create update",),
    "delete a secret": ("delete",),
    "delete a secret that is not there": ("delete",),
    'delete a secret with `recovery_window = "0s"`': ("delete",),
    "undelete a secret": ("update",),
    "destroy a secret": ("delete",),
    "delete a secret whose replicas are those of `replicate`": ("delete",),
    "undelete it": ("update",),
    "destroy a secret whose replicas are those of `replicate`": ("delete",),
    "list up to 100 names": ("list",),
    "list 250 names": ("list",),
    "list up to 100 versions": ("read",),
    "show the metadata of a secret": ("read",),
    "set notes": ("update",),
    "replace notes by others": ("update",),
    "set the notes that are there": ("update",),
    "ask for the health": ("", "list"),
    "rotate a secret that is not cached": ("rotate update",),
    "stage a value": ("rotate update",),
    "look for the stages": ("rotate update",),
    "promote a staged value": ("rotate update",),
    "discard a staged value": ("rotate update",),
    "ask whether the service rotates a secret": ("rotate update",),
    "the same for a name of `rotation_enabled`": ("rotate update",),
    "have the service rotate a secret": ("rotate update",),
    "ask how far that has come, each time": ("rotate update",),
    "list the rotations of 250 secrets": ("list",),
}
"""What a principal needs for a row of the table; several sets, each of which has to be enough."""
REPLICATED: Final = {operation for operation in NEEDED if "replicas" in operation or operation == "undelete it"}
"""The rows of a backend that replicates."""
DISPENSABLE: Final = {
    ("ask for the health", ""): {"ListSecrets"},
    ("the same, and there is one", "create"): {"DescribeSecret"},
}
"""Calls without which an operation comes to the same end."""


def rules(actions: str) -> tuple[Rule, ...]:
    """Return rules for ``app``; a list is for all names, as AWS has it."""
    parts = (" ".join(one for one in actions.split() if one != "list"), "app/**"), ("list" * ("list" in actions), "**")
    return tuple(
        Rule(
            id=f"policies[{number}]",
            principal="app",
            allow=True,
            actions=parse_actions(words.split(), "here", allow=True),
            names=(names,),
        )
        for number, (words, names) in enumerate(parts, start=1)
        if words
    )


@functools.cache
def rendered(actions: str, target: AwsTarget = PLAIN) -> Rights:
    """Return what the rules allow at the service, which is said without a loss."""
    done = render_aws(Policy(rules(actions), enforced=True), "app", target, now=1_000.0)
    assert done.losses == ()
    return Rights(done.text)


class StrictService(FakeSecretsManager):
    """A service that lets nobody do what a policy does not allow.

    Attributes:
        rights: What it allows; ``None`` for everything.
        refused: What was asked for in vain.
        made: What was asked for, and allowed.
    """

    def __init__(self) -> None:
        self.rights: Rights | None = None
        self.refused: set[str] = set()
        self.made: set[str] = set()
        super().__init__()

    def _apply(self, request: Request) -> bytes:
        asked = request.parameters
        if request.operation == "CreateSecret" and asked.get("Tags"):
            self._ask("TagResource", request.region, request.name)
        if asked.get("AddReplicaRegions"):
            regions = [one["Region"] for one in asked["AddReplicaRegions"]]
            self._ask("ReplicateSecretToRegions", request.region, request.name, AddReplicaRegions=regions)
        if request.operation == "CreateSecret" and asked.get("KmsKeyId"):
            for call in ("Decrypt", "GenerateDataKey"):
                self._grant(self.rights is None or self.rights.may_use_key(call, asked["KmsKeyId"]), call)
        return super()._apply(request)

    def _allowed(self, operation: str, region: str, id: str) -> None:
        super()._allowed(operation, region, id)
        if operation != "ReplicateSecretToRegions":  # asked for with its regions
            self._ask(operation, region, id)

    def _ask(self, operation: str, region: str, id: str, **keys: list[str]) -> None:
        if self.rights is None:
            return
        found = self.store.find(region, id) if id else None
        # Of a secret that is not there, the service asks for an ARN with six characters as well.
        name = self.store.plain_name(region, id)
        arn = found.arn if found else f"arn:aws:secretsmanager:{region}:{self.store.account}:secret:{name}-Q7xYz9"
        self._grant(self.rights.may_call(operation, arn, region=region, **keys), operation)

    def _grant(self, granted: bool, call: str) -> None:
        (self.made if granted else self.refused).add(call)
        if not granted:
            raise ServiceError("AccessDeniedException", f"not authorized to perform: {call}")


class Strictly(Service):
    """What a scenario runs at: strict from where it begins."""

    def __init__(self, aws: StrictService, rights: Rights) -> None:
        super().__init__(aws)
        self._strict, self._rights = aws, rights

    def begin(self) -> None:
        super().begin()
        self._strict.rights = self._rights


@pytest.fixture
def strict() -> Iterator[StrictService]:
    with StrictService() as started:
        yield started


@pytest.fixture
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("AWS_ACCESS_KEY_ID", ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", SECRET_KEY)):
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SECRETS_MANAGER"):
        monkeypatch.delenv(name, raising=False)


@contextlib.contextmanager
def limited(monkeypatch: pytest.MonkeyPatch, actions: str) -> Iterator[None]:
    """Let each manager that is opened be one of the principal's, with just these actions in strongroom, too."""
    open_ = strongroom.open
    told = [
        {
            "principal": "app",
            "effect": "allow",
            "actions": [one.value for one in rule.actions],
            "names": list(rule.names),
        }
        for rule in rules(actions)
    ] or [{"principal": "nobody", "effect": "allow", "actions": ["read"], "names": ["**"]}]
    with monkeypatch.context() as patch:
        limits = {"principal": "app", "policies": told}
        patch.setattr(strongroom, "open", lambda settings, **further: open_(settings | limits, **further))
        yield


CASES: Final = [(operation, actions) for operation, several in NEEDED.items() for actions in several]


def test_each_row_of_the_table_is_tried() -> None:
    assert NEEDED.keys() == SCENARIOS.keys() == test_call_counts.ROWS.keys()


@pytest.mark.usefixtures("_environment")
@pytest.mark.parametrize(("operation", "actions"), CASES)
def test_the_rendered_rights_are_enough(
    strict: StrictService, monkeypatch: pytest.MonkeyPatch, operation: str, actions: str
) -> None:
    with limited(monkeypatch, actions):
        target = PLAIN.replace(replicas=(REPLICA,)) if operation in REPLICATED else PLAIN
        SCENARIOS[operation](Strictly(strict, rendered(actions, target)))
    assert strict.refused <= DISPENSABLE.get((operation, actions), set())


@pytest.mark.parametrize("actions", sorted({actions for several in NEEDED.values() for actions in several}))
def test_no_right_is_idle(actions: str) -> None:
    """Each call that a set of actions opens is made by a row of the table that these actions are for."""
    granted = {call for call in GIVES.keys() | NO_RESOURCE if rendered(actions).may_call(call, ARN)}
    rows = [row for row, several in NEEDED.items() if any(set(one.split()) <= set(actions.split()) for one in several)]
    assert granted <= {call for row in rows for call in test_call_counts.ROWS[row][1]}


@pytest.mark.usefixtures("_environment")
@pytest.mark.parametrize(
    ("actions", "tags"), [("create", {}), ("create update", {}), ("create update", {"team": "shop"})]
)
def test_what_a_new_secret_gets_takes_rights_of_its_own(
    strict: StrictService, monkeypatch: pytest.MonkeyPatch, actions: str, tags: dict[str, str]
) -> None:
    with limited(monkeypatch, actions), managed(strict.url, **UNPACED, **BESIDE, tags=tags) as manager:
        strict.rights = rendered(actions, FULL.replace(tags=bool(tags)))
        manager.set(NAME, "1")
        assert strict.made >= {"CreateSecret", "ReplicateSecretToRegions", "GenerateDataKey", "Decrypt"}
        assert ("TagResource" in strict.made) is bool(tags)
        strict.rights = rendered(actions, PLAIN)
        with pytest.raises(AccessDeniedError):
            manager.set("app/other", "1")


@pytest.mark.usefixtures("_environment")
def test_to_restore_what_is_in_the_way_of_a_new_secret_takes_the_right_to_update(
    strict: StrictService, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service(strict)
    service.create(NAME)
    service.delete()
    for actions in ("create", "create update"):
        strict.rights = rendered(actions)
        with limited(monkeypatch, actions), managed(strict.url, **UNPACED, on_deleted="restore") as manager:
            if actions == "create":
                with pytest.raises(AccessDeniedError):
                    manager.set(NAME, "1", expect_version=strongroom.ABSENT)
            else:
                manager.set(NAME, "1", expect_version=strongroom.ABSENT)


@pytest.mark.usefixtures("_environment")
def test_copies_are_read_in_an_outage_those_of_names_for_an_arn_as_well(strict: StrictService) -> None:
    service = Service(strict)
    names = ("theirs", NAME, "app/other")
    service.create(*names, AddReplicaRegions=[{"Region": REPLICA}])
    arn = strict.secret("theirs").arn
    arns = {"app/theirs": arn}
    strict.rights = rendered("read", FULL.replace(aliases=tuple(arns.items())))
    for call in ("GetSecretValue", "BatchGetSecretValue"):
        strict.fail(call, "InternalServiceError", times=None, region=REGION)
    with opened(strict.url, arns=arns, replicas=(REPLICA,), attempts=1) as backend:
        assert read(backend, "app/theirs") == "theirs"
        assert len(read_many(backend, "app/theirs", NAME, "app/other").found) == 3
    assert strict.refused == set()
    assert {request.region for request in strict.requests[-2:]} == {REPLICA}

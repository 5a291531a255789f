"""A fake of Secrets Manager and STS on loopback that speaks their protocols and behaves as AWS documents.

It is for what the emulator gets wrong, and for what no real service can be made to do: errors by name, connections
that break before or after the work was done, replicas that lag, permissions, and credentials that run out.
It does not check signatures: the access key and the region are taken from the request as they are.
"""

from __future__ import annotations

import json
import re
import ssl
import threading
import time
import urllib.parse
import uuid

from fnmatch import fnmatchcase
from typing import Any

from awsclient import REGION, plain_client
from fakefaults import Faults, Request, ServiceError
from fakeloopback import Incoming, Loopback, Reply
from fakeoperations import Operations
from fakesecrets import Secret, Store
from fakests import FakeSts, error_document

ACCOUNT = "123456789012"
SCOPE = re.compile(r"Credential=([^/,]+)/\d+/([^/]*)/([^/]*)/aws4_request")
OPERATION = re.compile(r"[A-Z]\w+")
CAPITAL_MESSAGE = re.compile(r"(Resource|Invalid|LimitEx|Encryption|Decryption|InternalService|Malformed|Precondition)")
"""The service's own errors write ``Message``, those that all services have write ``message``."""
READING = ("Describe", "Get", "BatchGet", "List")
PAGE_OF_A_PROXY = b"<!DOCTYPE html><html><body><h1>Please log in</h1></body></html>"


class FakeSecretsManager(Faults, Loopback):
    """The server; ``with FakeSecretsManager() as aws:`` starts and stops it. Any endpoint setting may name ``url``.

    Args:
        account: The account that holds everything.
        tls: Makes it speak TLS.
    """

    def __init__(self, account: str = ACCOUNT, *, tls: ssl.SSLContext | None = None) -> None:
        self.store = Store(account)
        self.operations = Operations(self.store, self._check_in_batch)
        self.sts = FakeSts(account)
        self.expired: set[str] = set()
        """Access keys that have run out; so have those that STS gave, when their time is over."""
        self.unknown: set[str] = set()
        """Access keys that nobody knows."""
        self._denied: list[tuple[str, str | None, str | None]] = []
        self._lock = threading.RLock()
        Faults.__init__(self)
        Loopback.__init__(self, tls)

    def client(self, service: str = "secretsmanager", region: str = REGION, **credentials: Any) -> Any:
        """Return a plain boto3 client, see :func:`awsclient.plain_client`."""
        return plain_client(self.url, service, region, **credentials)

    def secret(self, name: str, region: str = REGION) -> Secret:
        """Return what is kept of a secret, to look at it or to change it in place."""
        with self._lock:
            return self.store.secrets(region)[name]

    def names(self, region: str = REGION) -> list[str]:
        """Return the names of all secrets of a region, deleted ones as well."""
        with self._lock:
            return list(self.store.secrets(region))

    def deny(self, operation: str, name: str | None = None, region: str | None = None) -> None:
        """Refuse an operation (``*``: all) from now on.

        Args:
            operation: Such as ``GetSecretValue``; then batches list the secret among their errors.
            name: For secrets of this name only (``*`` as in a shell), whether they exist or not.
            region: In this region only.
        """
        with self._lock:
            self._denied.append((operation, name, region))

    def allow(self) -> None:
        """Refuse nothing any more."""
        with self._lock:
            self._denied.clear()

    def hold_replication(self) -> None:
        """Let replicas stay as they are; new ones do not appear."""
        with self._lock:
            self.store.replicating = False

    def release_replication(self) -> None:
        """Bring replicas up to date, and keep them so."""
        with self._lock:
            self.store.replicating = True
            self.store.replicate_all()

    def fail_replication(self, region: str, message: str = "Replication failed, for a test.") -> None:
        """Let all further replication to a region fail."""
        with self._lock:
            self.store.failing_replicas[region] = message

    def hold_listing(self) -> None:
        """Let ``ListSecrets`` show what is there now, whatever comes: it may lag by minutes."""
        with self._lock:
            self.store.hold_listing(True)

    def release_listing(self) -> None:
        """Let ``ListSecrets`` show what is there."""
        with self._lock:
            self.store.hold_listing(False)

    def linger(self, calls: int) -> None:
        """Let names that are deleted by force stay taken for so many calls about them."""
        with self._lock:
            self.store.linger = calls

    def linger_replicas(self, calls: int) -> None:
        """Let replicas that are removed stay for so many descriptions or deletions of their secret."""
        with self._lock:
            self.store.replica_linger = calls

    def lag(self, changes: int) -> None:
        """Let ``DescribeSecret`` show what was there so many changes ago, counted from now; 0: what is there."""
        with self._lock:
            self.store.lag = changes
            self.store.forget()
            self.store.remember()

    def finish_deletion(self, name: str, region: str = REGION) -> None:
        """Let a secret's recovery window end: it is gone."""
        with self._lock:
            del self.store.secrets(region)[name]

    def finish_rotation(
        self, name: str, value: str = "rotated", region: str = REGION, *, keep_pending: bool = True
    ) -> None:
        """Play the function of a rotation: store a value in the pending version and make it the current one.

        AWSPENDING stays on the version, as AWS's own functions leave it, unless ``keep_pending`` is false.
        """
        with self._lock:
            self.operations.played_lambda(region, name, value, done=True, keep_pending=keep_pending)

    def fail_rotation(self, name: str, value: str | None = None, region: str = REGION) -> None:
        """Let the function of a rotation fail: the pending version stays, without a value or with one."""
        with self._lock:
            self.operations.played_lambda(region, name, value, done=False, keep_pending=True)

    def respond(self, incoming: Incoming) -> Reply:
        """Return the answer to a request; called from many threads."""
        request, number = _parsed(incoming), str(uuid.uuid4())
        with self._lock:
            name = self.store.plain_name(request.region, request.name)
        due = self._due(request, name)
        if "delay" in due:
            self.stopping.wait(due["delay"].what)
        if "before" in due:
            due["before"].what(request)
        fault = due.get("fault")
        how = fault.what if fault is not None and fault.kind == "transport" else ""
        if how and how != "cut":
            return _spoiled(Reply(), how)
        try:
            if fault is not None and fault.kind == "fail":
                raise fault.what
            body = self._apply(request)
            reply = Reply(200, body, {"x-amzn-RequestId": number, "Content-Type": _content_type(request)})
        except ServiceError as problem:
            reply = _error(request, problem, number)
        if fault is not None and fault.kind == "after":
            function, how = fault.what
            if function is not None:
                function(request)
        return _spoiled(reply, how) if how else reply

    def _apply(self, request: Request) -> bytes:
        with self._lock:
            self._check_credentials(request)
            if request.service == "sts":
                return self.sts.apply(request)
            function = getattr(self.operations, request.operation, None) if OPERATION.match(request.operation) else None
            if function is None:
                raise ServiceError("UnknownOperationException")
            self._allowed(request.operation, request.region, request.name)
            if not request.operation.startswith(READING):
                self.store.remember()
            return json.dumps(function(request.region, request.parameters)).encode()

    def _check_credentials(self, request: Request) -> None:
        if request.operation == "AssumeRoleWithWebIdentity":
            return
        sts = request.service == "sts"
        status = 403 if sts else 400
        if not request.access_key:
            code = "MissingAuthenticationToken" if sts else "MissingAuthenticationTokenException"
            raise ServiceError(code, "Request is missing Authentication Token", status)
        issued = self.sts.issued.get(request.access_key)
        wrong = issued is not None and issued.token != request.token
        if request.access_key in self.unknown or wrong:
            code = "InvalidClientTokenId" if sts else "UnrecognizedClientException"
            raise ServiceError(code, "The security token included in the request is invalid.", status)
        if request.access_key in self.expired or (issued is not None and issued.expires <= time.time()):
            code = "ExpiredToken" if sts else "ExpiredTokenException"
            raise ServiceError(code, "The security token included in the request is expired", status)

    def _check_in_batch(self, region: str, id: str) -> None:
        self._allowed("GetSecretValue", region, id)
        self._due_in_batch(self.store.plain_name(region, id))

    def _allowed(self, operation: str, region: str, id: str) -> None:
        """Raise if this is denied; whether the secret exists is not looked at, as AWS does not."""
        name = self.store.plain_name(region, id)
        for denied, pattern, where in self._denied:
            fits = denied in {"*", operation} and where in {None, region}
            if fits and (pattern is None or (id != "" and fnmatchcase(name, pattern))):
                text = (
                    f"User: arn:aws:iam::{self.store.account}:user/test is not authorized to perform: "
                    f"secretsmanager:{operation} on resource: {id or '*'} because no identity-based policy allows "
                    f"the secretsmanager:{operation} action"
                )
                raise ServiceError("AccessDeniedException", text)


def _parsed(incoming: Incoming) -> Request:
    scope = SCOPE.search(incoming.headers.get("Authorization") or "")
    access_key, region, service = scope.groups() if scope else ("", "", "")
    target = incoming.headers.get("X-Amz-Target")
    if target is not None:
        operation = target.partition(".")[2]
        request = Request("secretsmanager", operation, region, access_key, json.loads(incoming.body or b"{}"))
    else:
        form = dict(urllib.parse.parse_qsl(incoming.body.decode(), keep_blank_values=True))
        request = Request(service or "sts", form.get("Action", ""), region, access_key, form)
    request.token = incoming.headers.get("X-Amz-Security-Token") or ""
    request.headers = incoming.headers
    request.path = incoming.path
    request.peer = incoming.peer
    return request


def _content_type(request: Request) -> str:
    return "text/xml" if request.service == "sts" else "application/x-amz-json-1.1"


def _error(request: Request, problem: ServiceError, id: str) -> Reply:
    headers = {"x-amzn-RequestId": id, "Content-Type": _content_type(request)}
    if request.service == "sts":
        return Reply(problem.status, error_document(problem, id), headers)
    key = "Message" if CAPITAL_MESSAGE.match(problem.code) else "message"
    return Reply(problem.status, json.dumps({"__type": problem.code, key: problem.message}).encode(), headers)


def _spoiled(reply: Reply, how: str) -> Reply:
    if how == "empty":
        return Reply(200, b"", {"Content-Type": "application/x-amz-json-1.1"})
    if how == "html":
        return Reply(200, PAGE_OF_A_PROXY, {"Content-Type": "text/html"})
    reply.how = how
    return reply

"""The closed lists: every attribute and every metric that strongroom ever uses."""

from __future__ import annotations

from typing import Final

from strongroom._record import Record

OPERATION: Final = "strongroom.operation"
BACKEND: Final = "strongroom.backend"
BACKEND_TYPE: Final = "strongroom.backend.type"
SINK_TYPE: Final = "strongroom.sink.type"
ROTATOR_TYPE: Final = "strongroom.rotator.type"
SECRET_ID: Final = "strongroom.secret.id"
COUNT: Final = "strongroom.count"
BREAKER_STATE: Final = "strongroom.breaker.state"
SOURCE: Final = "strongroom.source"
OUTCOME: Final = "strongroom.outcome"
WITHIN: Final = "strongroom.within"
RULE: Final = "security_rule.name"
ERROR_TYPE: Final = "error.type"
RESENDS: Final = "http.request.resend_count"
REGION: Final = "cloud.region"
REQUEST_ID: Final = "aws.request_id"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"
PROGRAM: Final = "process.executable.name"
PROCESS_ID: Final = "process.pid"
EXIT_CODE: Final = "process.exit.code"

SPAN_ATTRIBUTES: Final = {
    OPERATION: "what is done, such as `read`; the command's name for a command",
    BACKEND: "the backend's name in the configuration",
    BACKEND_TYPE: "the name that its plugin registered, such as `vault`",
    SINK_TYPE: "the type of an audit sink, such as `jsonl`",
    ROTATOR_TYPE: "the name of a rotator, such as `postgres`",
    SECRET_ID: "an HMAC of the secret's name, in 32 hexadecimal digits",
    COUNT: "of how many events a block consists",
    ERROR_TYPE: "the error's code, such as `not_found`, or the class of a foreign one; not set on success",
    RESENDS: "how many times the request was sent again",
    REGION: "the cloud's region",
    REQUEST_ID: "the id that AWS gave the request",
    SERVER_ADDRESS: "the server's host, or the path of its socket",
    SERVER_PORT: "the server's port",
    PROGRAM: "always `strongroom`",
    PROCESS_ID: "the process's number",
    EXIT_CODE: "the command's exit status",
}
"""Every attribute that strongroom ever sets on a span, and what it says."""
ATTRIBUTES: Final = frozenset(SPAN_ATTRIBUTES)


class Metric(Record):
    """One metric: how it is measured, and which attributes it may have."""

    name: str
    kind: str
    """``counter``, ``gauge`` or ``histogram``."""
    unit: str
    """In the notation of UCUM; in braces what is counted."""
    summary: str
    attributes: tuple[str, ...] = ()
    over: str = "sum"
    """What is told of several managers of one process: the ``sum``, the ``max`` or the ``min``."""


DURATION: Final = Metric(
    name="strongroom.client.operation.duration",
    kind="histogram",
    unit="s",
    summary="How long calls to backends, audit sinks and rotators took.",
    attributes=(OPERATION, BACKEND, BACKEND_TYPE, SINK_TYPE, ROTATOR_TYPE, ERROR_TYPE),
)
RETRIES: Final = Metric(
    name="strongroom.client.retries",
    kind="counter",
    unit="{retry}",
    summary="Requests that a backend's client sent again.",
    attributes=(BACKEND_TYPE,),
)
ACCESSES: Final = Metric(
    name="strongroom.accesses",
    kind="counter",
    unit="{access}",
    summary="Accesses that were recorded, but for answers from memory; denied and failed ones by their outcome.",
    attributes=(OPERATION, OUTCOME),
)
CACHE_READS: Final = Metric(
    name="strongroom.cache.reads",
    kind="counter",
    unit="{read}",
    summary="Reads by what answered them: hit, negative, stale, miss, fallback or error.",
    attributes=(OUTCOME,),
)
CACHE_ENTRIES: Final = Metric(
    name="strongroom.cache.entries", kind="gauge", unit="{entry}", summary="Entries in the cache."
)
CACHE_LIMIT: Final = Metric(
    name="strongroom.cache.limit", kind="gauge", unit="{entry}", summary="How many entries the cache holds at most."
)
CACHE_LIVES: Final = Metric(
    name="strongroom.cache.lives",
    kind="gauge",
    unit="{entry}",
    summary="Entries that have at most so many seconds to live.",
    attributes=(WITHIN,),
)
CACHE_REMOVED: Final = Metric(
    name="strongroom.cache.removed",
    kind="counter",
    unit="{entry}",
    summary="Entries that left the cache: evicted for others, or expired.",
    attributes=(OUTCOME,),
)
CACHE_REFRESHES: Final = Metric(
    name="strongroom.cache.refreshes",
    kind="counter",
    unit="{refresh}",
    summary="Calls that nobody waited for, to have an answer anew: ok or failed.",
    attributes=(OUTCOME,),
)
TRANSITIONS: Final = Metric(
    name="strongroom.breaker.transitions",
    kind="counter",
    unit="{transition}",
    summary="Changes of a backend's state.",
    attributes=(BACKEND, BREAKER_STATE),
)
BREAKER: Final = Metric(
    name="strongroom.breaker.state",
    kind="gauge",
    unit="1",
    summary="1 for the state that a backend is in, 0 for the others.",
    attributes=(BACKEND, BREAKER_STATE),
    over="max",
)
SUBSTITUTED: Final = Metric(
    name="strongroom.reads.substituted",
    kind="counter",
    unit="{read}",
    summary="Reads that a stale answer, a copy or an accepted write has answered.",
    attributes=(BACKEND, SOURCE),
)
JOURNAL_LENGTH: Final = Metric(
    name="strongroom.journal.length",
    kind="gauge",
    unit="{write}",
    summary="Writes that wait for a backend.",
    attributes=(BACKEND,),
)
ROTATIONS: Final = Metric(
    name="strongroom.rotations",
    kind="counter",
    unit="{rotation}",
    summary="Rotations by how they ended: ok, undone, or the error's code.",
    attributes=(ROTATOR_TYPE, OUTCOME),
)
ROTATIONS_DUE: Final = Metric(
    name="strongroom.rotations.due",
    kind="gauge",
    unit="{secret}",
    summary="Secrets by the state of their schedule, when it was last looked at: due, due soon or overdue.",
    attributes=(OUTCOME,),
)
AUDIT_EVENTS: Final = Metric(
    name="strongroom.audit.events",
    kind="counter",
    unit="{event}",
    summary="Events that a sink has recorded.",
    attributes=(SINK_TYPE,),
)
AUDIT_LOST: Final = Metric(
    name="strongroom.audit.lost",
    kind="counter",
    unit="{event}",
    summary="Events that a sink which is not required could not record.",
    attributes=(SINK_TYPE,),
)
AUDIT_WAITING: Final = Metric(
    name="strongroom.audit.waiting",
    kind="gauge",
    unit="{event}",
    summary="Events that wait for a sink.",
    attributes=(SINK_TYPE,),
)
AUDIT_LAG: Final = Metric(
    name="strongroom.audit.lag",
    kind="gauge",
    unit="s",
    summary="For how long the oldest event that waits for a sink has waited.",
    attributes=(SINK_TYPE,),
    over="max",
)
VERDICTS: Final = Metric(
    name="strongroom.anomaly.verdicts",
    kind="counter",
    unit="{verdict}",
    summary="Answers of detectors: allow, alert, block, or failed.",
    attributes=(OUTCOME,),
)
ALERTS: Final = Metric(
    name="strongroom.anomaly.alerts",
    kind="counter",
    unit="{alert}",
    summary="Alerts that were sent, by the detector and whether the access was blocked.",
    attributes=(RULE, OUTCOME),
)
LEASES: Final = Metric(
    name="strongroom.leases", kind="gauge", unit="{lease}", summary="Leased credentials that are held."
)
LEASE_LIFE: Final = Metric(
    name="strongroom.leases.remaining",
    kind="gauge",
    unit="s",
    summary="How long the lease that ends first has to live; less than nothing if it has ended.",
    over="min",
)
PART_STATE: Final = Metric(
    name="strongroom.part.up",
    kind="gauge",
    unit="1",
    summary="How a backend or audit sink was when last asked: 1 up, 0.5 degraded, 0 down.",
    attributes=(BACKEND, BACKEND_TYPE, SINK_TYPE),
)
TOKEN_LIFE: Final = Metric(
    name="strongroom.token.remaining",
    kind="gauge",
    unit="s",
    summary="How long the token of a backend's client had to live when the backend was last asked how it is.",
    attributes=(BACKEND, BACKEND_TYPE),
)
STORE_SIZE: Final = Metric(
    name="strongroom.store.size",
    kind="gauge",
    unit="By",
    summary="How much of the disk a local store takes, as of when it was last asked.",
    attributes=(BACKEND, BACKEND_TYPE),
)
KEY_USES: Final = Metric(
    name="strongroom.store.key.uses",
    kind="gauge",
    unit="{encryption}",
    summary="How often a local store's data key has encrypted; warned of at 2^31 and refused at 2^32.",
    attributes=(BACKEND, BACKEND_TYPE),
)

OBSERVABLE: Final = (
    CACHE_READS,
    CACHE_ENTRIES,
    CACHE_LIMIT,
    CACHE_LIVES,
    CACHE_REMOVED,
    CACHE_REFRESHES,
    BREAKER,
    AUDIT_LOST,
    AUDIT_WAITING,
    AUDIT_LAG,
    VERDICTS,
    LEASES,
    LEASE_LIFE,
)
"""The metrics that are looked up when somebody collects them."""
METRICS: Final = (
    *OBSERVABLE,
    DURATION,
    RETRIES,
    ACCESSES,
    TRANSITIONS,
    SUBSTITUTED,
    JOURNAL_LENGTH,
    ROTATIONS,
    ROTATIONS_DUE,
    AUDIT_EVENTS,
    ALERTS,
    PART_STATE,
    TOKEN_LIFE,
    STORE_SIZE,
    KEY_USES,
)
"""Every metric that strongroom ever records."""
METRIC_ATTRIBUTES: Final = frozenset(attribute for metric in METRICS for attribute in metric.attributes)
"""Every attribute that strongroom ever gives a metric."""
FIGURES: Final = {"token_seconds": TOKEN_LIFE, "store_bytes": STORE_SIZE, "key_uses": KEY_USES}
"""The metric of each figure that a backend may give of itself; see :class:`strongroom.contracts.Health`."""

"""A cached read, bare and audited, against what Python programs use instead.

Needs `cachetools` and `aws-secretsmanager-caching` beside strongroom, its local
store and its audit sink. The peer caches hold the same text and answer from
memory, too; none of them records an access.
"""

from __future__ import annotations

import tempfile
import threading

from pathlib import Path
from typing import Any

from _common import arguments, per_call, show
from aws_secretsmanager_caching import SecretCache
from cachetools import TTLCache

import strongroom

NAME, VALUE = "db/password", "correct horse battery staple"
CALLS = 20_000


class _Client:
    """Answers as the service does, from memory; asked once, since the cache keeps the answer."""

    class meta:  # noqa: N801  # botocore's own name
        class config:  # noqa: N801  # botocore's own name
            user_agent_extra = ""

    def describe_secret(self, **_: Any) -> dict[str, Any]:
        return {"VersionIdsToStages": {"1": ["AWSCURRENT"]}}

    def get_secret_value(self, **_: Any) -> dict[str, Any]:
        return {"SecretString": VALUE, "VersionId": "1"}


def _settings(**further: Any) -> dict[str, Any]:
    return {"backends": {"memory": {"type": "memory"}}, **further}


def _bare(repeat: int) -> float:
    with strongroom.open(_settings(audit="none")) as manager:
        manager.set(NAME, VALUE)
        return per_call(lambda: manager.get(NAME), number=CALLS, repeat=repeat)


def _revealed(repeat: int) -> float:
    with strongroom.open(_settings(audit="none")) as manager:
        manager.set(NAME, VALUE)
        return per_call(lambda: manager.get(NAME).reveal_text(), number=CALLS, repeat=repeat)


def _audited(repeat: int) -> float:
    """Time the reader alone: rounds are short enough that the buffer is written between them."""
    with tempfile.TemporaryDirectory() as folder:
        sink = {"type": "jsonl", "path": str(Path(folder) / "audit.jsonl"), "max_bytes": "1GiB"}
        with strongroom.open(_settings(audit=[sink])) as manager:
            manager.set(NAME, VALUE)
            rounds = []
            for _ in range(repeat * 3):
                rounds.append(per_call(lambda: manager.get(NAME), number=2000, repeat=1))
                manager.flush()
            return sorted(rounds)[len(rounds) // 2]


def _sustained(repeat: int) -> float:
    """Time reads and the writing of their records together, as in a program that does nothing else."""
    with tempfile.TemporaryDirectory() as folder:
        sink = {"type": "jsonl", "path": str(Path(folder) / "audit.jsonl"), "max_bytes": "1GiB"}
        with strongroom.open(_settings(audit=[sink])) as manager:
            manager.set(NAME, VALUE)
            return per_call(lambda: manager.get(NAME), number=CALLS, repeat=repeat)


def _ttl_cache(repeat: int) -> float:
    cache: TTLCache[str, str] = TTLCache(maxsize=10_000, ttl=300)
    lock = threading.Lock()
    cache[NAME] = VALUE

    def read() -> str:
        with lock:
            return cache[NAME]

    return per_call(read, number=CALLS, repeat=repeat)


def _aws_cache(repeat: int) -> float:
    cache = SecretCache(client=_Client())
    cache.get_secret_string(NAME)
    return per_call(lambda: cache.get_secret_string(NAME), number=CALLS, repeat=repeat)


def main() -> None:
    """Take and print the figures."""
    options = arguments(__doc__)
    reference = _ttl_cache(options.repeat)
    figures = [
        ("cachetools.TTLCache under a lock", reference),
        ("aws-secretsmanager-caching", _aws_cache(options.repeat)),
        ("strongroom, bare", _bare(options.repeat)),
        ("strongroom, bare, with reveal_text()", _revealed(options.repeat)),
        ("strongroom, audited: the read itself", _audited(options.repeat)),
        ("strongroom, audited: read and record, sustained", _sustained(options.repeat)),
    ]
    rows = [(what, value, value / reference) for what, value in figures]
    show("A cached read", rows, "us", as_json=options.json)


if __name__ == "__main__":
    main()

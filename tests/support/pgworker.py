"""A process that rotates one secret, tells the candidates that it makes, and kills itself at a point."""

from __future__ import annotations

import json
import os
import signal
import sys

from collections.abc import Callable
from typing import Any

POINTS = (
    "after generate",
    "before begin",
    "after begin",
    "before apply",
    "before commit",
    "after apply",
    "after verify",
    "before promote",
    "amid promote",
    "after promote",
    "before finish",
    "amid finish",
    "after finish",
)
"""``amid promote``: the secret is written, and its record is not. ``before commit``: the server has the change, but
not for good. ``amid finish``: the record is closed, and older ones are still there."""


def wrapped(owner: Any, name: str, before: Callable[[], None], after: Callable[[Any], None]) -> None:
    """Have something done before and after each call of a method."""
    inner = getattr(owner, name)

    def method(self: Any, *arguments: Any, **named: Any) -> Any:
        before()
        result = inner(self, *arguments, **named)
        after(result)
        return result

    setattr(owner, name, method)


def prepare(point: str) -> None:
    """Put what kills this process where the point is."""
    from strongroom.rotation.records import RecordLedger
    from strongroom_rotate_postgres.rotators import PostgresRotator
    from strongroom_rotate_postgres.server import Administration

    changed: list[bool] = []

    def at(name: str) -> Callable[..., None]:
        return lambda *_: os.kill(os.getpid(), signal.SIGKILL) if name == point else None

    def generated(result: Any) -> None:
        print(result.value.reveal_text(), flush=True)
        at("after generate")()

    def commits() -> None:
        if changed:
            at("before commit")()

    wrapped(PostgresRotator, "generate", at(""), generated)
    wrapped(RecordLedger, "begin", at("before begin"), at("after begin"))
    wrapped(PostgresRotator, "apply", at("before apply"), at("after apply"))
    wrapped(Administration, "set_passwords", at(""), lambda _: changed.append(True))
    wrapped(Administration, "commit", commits, at(""))
    wrapped(PostgresRotator, "verify", at(""), at("after verify"))
    wrapped(RecordLedger, "promote", at("before promote"), at("after promote"))
    wrapped(RecordLedger, "_promoted_version", at(""), at("amid promote"))
    wrapped(RecordLedger, "finish", at("before finish"), at("after finish"))
    wrapped(RecordLedger, "_forget_history", at("amid finish"), at(""))


def main() -> None:
    plan = json.loads(sys.argv[1])
    prepare(plan["point"])
    import strongroom

    with strongroom.open(plan["config"]) as manager:
        manager.rotate(plan["name"])


if __name__ == "__main__":
    main()

"""A process that rotates one certificate, tells the candidate that it makes, and kills itself at a point."""

from __future__ import annotations

import json
import os
import signal
import sys

from typing import Any

from pgworker import wrapped

POINTS = (
    "after generate",
    "before begin",
    "after begin",
    "after apply",
    "before verify",
    "after verify",
    "before promote",
    "amid promote",
    "after promote",
    "before finish",
    "amid finish",
    "after finish",
)
"""``amid promote``: the secret is written, and its record is not. ``amid finish``: the rotator's part of it is done,
and the record is still open."""


def prepare(point: str, rotator: str) -> None:
    """Put what kills this process where the point is.

    Args:
        point: The point.
        rotator: ``tls`` or ``vault-pki``.
    """
    from strongroom.rotation.records import RecordLedger

    if rotator == "tls":
        from strongroom_rotate_tls.rotator import TlsRotator as Chosen
    else:
        from strongroom_vault.pki import PkiRotator as Chosen  # type: ignore[assignment]  # one or the other

    def at(name: str) -> Any:
        return lambda *_: os.kill(os.getpid(), signal.SIGKILL) if name == point else None

    def generated(result: Any) -> None:
        print(json.dumps(result.value.reveal_text()), flush=True)
        at("after generate")()

    wrapped(Chosen, "generate", at(""), generated)
    wrapped(RecordLedger, "begin", at("before begin"), at("after begin"))
    wrapped(Chosen, "apply", at(""), at("after apply"))
    wrapped(Chosen, "verify", at("before verify"), at("after verify"))
    wrapped(RecordLedger, "promote", at("before promote"), at("after promote"))
    wrapped(RecordLedger, "_promoted_version", at(""), at("amid promote"))
    wrapped(Chosen, "finish", at("before finish"), at("amid finish"))
    wrapped(RecordLedger, "finish", at(""), at("after finish"))


def main() -> None:
    plan = json.loads(sys.argv[1])
    prepare(plan["point"], plan["rotator"])
    import strongroom

    with strongroom.open(plan["config"]) as manager:
        manager.rotate(plan["name"])


if __name__ == "__main__":
    main()

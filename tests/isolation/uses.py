"""Uses strongroom in every way, beside a plugin that tries to see how; test_isolation.py runs it in its own process.

python uses.py FOLDER    in which everything is configured; markers come on standard input, by what they are
"""

import contextlib
import gc
import json
import logging
import os
import sys

from collections.abc import Iterator

import strongroom

from strongroom.errors import StrongroomError
from strongroom.model import SecretValue


@contextlib.contextmanager
def fails(code: str) -> Iterator[None]:
    """Go on if what is inside fails as it should."""
    try:
        yield
    except StrongroomError as error:
        came = error.code
    else:
        came = "nothing"
    assert came == code, came


def main(folder: str, markers: dict[str, str]) -> dict[str, object]:
    """Do all of it, and return what else is secret, in hexadecimal."""
    made: list[str] = []
    with strongroom.open(os.path.join(folder, "strongroom.toml")) as manager:
        manager.set("hostile/own", markers["hostile"])
        assert manager.get("hostile/own").reveal_text() == markers["hostile"]
        for name in ("theirs/read", "cloud/read", "vault/read"):
            manager.set(name, markers[name])
        for name in ("theirs/read", "cloud/read", "vault/read"):
            for _ in range(8):
                assert manager.get(name).reveal_text() == markers[name]
            manager.refresh(name)
            manager.versions(name)
            with fails("conflict"):
                manager.set(name, markers[name], expect_version="00000000-0000-4000-8000-000000000000")
            with fails("version_not_found"):
                manager.get(name, version="00000000-0000-4000-8000-000000000000")
        forgery(manager, markers)
        manager.prefetch("theirs/**")
        manager.list("hostile")
        manager.as_principal("rotor").set("own/key", markers["own"])
        manager.as_principal("rotor").rotate("own/key")
        with fails("denied"):
            manager.as_principal("rotor").get("theirs/read")
        manager.set("theirs/rotated", "0")
        manager.rotate("theirs/rotated")
        made.append(manager.get("theirs/rotated").reveal().hex())
        made += keys(manager, markers)
        manager.delete("theirs/rotated")
        manager.delete("vault/read")
        manager.undelete("vault/read")
        with fails("not_found"):
            manager.get("theirs/none")
        with fails("too_large"):
            manager.set("cloud/large", markers["theirs/read"] * (1 << 11))
        logging.getLogger("an.application").debug("something of its own")
        manager.health()
        manager.rotation.schedule()
        outage(manager, markers)
        # A control: what the page on security says that Python cannot prevent.
        found = {one.reveal().decode("latin-1") for one in gc.get_objects() if isinstance(one, SecretValue)}
        held = manager.get("theirs/read").value
        reachable = any(held is one for one in gc.get_referents(manager.get("theirs/read")))
    return {"made": made, "found by the garbage collector": reachable or markers["theirs/read"] in found}


def forgery(manager: strongroom.SecretManager, markers: dict[str, str]) -> None:
    """See that a backend's answers about the secrets of others are worth nothing."""
    names = ["hostile/own", "theirs/read", "cloud/read", "vault/read"]
    manager.invalidate()
    manager.prefetch("hostile/**")
    batch = manager.get_many([*names, "hostile/none"])
    assert {name: batch.found[name].reveal_text() for name in names[1:]} == {name: markers[name] for name in names[1:]}
    end = manager.watch(3600.0, names=names)
    end()
    assert {name: manager.get(name).reveal_text() for name in names[1:]} == {name: markers[name] for name in names[1:]}


def keys(manager: strongroom.SecretManager, markers: dict[str, str]) -> list[str]:
    """Use a named key; return the data key that it made, in hexadecimal."""
    ciphertext = manager.encrypt("orders", markers["plaintext"])
    assert manager.decrypt("orders", ciphertext).reveal_text() == markers["plaintext"]
    manager.verify("orders", markers["message"], manager.sign("orders", markers["message"]))
    return [manager.data_key("orders").plaintext.reveal().hex()]


def outage(manager: strongroom.SecretManager, markers: dict[str, str]) -> None:
    """Write to a backend that is away: it waits in another one."""
    manager.set("away/queued", markers["queued"])
    assert manager.get("away/queued").reveal_text() == markers["queued"]
    with contextlib.suppress(StrongroomError):
        manager.journal.replay()


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], json.load(sys.stdin))))

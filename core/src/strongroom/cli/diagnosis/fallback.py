"""Checks of what is set up for an outage: the fallback store, what waits in it, and whether anything can."""

from __future__ import annotations

import time

from collections.abc import Iterator
from typing import Final

from strongroom._spoken import spoken
from strongroom.cli.diagnosis.finding import Finding, Place, from_error, ok, problem, warning
from strongroom.cli.parts import Part, opened_parts
from strongroom.cli.standby import Standby, is_used, look, opened_store
from strongroom.config.load import Configuration
from strongroom.contracts.journal import Journal
from strongroom.discovery import Kind
from strongroom.errors import ConfigurationError, StrongroomError
from strongroom.resilience.guarded import GuardedBackend

FULL: Final = 0.9
"""Beyond which part of what it may hold the journal is warned of."""
OLD: Final = 0.5
"""Beyond which part of the time that it may take an entry that waits is warned of."""
WITHOUT_EFFECT: Final = frozenset({"keep_copy", "queue_writes", "copy_max_age", "journal_entries", "journal_bytes"})
"""What means nothing without a fallback store."""


def check_fallback(place: Place) -> Iterator[Finding]:
    """Say whether what is configured for an outage can work, and what waits for a person to decide about."""
    configuration = place.configuration
    if configuration is None:
        return
    if configuration.resilience.fallback is None:
        yield from _without(configuration)
        return
    with opened_parts(configuration, kinds=(Kind.BACKEND,)) as parts:
        yield from _with(configuration, parts)


def _without(configuration: Configuration) -> Iterator[Finding]:
    settings = [
        origin.setting
        for origin in configuration.origins
        if origin.section == "resilience" and origin.key in WITHOUT_EFFECT and origin.value is not False
    ]
    for pattern, own in (configuration.resilience.keys.names or {}).items():
        given = {"keep_copy": own.keep_copy, "queue_writes": own.queue_writes}
        settings += [f'resilience.names."{pattern}".{key}' for key, value in given.items() if value]
    for setting in settings:
        yield warning(
            f"{setting} has no effect without a fallback store",
            'name one at the top of the file, such as fallback = "local", or leave the setting out',
        )
    if not settings:
        yield ok("no fallback store is configured, and nothing that would need one")


def _with(configuration: Configuration, parts: list[Part]) -> Iterator[Finding]:
    rules = configuration.resilience
    (store,) = [part for part in parts if part.name == rules.fallback]
    others = [part for part in parts if part is not store]
    if not isinstance(store.opened, GuardedBackend):
        return  # the check of backends tells why
    if not store.opened.offers(Journal):
        yield problem(
            f"fallback names {store.name} (type {store.opened.type}), which keeps no copies and no journal",
            'name a backend that does, such as one of type = "local"',
            ConfigurationError.exit_status,
        )
        return
    if store.opened.type == "memory":
        what = f"fallback names {store.name} (type memory): what it has accepted is lost when the process ends"
        yield warning(what, 'name a backend of type = "local"')
    if not others:
        yield warning(f"fallback names {store.name}, and there is no other backend", "leave `fallback` out")
    if not is_used(rules):
        mend = "set keep_copy or queue_writes under [resilience], or leave `fallback` out"
        yield warning("the fallback store is never used: nothing is copied and no write is accepted", mend)
    for part in others:
        yield from _target(part)
    standby = look(configuration, parts, time.time())
    if standby is not None:
        yield from _journal(configuration, standby, parts)


def _target(part: Part) -> Iterator[Finding]:
    """Say of which backend nothing can be kept before it has answered, as nobody knows whose secrets they are."""
    if isinstance(part.opened, GuardedBackend) and part.opened.target() is None:
        yield warning(
            f"whose secrets {part.name} leads to is not known before it has answered: until then an outage finds no "
            "copy, and no write is accepted",
            f"name the account in [backends.{part.name}]",
        )


def _journal(configuration: Configuration, standby: Standby, parts: list[Part]) -> Iterator[Finding]:
    keys, label = configuration.resilience.keys, f"the journal of {standby.backend}"
    if standby.problem:
        yield problem(f"{label} cannot be read: {standby.problem}", "see the state of that backend")
        return
    found = []
    if standby.set_aside:
        mend = "see `strongroom journal list`, then resolve or drop each"
        found.append(warning(f"{label} has {standby.set_aside} entries that are set aside", mend))
    if standby.oldest is not None and standby.oldest > OLD * keys.journal_max_age:
        what = f"{label} has an entry that has waited for {spoken(standby.oldest)}"
        found.append(warning(what, f"have it made before it is set aside, at {spoken(keys.journal_max_age)}"))
    count = standby.waiting + standby.set_aside
    if count > FULL * keys.journal_entries or standby.size > FULL * keys.journal_bytes:
        full = count >= keys.journal_entries or standby.size >= keys.journal_bytes
        what = f"{label} is {'full' if full else 'nearly full'}: {count} entries, {standby.size} bytes"
        found.append(warning(what, "mend the backend, resolve what is set aside, or raise journal_entries"))
    try:
        strays = _strays(configuration, standby, parts) if standby.waiting else 0
    except StrongroomError as error:
        yield from_error(error)
        return
    if strays > 0:
        what = f"{strays} entries of {label} wait for a backend, address or account that is not configured here"
        found.append(warning(what, "see `strongroom journal list`: configure it again, or drop them"))
    yield from found
    if not found:
        yield ok(f"{label} has {standby.waiting} entries that wait, and none set aside")


def _strays(configuration: Configuration, standby: Standby, parts: list[Part]) -> int:
    """Count what waits and is bound to something that no configured backend stands for."""
    store = opened_store(configuration, parts)
    others = {part.name: part.opened for part in parts if part.name != standby.backend}
    targets = {name: one.target() if isinstance(one, GuardedBackend) else None for name, one in others.items()}
    # Without a target all that waits for the backend counts as its own: it may turn out to be.
    return standby.waiting - sum(store.status(name, target).waiting for name, target in targets.items())

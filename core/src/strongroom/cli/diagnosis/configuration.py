"""Checks of the configuration: that it loads, fits its plugins and holds no secret itself."""

from __future__ import annotations

import os

from collections.abc import Iterator

from strongroom.cli.diagnosis.finding import Finding, Place, from_error, ok, problem, warning
from strongroom.cli.settings import plugin_tables, setting_problems, shown_origin
from strongroom.config import files
from strongroom.config.convert import suggestion
from strongroom.config.merge import SCALARS, TABLES
from strongroom.config.references import variables_in
from strongroom.config.shown import hides
from strongroom.contracts import BackendSpec
from strongroom.discovery import OFF_SWITCH, Kind
from strongroom.errors import ConfigurationError, StrongroomError


def check_configuration(place: Place) -> Iterator[Finding]:
    """Say whether the configuration was found and loads."""
    if place.trouble is not None:
        yield from_error(place.trouble)
    elif place.configuration is not None:
        yield ok(f"{place.configuration.source} is in force")


def check_settings(place: Place) -> Iterator[Finding]:
    """Say which plugins' settings are not usable."""
    if place.configuration is None:
        return
    problems = list(setting_problems(place.configuration, place.catalogue))
    yield from map(from_error, problems)
    if not problems:
        count = len(plugin_tables(place.configuration))
        yield ok(f"the settings of all {count} configured parts are usable")


def check_literals(place: Place) -> Iterator[Finding]:
    """Say which secrets stand in the configuration itself."""
    if place.configuration is None:
        return
    found = False
    for origin in place.configuration.origins:
        if not hides(shown_origin(origin, place.catalogue, guess=False)):
            continue
        found = True
        what = f"{origin.setting} in {origin.source} holds the secret itself"
        mend = 'put it into a private file or a variable, and refer to that: {file = "..."} or {env = "..."}'
        if _is_readable_by_others(origin.source):
            yield problem(f"{what}, and others can read that file", mend, ConfigurationError.exit_status)
        else:
            yield warning(what, mend)
    if not found:
        yield ok("no secret stands in the configuration itself")


def _is_readable_by_others(path: str) -> bool:
    try:
        return bool(os.stat(path).st_mode & 0o044)
    except OSError:
        return False  # it came from a variable, not from a file


def check_variables(place: Place) -> Iterator[Finding]:
    """Say which variables that begin as ours do have no meaning."""
    known = {files.VARIABLE, OFF_SWITCH, *_credential_variables(place), *_referenced_variables(place)}
    sections = [f"STRONGROOM_{table.upper()}__" for table in TABLES]
    singles = {f"STRONGROOM_{name.upper()}" for name in (SCALARS - {"locked"}) | {"audit"}}
    unknown = [
        variable
        for variable in sorted(os.environ)
        if variable.startswith("STRONGROOM_")
        and variable not in known | singles
        and not (variable.startswith(tuple(sections)) and variable == variable.upper())
    ]
    for variable in unknown:
        section, step, rest = variable.partition("__")
        candidates = [f"{name}{rest.upper()}" for name in sections] if step else sorted(known | singles)
        hint = suggestion(f"{section}{step}{rest}".upper(), candidates)
        yield warning(f"the variable {variable} is not a setting and is ignored", f"unset it, or correct it: {hint}")
    if not unknown:
        yield ok("every STRONGROOM_ variable is known")


def _credential_variables(place: Place) -> set[str]:
    """Return the variables that backends read by themselves, whether configured or not."""
    found: set[str] = set()
    for point in place.catalogue.points:
        if point.kind is Kind.BACKEND:
            try:
                spec: BackendSpec = place.catalogue.load(point.kind, point.name)
            except StrongroomError:
                continue  # another check tells
            found.update(spec.credential_variables)
    return found


def _referenced_variables(place: Place) -> set[str]:
    layers = place.configuration.layers if place.configuration else ()
    return {variable for layer in layers for variable in variables_in(layer.content)}

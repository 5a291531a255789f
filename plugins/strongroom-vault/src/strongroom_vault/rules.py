"""Which settings go together."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from strongroom.contracts import malformed
from strongroom_vault.paths import is_path
from strongroom_vault.settings import (
    DETECT,
    FORMATS,
    METHODS,
    AuthSettings,
    PkiSettings,
    ServerSettings,
    VaultSettings,
)
from strongroom_vault.target import address_problem, proxy_problem

_OF_METHOD: Final = {
    "token": {"token", "renew"},
    "approle": {"role_id", "secret_id", "wrapped"},
    "userpass": {"username", "password"},
    "jwt": {"role", "jwt"},
    "kubernetes": {"role", "jwt"},
    "cert": {"role"},
    "aws": {"role", "header", "region", "sts_endpoint"},
}
_NEEDED: Final = {
    "approle": ("role_id",),
    "userpass": ("username", "password"),
    "jwt": ("jwt",),
    "kubernetes": ("role",),
}
_COMMON: Final = {"method", "mount", "namespace", "revoke"}


def auth_problems(auth: AuthSettings) -> list[str]:
    """Return what is wrong with how to log in."""
    if auth.method not in METHODS:
        return [f"method must be one of {', '.join(METHODS)}"]
    given = {name for name, value in auth.as_dict().items() if value not in (None, False)} - _COMMON
    foreign = sorted(given - _OF_METHOD[auth.method])
    needed = _NEEDED.get(auth.method, ()) + (("secret_id",) if auth.method == "approle" and auth.wrapped else ())
    missing = [name for name in needed if name not in given]
    return [f"{name} has no meaning for method {auth.method!r}" for name in foreign] + [
        f"method {auth.method!r} needs {name}" for name in missing
    ]


def server_problems(settings: ServerSettings) -> list[str]:
    """Return what is wrong with where a server is, and how it is to be reached."""
    addresses = (settings.address,) if isinstance(settings.address, str) else settings.address or ()
    rules = [
        (not settings.proxy or not proxy_problem(settings.proxy), f"proxy {proxy_problem(settings.proxy or '')}"),
        (settings.reads in ("any", "active"), 'reads must be "any" or "active"'),
        (settings.attempts is None or 1 <= settings.attempts <= 100, "attempts must be from 1 to 100"),
        (settings.connections >= 1, "connections must be at least 1"),
        (settings.timeout is None or settings.timeout > 0, "timeout must be more than 0 s"),
        (settings.connect_timeout > 0, "connect_timeout must be more than 0 s"),
        (settings.rate_limit is None or settings.rate_limit > 0, "rate_limit must be more than 0"),
    ]
    found = [problem for holds, problem in rules if not holds]
    return found + [f"address {problem}" for problem in map(address_problem, addresses) if problem]


def problems(settings: VaultSettings) -> list[str]:
    """Return what is wrong with the settings of a backend."""
    patterns = (*settings.fields, *settings.dynamic, *settings.parameters)
    rules = [
        (bool(settings.mount.strip("/")), "mount must not be empty"),
        (bool(settings.transit.strip("/")), "transit must not be empty"),
        (settings.kv_version in (1, 2, DETECT), f'kv_version must be 1, 2 or "{DETECT}"'),
        (bool(settings.value_key), "value_key must not be empty"),
    ]
    found = [problem for holds, problem in rules if not holds]
    paths = (("mount", settings.mount), ("prefix", settings.prefix), ("transit", settings.transit))
    return server_problems(settings) + found + _path_problems(paths) + malformed(patterns)


def pki_problems(settings: PkiSettings) -> list[str]:
    """Return what is wrong with the settings of the rotator for certificates."""
    rules = [
        (bool(settings.mount.strip("/")), "mount must not be empty"),
        (bool(settings.role) and "/" not in settings.role, "role must be one word, without a slash"),
        (
            bool(settings.common_name or settings.alt_names or settings.ip_sans),
            "common_name, alt_names or ip_sans is needed",
        ),
        (
            not any("," in name for name in (*settings.alt_names, *settings.ip_sans)),
            "alt_names and ip_sans are lists, one name an entry",
        ),
        (settings.ttl is None or settings.ttl >= 1, "ttl must be at least 1 s"),
        (settings.format in FORMATS, f"format must be one of {', '.join(FORMATS)}"),
    ]
    found = [problem for holds, problem in rules if not holds]
    return server_problems(settings) + found + _path_problems([("mount", settings.mount), ("role", settings.role)])


def _path_problems(paths: Iterable[tuple[str, str]]) -> list[str]:
    return [f"{what} must be segments joined by single slashes" for what, path in paths if not is_path(path)]

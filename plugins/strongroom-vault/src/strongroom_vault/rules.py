"""Which settings go together."""

from __future__ import annotations

from typing import Final

from strongroom.contracts import malformed
from strongroom_vault.paths import is_path
from strongroom_vault.settings import DETECT, METHODS, AuthSettings, VaultSettings
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


def problems(settings: VaultSettings) -> list[str]:
    """Return what is wrong with the settings of a backend."""
    addresses = (settings.address,) if isinstance(settings.address, str) else settings.address or ()
    patterns = (*settings.fields, *settings.dynamic, *settings.parameters)
    rules = [
        (not settings.proxy or not proxy_problem(settings.proxy), f"proxy {proxy_problem(settings.proxy or '')}"),
        (bool(settings.mount.strip("/")), "mount must not be empty"),
        (bool(settings.transit.strip("/")), "transit must not be empty"),
        (settings.kv_version in (1, 2, DETECT), f'kv_version must be 1, 2 or "{DETECT}"'),
        (bool(settings.value_key), "value_key must not be empty"),
        (settings.reads in ("any", "active"), 'reads must be "any" or "active"'),
        (settings.attempts is None or 1 <= settings.attempts <= 100, "attempts must be from 1 to 100"),
        (settings.connections >= 1, "connections must be at least 1"),
        (settings.timeout is None or settings.timeout > 0, "timeout must be more than 0 s"),
        (settings.connect_timeout > 0, "connect_timeout must be more than 0 s"),
        (settings.rate_limit is None or settings.rate_limit > 0, "rate_limit must be more than 0"),
    ]
    found = [problem for holds, problem in rules if not holds]
    paths = (("mount", settings.mount), ("prefix", settings.prefix), ("transit", settings.transit))
    found += [f"{what} must be segments joined by single slashes" for what, path in paths if not is_path(path)]
    found += [f"address {problem}" for problem in map(address_problem, addresses) if problem]
    return found + malformed(patterns)

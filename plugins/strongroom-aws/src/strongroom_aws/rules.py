"""Which settings go together."""

from __future__ import annotations

import re

from typing import Final
from urllib.parse import urlsplit

from strongroom.contracts import malformed
from strongroom_aws.names import is_full_arn, is_spelled
from strongroom_aws.settings import MAX_NAME_LENGTH, AwsSettings, RotationSettings

_DAY: Final = 86_400.0
_HOUR: Final = 3_600.0
_REGION: Final = re.compile(r"[a-z]{2,}(-[a-z0-9]+)+-[0-9]+")
_ACCOUNT: Final = re.compile(r"[0-9]{12}")
_ROLE: Final = re.compile(r"arn:aws[a-z-]*:iam::(?P<account>[0-9]{12}):role/[\x21-\x7e]+")
_SESSION_NAME: Final = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)
_EXTERNAL_ID: Final = re.compile(r"[\w+=,.@:/-]{2,1224}", re.ASCII)
_URL: Final = re.compile(r"https?://[^\s/?#@\\\x00-\x20]+(/[\x21-\x22\x24-\x3e\x40-\x7e]*)?")
_EXPRESSION: Final = re.compile(r"(rate|cron)\([^()]+\)")


def problems(settings: AwsSettings) -> list[str]:
    """Return what is wrong with the settings of a backend."""
    return [
        *_credentials(settings),
        *_places(settings),
        *_limits(settings),
        *_naming(settings),
        *_rotation(settings.rotation, enabled=bool(settings.rotation_enabled)),
    ]


def is_region(text: str) -> bool:
    """Tell whether a text could be a region's name."""
    return _REGION.fullmatch(text) is not None


def is_url(text: str) -> bool:
    """Tell whether a text is a URL that an endpoint can have: of HTTP or HTTPS, without a user or a query."""
    if _URL.fullmatch(text) is None:
        return False
    try:
        parts = urlsplit(text)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        # An address in brackets that is none, or a port that is no number.
        return False


def _broken(rules: list[tuple[bool, str]]) -> list[str]:
    return [problem for holds, problem in rules if not holds]


def _credentials(settings: AwsSettings) -> list[str]:
    key, secret = settings.access_key_id is not None, settings.secret_access_key is not None
    web = settings.web_identity_token_file is not None
    role = settings.role_arn is not None
    return _broken(
        [
            (key == secret, "access_key_id and secret_access_key go together"),
            (settings.session_token is None or key, "session_token needs access_key_id"),
            (settings.profile != "", "profile must not be empty"),
            (not key or settings.profile is None, "access_key_id and profile exclude each other"),
            (not web or role, "web_identity_token_file needs role_arn"),
            (not web or not key, "web_identity_token_file and access_key_id exclude each other"),
            (
                settings.external_id is None or (role and not web),
                "external_id needs role_arn, without a web identity",
            ),
            (
                settings.external_id is None or bool(_EXTERNAL_ID.fullmatch(settings.external_id)),
                "external_id must be 2 to 1224 letters, digits and _+=,.@:/-",
            ),
            (settings.session_name is None or role, "session_name needs role_arn"),
            (settings.session_duration is None or role, "session_duration needs role_arn"),
            (
                settings.session_name is None or bool(_SESSION_NAME.fullmatch(settings.session_name)),
                "session_name must be 2 to 64 letters, digits and _+=,.@-",
            ),
            (
                settings.session_duration is None or 900 <= settings.session_duration <= 43_200,
                "session_duration must be from 15m to 12h",
            ),
            (settings.account is None or bool(_ACCOUNT.fullmatch(settings.account)), "account must be twelve digits"),
            *_role(settings),
        ]
    )


def _role(settings: AwsSettings) -> list[tuple[bool, str]]:
    if settings.role_arn is None:
        return []
    role = _ROLE.fullmatch(settings.role_arn)
    return [
        (role is not None, "role_arn must be a role's ARN, such as arn:aws:iam::123456789012:role/name"),
        (
            role is None or settings.account in (None, role["account"]),
            "role_arn must be a role of the account that `account` names",
        ),
    ]


def _places(settings: AwsSettings) -> list[str]:
    found = []
    for what, regions in (
        ("region", (settings.region,) if settings.region is not None else ()),
        ("replicate", settings.replicate),
        ("replicas", settings.replicas or ()),
        ("replica_endpoints", tuple(settings.replica_endpoints)),
    ):
        found += [f"{what} has {region!r}, which is no region" for region in regions if not is_region(region)]
    for what, regions in (("replicate", settings.replicate), ("replicas", settings.replicas or ())):
        if settings.region in regions:
            found.append(f"{what} must not have the region itself")
        if len(set(regions)) < len(regions):
            found.append(f"{what} has a region twice")
    read_from = settings.replicate if settings.replicas is None else settings.replicas
    found += [
        f"replica_endpoints has {region}, which is none of the replicas: name it under replicas as well"
        for region in settings.replica_endpoints
        if is_region(region) and region not in read_from
    ]
    urls = {"endpoint": settings.endpoint, "sts_endpoint": settings.sts_endpoint}
    urls |= {f"replica_endpoints, {region}": url for region, url in settings.replica_endpoints.items()}
    found += [
        f"{what} must be a URL with http:// or https://, and without a user"
        for what, url in urls.items()
        if url is not None and not is_url(url)
    ]
    return found + _broken(
        [
            (
                not wanted or not (settings.endpoint or settings.replica_endpoints),
                f"{kind} excludes endpoint and replica_endpoints: name some of that kind there",
            )
            for kind, wanted in (("fips", settings.fips), ("dual_stack", settings.dual_stack))
        ]
    )


def _limits(settings: AwsSettings) -> list[str]:
    window = settings.recovery_window
    rates = settings.rates.as_dict().values()
    return _broken(
        [
            (
                window == 0 or _days(window, 7, 30),
                "recovery_window must be 0, or whole days from 7d to 30d",
            ),
            (settings.on_deleted in ("refuse", "restore"), 'on_deleted must be "refuse" or "restore"'),
            (1 <= settings.attempts <= 100, "attempts must be from 1 to 100"),
            (settings.connections >= 1, "connections must be at least 1"),
            (min(settings.connect_timeout, settings.read_timeout) > 0, "time limits must be more than 0 s"),
            (
                settings.connect_timeout + settings.read_timeout <= settings.timeout,
                "timeout must be at least connect_timeout and read_timeout together",
            ),
            (all(rate > 0 for rate in rates), "rates must be more than 0"),
            (len(settings.tags) <= 50, "a secret has at most 50 tags"),
        ]
    )


def _naming(settings: AwsSettings) -> list[str]:
    found = malformed((*settings.rotation_enabled, *settings.arns))
    if settings.prefix and not (is_spelled(settings.prefix) and len(settings.prefix) < MAX_NAME_LENGTH):
        found.append("prefix may have letters, digits and /_+=.@- only")
    found += [
        f"arns, {name}: expected a secret's full ARN" for name, arn in settings.arns.items() if not is_full_arn(arn)
    ]
    return found


def _rotation(rotation: RotationSettings, *, enabled: bool) -> list[str]:
    every, window = rotation.every, rotation.window
    given = any(value is not None for value in rotation.as_dict().values())
    return _broken(
        [
            (enabled or not given, "rotation needs rotation_enabled"),
            (every is None or rotation.schedule is None, "rotation: every and schedule exclude each other"),
            (
                rotation.lambda_arn is None or bool(every or rotation.schedule),
                "lambda_arn needs every or schedule",
            ),
            (every is None or _whole(every), "rotation: every must be whole days (1 to 1000) or whole hours (4 to 23)"),
            (
                rotation.schedule is None or bool(_EXPRESSION.fullmatch(rotation.schedule)),
                "rotation: schedule must be rate(...) or cron(...)",
            ),
            (
                window is None or (window % _HOUR == 0 and 1 <= window / _HOUR <= 24),
                "rotation: window must be whole hours from 1 to 24",
            ),
        ]
    )


def _days(seconds: float, least: int, most: int) -> bool:
    return seconds % _DAY == 0 and least <= seconds / _DAY <= most


def _whole(every: float) -> bool:
    return _days(every, 1, 1000) or (every % _HOUR == 0 and 4 <= every / _HOUR <= 23)

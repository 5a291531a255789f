"""Where the service is: the region, and the URL that is asked."""

from __future__ import annotations

import hashlib
import ipaddress
import os

from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import urlsplit

from strongroom.contracts import Record
from strongroom.errors import ConfigurationError
from strongroom_aws.rules import is_region, is_url
from strongroom_aws.settings import AwsSettings

_REGION_VARIABLES: Final = ("AWS_REGION", "AWS_DEFAULT_REGION")
_ENDPOINT_VARIABLES: Final = ("AWS_ENDPOINT_URL_SECRETS_MANAGER", "AWS_ENDPOINT_URL")
_STS_VARIABLES: Final = ("AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL")


class Place(Record):
    """Where secrets are kept, and where they are read if that has an outage."""

    region: str
    said_by: str
    """Where the region comes from, such as ``AWS_REGION``."""
    endpoint: str | None
    """The URL from the settings; one from a variable is botocore's to find."""
    sts_endpoint: str | None
    """The URL of STS; ``None`` if it is botocore's to find."""
    is_local: bool | None
    """Whether what is asked is on this machine, where no machine's own role is to be looked for; ``None`` if neither
    the settings nor a variable names an endpoint."""
    url: str | None = None
    """The URL of the service that the settings or a variable name; ``None`` if neither does."""
    named_by: str | None = None
    """What names an endpoint, that of STS included, such as ``AWS_ENDPOINT_URL``; ``None`` if nothing does."""
    replicas: tuple[str, ...] = ()

    def endpoint_of(self, settings: AwsSettings, region: str) -> str | None:
        """Return the URL that the settings give for a region; ``None`` for the usual one."""
        return self.endpoint if region == self.region else settings.replica_endpoints.get(region, self.endpoint)


def _region_of_profile(settings: AwsSettings) -> str | None:
    from strongroom_aws.profiles import region_of  # loads botocore, and is seldom needed

    return region_of(settings)


def resolve(
    settings: AwsSettings,
    environment: Mapping[str, str] = os.environ,
    profile_region: Callable[[AwsSettings], str | None] = _region_of_profile,
) -> Place:
    """Find out where the service is; nothing is sent.

    Args:
        settings: The backend's settings.
        environment: The variables to look in.
        profile_region: Returns the region of the profile, which counts if nothing else names one.

    Raises:
        ConfigurationError: Nothing says which region, or what is said contradicts itself.
    """
    region, said_by = _region(settings, environment, profile_region)
    if not is_region(region):
        raise ConfigurationError(
            f"{region!r}, from {said_by}, is no AWS region", hint="name one such as eu-central-1, in lower case"
        )
    variable = _first(environment, _ENDPOINT_VARIABLES)
    endpoint = settings.endpoint or (environment[variable] if variable else None)
    sts_variable = _first(environment, _STS_VARIABLES) if settings.sts_endpoint is None else None
    for name in (None if settings.endpoint else variable, sts_variable):
        if name is not None:
            check_url(environment[name], name)
    check_kinds_of_settings(settings, variable or sts_variable)
    replicas = settings.replicate if settings.replicas is None else settings.replicas
    if region in (*replicas, *settings.replicate):
        raise ConfigurationError(
            f"the region {region}, from {said_by}, is among its own replicas",
            hint="leave it out there, or set `region`",
        )
    return Place(
        region=region,
        said_by=said_by,
        endpoint=settings.endpoint,
        sts_endpoint=_sts_endpoint(settings, environment),
        is_local=is_loopback(endpoint) if endpoint is not None else None,
        url=endpoint,
        named_by=_named_by(settings, variable or sts_variable),
        replicas=replicas,
    )


def _region(
    settings: AwsSettings, environment: Mapping[str, str], profile_region: Callable[[AwsSettings], str | None]
) -> tuple[str, str]:
    if settings.region is not None:
        return settings.region, "the settings"
    named = [name for name in _REGION_VARIABLES if environment.get(name)]
    if named:
        region, *others = [environment[name] for name in named]
        return region, named[0] + "".join(f" (AWS_DEFAULT_REGION says {other})" for other in others if other != region)
    found = profile_region(settings)
    if found:
        return found, "the profile"
    raise ConfigurationError(
        "nothing says which AWS region the secrets are in",
        hint="set `region` under the backend's table, or AWS_REGION, AWS_DEFAULT_REGION, or the profile's;"
        " an emulator needs one, too",
    )


def _named_by(settings: AwsSettings, variable: str | None) -> str | None:
    if settings.endpoint is not None:
        return "`endpoint`"
    return "`replica_endpoints`" if settings.replica_endpoints else variable


def check_url(url: str, origin: str) -> None:
    """Look whether an endpoint is a URL that can be asked. It may have a password in it, so none is shown.

    Raises:
        ConfigurationError: It is none.
    """
    if not is_url(url):
        raise ConfigurationError(
            f"the endpoint that {origin} names is no URL with http:// or https://, a host and no user",
            hint="write it as in https://vpce.example.com, or http://127.0.0.1:4566",
        )


def _first(environment: Mapping[str, str], variables: tuple[str, ...]) -> str | None:
    """Return the first of some variables for endpoints that counts."""
    if environment.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true":
        return None
    return next((name for name in variables if environment.get(name)), None)


def check_kinds_of_settings(settings: AwsSettings, origin: str | None) -> None:
    """Look whether a kind of endpoint is demanded that botocore would silently not use.

    Args:
        settings: The backend's settings.
        origin: What names an endpoint, such as a variable; ``None`` if nothing does.

    Raises:
        ConfigurationError: It is so.
    """
    for kind, demanded in (("fips", settings.fips), ("dual_stack", settings.dual_stack)):
        if demanded and origin is not None:
            raise ConfigurationError(
                f"`{kind}` is set, and {origin} names an endpoint, which would be used instead",
                hint=f"name none there, or leave `{kind}` out and name one of that kind",
            )


def check_kinds_of_variables(kinds: set[str], origin: str | None) -> None:
    """Look whether kinds of endpoint that variables or the profile demand would silently not be used.

    Args:
        kinds: The settings that would say so: ``fips``, ``dual_stack``.
        origin: What names an endpoint; ``None`` if nothing does.

    Raises:
        ConfigurationError: It is so.
    """
    for kind in sorted(kinds) if origin is not None else ():
        variable = {"fips": "AWS_USE_FIPS_ENDPOINT", "dual_stack": "AWS_USE_DUALSTACK_ENDPOINT"}[kind]
        raise ConfigurationError(
            f"{variable}, or the profile, asks for an endpoint of its kind, and {origin} names one that would be used"
            " instead",
            hint=f"set `{kind} = false` if that one is right, or name none",
        )


def _sts_endpoint(settings: AwsSettings, environment: Mapping[str, str]) -> str | None:
    if settings.sts_endpoint is not None:
        return settings.sts_endpoint
    if _first(environment, _STS_VARIABLES) is None and settings.endpoint is not None:
        # An emulator is all of AWS: from this machine, nothing goes to the real one.
        return settings.endpoint if is_loopback(settings.endpoint) else None
    return None


def is_loopback(url: str) -> bool:
    """Tell whether a URL is that of this machine."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def owner(settings: AwsSettings) -> str | None:
    """Return the digits of the account that the settings name, or whose role they do."""
    role_account = settings.role_arn.split(":")[4] if settings.role_arn else None
    return settings.account or role_account or None


def address(settings: AwsSettings, place: Place) -> str:
    """Return what tells the secrets of this backend from those of another."""
    return _joined(settings, place, owner(settings) or settings.profile or "", place.endpoint)


def target(settings: AwsSettings, place: Place, account: str) -> str:
    """Return what tells the secrets of this backend from those of another, whatever the credentials are.

    Args:
        settings: The backend's settings.
        place: Where the service is.
        account: The digits of the account that the credentials are of.
    """
    where = _joined(settings, place, account, place.url)
    if not settings.arns:
        return where
    # Names that stand for other secrets than before must not get what waits for those.
    aliases = "".join(f"{name}\0{arn}\0" for name, arn in sorted(settings.arns.items()))
    return f"{where}:{hashlib.sha256(aliases.encode()).hexdigest()[:32]}"


def _joined(settings: AwsSettings, place: Place, whose: str, url: str | None) -> str:
    parts = urlsplit(url or "")
    endpoint = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    return ":".join(["aws", place.region, whose, endpoint.replace(":", "%3A"), settings.prefix])

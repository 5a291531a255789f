"""Where the service is: the region, and the URL that is asked."""

from __future__ import annotations

import ipaddress
import os

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from strongroom.contracts import Record
from strongroom.errors import ConfigurationError
from strongroom_aws.settings import AwsSettings

_REGION_VARIABLES: Final = ("AWS_REGION", "AWS_DEFAULT_REGION")
_ENDPOINT_VARIABLES: Final = ("AWS_ENDPOINT_URL_SECRETS_MANAGER", "AWS_ENDPOINT_URL")


class Place(Record):
    """Where secrets are kept, and where they are read if that has an outage."""

    region: str
    said_by: str
    """Where the region comes from, such as ``AWS_REGION``."""
    endpoint: str | None
    """The URL from the settings; one from a variable is botocore's to find."""
    is_local: bool
    """Whether what is asked is on this machine, where no machine's own role is to be looked for."""
    replicas: tuple[str, ...] = ()

    def endpoint_of(self, settings: AwsSettings, region: str) -> str | None:
        """Return the URL that the settings give for a region; ``None`` for the usual one."""
        return self.endpoint if region == self.region else settings.replica_endpoints.get(region, self.endpoint)


def resolve(
    settings: AwsSettings, environment: Mapping[str, str] = os.environ, profile_region: str | None = None
) -> Place:
    """Find out where the service is; nothing is sent.

    Args:
        settings: The backend's settings.
        environment: The variables to look in.
        profile_region: The region of the profile, which counts if nothing else names one.

    Raises:
        ConfigurationError: Nothing says which region.
    """
    region, said_by = _region(settings, environment, profile_region)
    endpoint = settings.endpoint or _endpoint_variable(environment)
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
        is_local=endpoint is not None and is_loopback(endpoint),
        replicas=replicas,
    )


def _region(settings: AwsSettings, environment: Mapping[str, str], profile_region: str | None) -> tuple[str, str]:
    if settings.region is not None:
        return settings.region, "the settings"
    for variable in _REGION_VARIABLES:
        if environment.get(variable):
            return environment[variable], variable
    if profile_region:
        return profile_region, "the profile"
    raise ConfigurationError(
        "nothing says which AWS region the secrets are in",
        hint="set `region` under the backend's table, or AWS_REGION; an emulator needs one, too",
    )


def _endpoint_variable(environment: Mapping[str, str]) -> str | None:
    if environment.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true":
        return None
    return next((environment[name] for name in _ENDPOINT_VARIABLES if environment.get(name)), None)


def is_loopback(url: str) -> bool:
    """Tell whether a URL is that of this machine."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def address(settings: AwsSettings, place: Place) -> str:
    """Return what tells the secrets of this backend from those of another."""
    role_account = settings.role_arn.split(":")[4] if settings.role_arn else None
    owner = settings.account or role_account or settings.profile or ""
    parts = urlsplit(place.endpoint or "")
    endpoint = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    return ":".join(["aws", place.region, owner, endpoint.replace(":", "%3A"), settings.prefix])

"""What the profile in the AWS configuration files says of the place, where nothing else does."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import BotoCoreError
from botocore.session import Session

from strongroom_aws.outcomes import unusable
from strongroom_aws.settings import AwsSettings


def region_of(settings: AwsSettings) -> str | None:
    """Return the profile's region; ``None`` if it has none.

    Args:
        settings: The backend's settings, which may name the profile.

    Raises:
        ConfigurationError: There is no such profile, or the files cannot be read.
    """
    problem = ""
    try:
        region = Session(profile=settings.profile).get_scoped_config().get("region")
    except (BotoCoreError, OSError) as error:
        problem = f"{error}"  # these speak of profiles and files
    if problem:
        raise unusable(problem)
    return region if isinstance(region, str) else None


def endpoint_of(session: Session) -> str | None:
    """Return the URL of the service that the profile gives, which counts if nothing else gives one."""
    if session.get_config_variable("ignore_configured_endpoint_urls"):
        return None
    profile: dict[str, Any] = session.get_scoped_config()
    services: dict[str, Any] = session.full_config.get("services", {})
    own = services.get(profile.get("services", ""), {}).get("secrets_manager", {})
    url = own.get("endpoint_url") if isinstance(own, dict) else None
    return url or profile.get("endpoint_url")

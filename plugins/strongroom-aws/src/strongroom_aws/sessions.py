"""Sessions of botocore: with which credentials the service is asked, and the clients that ask it."""

from __future__ import annotations

# Loaded when a name is first looked up, if it is not there by then; a process that is forked by another thread amidst
# would wait for that for ever.
import encodings.idna  # noqa: F401  # see above
import os

from typing import Any, Final

import boto3

from botocore.config import Config
from botocore.credentials import CredentialProvider, CredentialResolver, Credentials
from botocore.loaders import Loader
from botocore.session import Session

from strongroom.contracts import KeySource
from strongroom.errors import ConfigurationError
from strongroom_aws import profiles
from strongroom_aws.chain import default_chain
from strongroom_aws.dripping import bounded
from strongroom_aws.identity import check_renewed
from strongroom_aws.lasting import LastingProvider
from strongroom_aws.place import Place, check_kinds_of_settings, check_kinds_of_variables, check_url, is_loopback
from strongroom_aws.roles import RoleProvider
from strongroom_aws.settings import AwsSettings


class _Loader(Loader):  # type: ignore[misc]  # botocore has no types
    """Loads the descriptions of the few services that are asked here."""

    def list_available_services(self, type_name: str) -> list[str]:  # noqa: ARG002  # botocore passes it
        """Return them, without a look into the folders of some four hundred others."""
        return ["secretsmanager", "signin", "sso", "sso-oidc", "sts"]

    @property
    def search_paths(self) -> list[str]:
        """Where it looks. Each session of boto3 adds a folder of its own, of which none of these has need."""
        return list(super().search_paths)


# The services' descriptions take some time to read, and never change: they are kept for the next client, in a forked
# child as well.
_LOADER: Final = _Loader()


class _Session(Session):  # type: ignore[misc]  # botocore has no types
    """A session that knows where STS is, for the clients that the default chain makes as well."""

    def __init__(self, profile: str | None, sts_endpoint: str | None) -> None:
        super().__init__(profile=profile)
        self._strongroom_sts = sts_endpoint

    def create_client(self, service_name: str, *args: Any, **more: Any) -> Any:
        """Return a client, whose answers do not take longer than whoever waits for them has time."""
        if service_name == "sts" and self._strongroom_sts is not None:
            more["endpoint_url"] = self._strongroom_sts
        return bounded(super().create_client(service_name, *args, **more), self)


def new_session(settings: AwsSettings, place: Place) -> Session:
    """Make a session with the credentials that the settings name, or those that the default chain finds.

    What is set here holds for every client, for those that get credentials as well.

    Args:
        settings: The backend's settings.
        place: Where the service is.

    Raises:
        ConfigurationError: The authorities to trust cannot be read, or the profile contradicts the settings.
        botocore.exceptions.BotoCoreError: botocore cannot make one.
    """
    session = _Session(settings.profile, place.sts_endpoint)
    session.register_component("data_loader", _LOADER)
    session.set_config_variable("region", place.region)
    # Older versions of botocore ask STS in one region for the whole world, unless told otherwise.
    session.set_config_variable("sts_regional_endpoints", "regional")
    # Other modes have time limits and retries of their own, and one asks the machine where it is.
    session.set_config_variable("defaults_mode", "legacy")
    if settings.ca_file is not None:
        session.set_config_variable("ca_bundle", settings.ca_file)
    _check_authorities(session)
    _check_found_kinds(session, settings, place)
    session.set_default_client_config(_config(settings))
    is_local = place.is_local if place.is_local is not None else _has_local_profile(session, settings)
    found = _source(session, settings, is_local=is_local)

    def approve(renewed: Any) -> None:
        check_renewed(session, settings, renewed)

    session.register_component("credential_provider", CredentialResolver([LastingProvider(found, approve)]))
    return session


def new_client(session: Session, settings: AwsSettings, place: Place, region: str) -> Any:
    """Make a client for the service in a region.

    Args:
        session: From :func:`new_session`.
        settings: The backend's settings.
        place: Where the service is.
        region: The region to ask.

    Raises:
        botocore.exceptions.BotoCoreError: botocore cannot make one.
    """
    url = place.endpoint_of(settings, region)
    return boto3.Session(botocore_session=session).client("secretsmanager", region_name=region, endpoint_url=url)


def _has_local_profile(session: Session, settings: AwsSettings) -> bool:
    """Tell whether the profile names an endpoint on this machine."""
    endpoint = profiles.endpoint_of(session)
    if endpoint is not None:
        check_url(endpoint, "the profile")
    check_kinds_of_settings(settings, "the profile" if endpoint is not None else None)
    return endpoint is not None and is_loopback(endpoint)


def _check_found_kinds(session: Session, settings: AwsSettings, place: Place) -> None:
    """Raise if a variable or the profile demands a kind of endpoint that would silently not be used."""
    named_by = place.named_by or ("the profile" if profiles.endpoint_of(session) is not None else None)
    kinds = {"fips": settings.fips, "dual_stack": settings.dual_stack}
    variables = {"fips": "use_fips_endpoint", "dual_stack": "use_dualstack_endpoint"}
    check_kinds_of_variables(
        {kind for kind, said in kinds.items() if said is None and session.get_config_variable(variables[kind])},
        named_by,
    )


def _check_authorities(session: Session) -> None:
    """Raise if the file of authorities to trust cannot be read: botocore would say so with each request."""
    file = session.get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE")
    if file and not os.access(file, os.R_OK):
        raise ConfigurationError(
            f"the certificates of the authorities to trust, {file}, cannot be read",
            hint="check `ca_file`, AWS_CA_BUNDLE and REQUESTS_CA_BUNDLE",
        )


def _source(session: Session, settings: AwsSettings, *, is_local: bool) -> CredentialResolver:
    if settings.access_key_id is not None:
        base = CredentialResolver([_Given(settings)])
    else:
        # An emulator on this machine: nothing goes to the network to find out what the machine is in the cloud.
        base = default_chain(session, settings.timeout, asks_machine=not is_local)
    return base if settings.role_arn is None else CredentialResolver([RoleProvider(session, settings, base)])


def _config(settings: AwsSettings) -> Config:
    """Return what holds for every client: only we send again."""
    return Config(
        connect_timeout=settings.connect_timeout,
        read_timeout=settings.read_timeout,
        max_pool_connections=settings.connections,
        retries={"total_max_attempts": 1, "mode": "standard"},
        tcp_keepalive=True,
        use_fips_endpoint=settings.fips,
        use_dualstack_endpoint=settings.dual_stack,
    )


class _Given(CredentialProvider):  # type: ignore[misc]  # botocore has no types
    """The access key of the settings, read anew for each session."""

    METHOD = "strongroom-settings"

    def __init__(self, settings: AwsSettings) -> None:
        super().__init__()
        self._settings = settings

    def load(self) -> Credentials:
        """Return it.

        Raises:
            ConfigurationError: A part of it is not there, or is empty.
        """
        settings = self._settings
        sources = (settings.access_key_id, settings.secret_access_key, settings.session_token)
        key, secret, token = (_text_of(source) if source is not None else None for source in sources)
        return Credentials(key, secret, token, method=self.METHOD)


def _text_of(source: KeySource) -> str:
    text = source.read().reveal_text().removesuffix("\n").removesuffix("\r")
    if text:
        return text
    raise ConfigurationError(f"{source.describe()}, a part of the AWS access key, is empty", hint="fill it")

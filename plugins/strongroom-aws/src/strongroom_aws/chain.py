"""The chain in which the AWS tools look for credentials, made fit for a library: it asks nobody, and waits for nobody.

It is botocore's own, with other parts where its own ask at the terminal, wait for a program without end, or send what
a file holds as it is.
"""

from __future__ import annotations

import subprocess

from collections.abc import Callable
from functools import partial
from typing import Any, Final, NoReturn

from botocore.credentials import (
    AssumeRoleProvider,
    AssumeRoleWithWebIdentityProvider,
    CanonicalNameCredentialSourcer,
    ContainerProvider,
    CredentialProvider,
    CredentialResolver,
    EnvProvider,
    ProcessProvider,
    ProfileProviderBuilder,
)
from botocore.exceptions import CredentialRetrievalError, EndpointConnectionError
from botocore.httpsession import URLLib3Session
from botocore.session import Session
from botocore.utils import ContainerMetadataFetcher

from strongroom.errors import AuthenticationError, ConfigurationError

_CONTAINER_LIMIT: Final = 2.0
"""Seconds for what gives credentials to a container: botocore's own limit."""
_TOO_MANY: Final = 429
_SHORTEST_TOKEN: Final = 4
"""Characters: botocore does not even send a shorter one."""
METADATA: Final = "iam-role"
"""What botocore calls the provider that asks the machine's metadata service."""


def default_chain(session: Session, limit: float, *, asks_machine: bool) -> CredentialResolver:
    """Return the chain for a session.

    Args:
        session: The session.
        limit: How many seconds a program of the profile may take.
        asks_machine: Whether the machine's metadata service is in it.
    """
    chain = session.get_component("credential_provider")
    profile = session.get_config_variable("profile") or "default"
    builder = _Builder(session, limit)
    named = session.instance_variables().get("profile") is not None
    container = _ContainerProvider(fetcher=_ContainerFetcher(_ContainerSession(timeout=_CONTAINER_LIMIT)))
    sources = [EnvProvider(), container, chain.get_provider(METADATA)]
    ours = [
        container,
        _RoleProvider(
            partial(
                AssumeRoleProvider,
                load_config=lambda: session.full_config,
                client_creator=session.create_client,
                cache={},
                profile_name=profile,
                prompter=_ask_nobody,
                credential_sourcer=CanonicalNameCredentialSourcer(sources),
                profile_provider_builder=builder,
            )
        ),
        *builder.providers(profile, disable_env_vars=named),
    ]
    for provider in ours:
        # Where botocore's own of that name is, which then goes.
        chain.insert_after(provider.METHOD, provider)
        chain.remove(provider.METHOD)
    if not asks_machine:
        chain.remove(METADATA)
    return chain


class _Builder(ProfileProviderBuilder):  # type: ignore[misc]  # botocore has no types
    """Makes what looks into a profile; the profile of the credentials for a role is looked into by the same."""

    def __init__(self, session: Session, limit: float) -> None:
        super().__init__(session, cache={})
        self._limit = limit

    def _create_process_provider(self, profile_name: str) -> ProcessProvider:
        return _ProgramProvider(profile_name, lambda: self._session.full_config, self._limit)

    def _create_web_identity_provider(self, profile_name: str, disable_env_vars: bool) -> Any:  # noqa: FBT001  # botocore's own
        return AssumeRoleWithWebIdentityProvider(
            load_config=lambda: self._session.full_config,
            client_creator=self._session.create_client,
            profile_name=profile_name,
            cache=self._cache,
            disable_env_vars=disable_env_vars,
            token_loader_cls=lambda path: partial(token_in, path),
        )


class _RoleProvider(CredentialProvider):  # type: ignore[misc]  # botocore has no types
    """Has the credentials of a profile's role, each time anew: botocore's own takes a second time for a loop."""

    METHOD = AssumeRoleProvider.METHOD

    def __init__(self, made: Callable[[], AssumeRoleProvider]) -> None:
        super().__init__()
        self._made = made

    def load(self) -> Any:
        """Return them; ``None`` if the profile has no role."""
        return self._made().load()


class _ContainerSession(URLLib3Session):  # type: ignore[misc]  # botocore has no types
    """Asks what gives credentials to a container."""

    def send(self, request: Any) -> Any:
        """Return the answer.

        Raises:
            EndpointConnectionError: There is none for now.
        """
        response = super().send(request)
        if response.status_code >= 500 or response.status_code == _TOO_MANY:
            raise EndpointConnectionError(endpoint_url=request.url)
        return response


class _ContainerFetcher(ContainerMetadataFetcher):  # type: ignore[misc]  # botocore has no types
    """Asks once: who needs the credentials asks again."""

    RETRY_ATTEMPTS = 1
    SLEEP_TIME = 0


class _ContainerProvider(ContainerProvider):  # type: ignore[misc]  # botocore has no types
    """Has the credentials of a container."""

    def load(self) -> Any:
        """Return them; ``None`` outside of a container.

        Raises:
            CredentialRetrievalError: There are none.
        """
        try:
            return super().load()
        except (KeyError, TypeError, AttributeError):
            pass
        raise CredentialRetrievalError(provider=self.METHOD, error_msg="a part of them is not there")


def _ask_nobody(_: str) -> NoReturn:
    raise ConfigurationError(
        "the role of the AWS profile needs an MFA code (`mfa_serial`), and nobody is asked for one here",
        hint="log in with the AWS tools first and use the credentials that they give, or a profile without it",
    )


class _ProgramProvider(ProcessProvider):  # type: ignore[misc]  # botocore has no types
    """Runs the program that a profile names (``credential_process``), which has to end in time."""

    def __init__(self, profile_name: str, load_config: Any, limit: float) -> None:
        super().__init__(profile_name, load_config, popen=partial(_Program, limit))

    def _retrieve_credentials_using(self, credential_process: str) -> Any:
        try:
            return super()._retrieve_credentials_using(credential_process)
        except subprocess.TimeoutExpired as error:
            problem = f"did not end within {error.timeout:g} s"
        except CredentialRetrievalError:
            problem = "failed, or gave no credentials"
        # What it says is no JSON, or no object. The error holds it.
        except (ValueError, AttributeError, TypeError):
            problem = "gave something that is none of the credentials"
        raise AuthenticationError(
            f"the program of the AWS profile {self._profile_name} (`credential_process`) {problem}",
            hint="run it in a terminal: it must print a JSON object with Version 1, and read no input",
        )


class _Program(subprocess.Popen[bytes]):
    """A program that has so many seconds, and to which nobody talks."""

    def __init__(self, limit: float, command: list[str], **more: Any) -> None:
        self._limit = limit
        problem = ""
        try:
            # Our own input may be a secret's value.
            super().__init__(command, stdin=subprocess.DEVNULL, **more)
        except (OSError, IndexError) as error:
            problem = type(error).__name__
        if problem:
            raise ConfigurationError(
                f"the program of the AWS profile (`credential_process`) cannot be started ({problem})",
                hint="see whether it is there, and may be run",
            )

    def communicate(self, input: Any = None, timeout: float | None = None) -> Any:  # noqa: A002  # the library's own
        """Return its output.

        Raises:
            TimeoutExpired: It did not end in time, and was ended.
        """
        try:
            return super().communicate(input, self._limit if timeout is None else timeout)
        finally:
            if self.poll() is None:
                self.kill()
                self.wait()
            for stream in (self.stdout, self.stderr):
                if stream is not None:
                    stream.close()


def token_in(path: str) -> str:
    """Return the token of a web identity as its file has it now.

    Raises:
        AuthenticationError: It cannot be read, is empty, or holds less than STS takes for a token.
    """
    problem = "is empty"
    try:
        with open(path, encoding="ascii") as file:
            token = file.read().strip()
    except (OSError, UnicodeDecodeError) as error:
        token = ""
        problem = f"cannot be read ({type(error).__name__})"
    if len(token) >= _SHORTEST_TOKEN:
        return token
    if token:
        problem = "holds no token: it is too short for one"
    raise AuthenticationError(
        f"the web identity token {path} {problem}", hint="see whether what writes it is running, and who may read it"
    )

"""The hook: what this distribution offers. Nothing here loads botocore."""

from __future__ import annotations

from collections.abc import Iterator

from strongroom.contracts import Backend, BackendSpec, Capability
from strongroom.hookspecs import hookimpl
from strongroom_aws.settings import AwsSettings


@hookimpl
def strongroom_backends() -> Iterator[BackendSpec]:
    """Offer the backend for AWS Secrets Manager."""
    yield BackendSpec(
        name="aws",
        summary="Secrets of AWS Secrets Manager, in one region or with replicas.",
        settings=AwsSettings,
        open=_open,
        capabilities=frozenset(Capability),
        credential_variables=(
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_SESSION_TOKEN",
            # What older tools call that, and botocore still takes.
            "AWS_SECURITY_TOKEN",
            # Who knows this path gets the keys of the task.
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN",
        ),
    )


def _open(settings: AwsSettings) -> Backend:
    from strongroom_aws.backend import AwsBackend  # loads botocore only now

    return AwsBackend.open(settings)

"""What a configuration may say under ``[backends.*]`` with ``type = "aws"``."""

from __future__ import annotations

from typing import Final

from strongroom.contracts import FilePath, KeySource, Record, Seconds

MAX_VALUE_BYTES: Final = 65_536
"""What the service takes at most as a value."""
MAX_NAME_LENGTH: Final = 512
BATCH_SIZE: Final = 20
"""How many secrets the service gives at once at most."""
PAGE_SIZE: Final = 100


class RotationSettings(Record):
    """How the service itself rotates the names of ``rotation_enabled``."""

    lambda_arn: str | None = None
    """The function that rotates; not needed for secrets whose rotation has been set up already."""
    every: Seconds | None = None
    """How often, in whole days from 1 to 1,000, or in whole hours from 4 to 23."""
    schedule: str | None = None
    """How often, as the service's own ``rate(...)`` or ``cron(...)``; instead of ``every``."""
    window: Seconds | None = None
    """For how long after the due time a rotation may begin, in whole hours."""


class RateSettings(Record):
    """How many requests a second are sent at most; as many as the service lets an account and region send."""

    read: float = 10_000.0
    """Reads of single values and of descriptions."""
    list: float = 100.0
    """Lists of names, and reads of several values at once; half as many lists of versions."""
    write: float = 50.0
    """All that changes something."""


class AwsSettings(Record):
    """The settings of an AWS Secrets Manager. What is not given is found as the AWS tools find it."""

    region: str | None = None
    """The region; ``AWS_REGION``, ``AWS_DEFAULT_REGION`` or the profile's unless given."""
    prefix: str = ""
    """What stands before each name in the service, exactly, such as ``app/prod/``."""
    account: str | None = None
    """The account's twelve digits: credentials of any other are refused before anything is read or written."""
    profile: str | None = None
    """A profile of the AWS configuration files; ``AWS_PROFILE`` unless given."""
    access_key_id: KeySource | None = None
    """An access key, with ``secret_access_key``; unless given, the default chain of the AWS tools finds credentials."""
    secret_access_key: KeySource | None = None
    """The secret part of the access key."""
    session_token: KeySource | None = None
    """The session token, for temporary keys."""
    role_arn: str | None = None
    """A role to take on with the credentials that were found, renewed before it expires."""
    external_id: str | None = None
    """What the role's owner asks for in its trust policy."""
    session_name: str | None = None
    """What the role's session is called in CloudTrail; ``strongroom`` with the user's name unless given."""
    session_duration: Seconds | None = None
    """For how long the role is taken on at a time; an hour unless given."""
    web_identity_token_file: FilePath | None = None
    """A file with a token of an identity provider, with which the role is taken on instead; read anew each time."""
    endpoint: str | None = None
    """The service's URL, for an emulator or a VPC endpoint; ``AWS_ENDPOINT_URL_SECRETS_MANAGER`` or
    ``AWS_ENDPOINT_URL`` unless given. With it, nothing goes to any other."""
    sts_endpoint: str | None = None
    """The URL of the service that gives out roles; ``AWS_ENDPOINT_URL_STS`` or ``AWS_ENDPOINT_URL`` unless given, and
    else that of ``endpoint`` if it is on this machine."""
    fips: bool | None = None
    """Whether the endpoints validated by FIPS 140 are used."""
    dual_stack: bool | None = None
    """Whether the endpoint that has IPv6 addresses, too, is used."""
    ca_file: FilePath | None = None
    """The certificates of the authorities to trust, in PEM; ``AWS_CA_BUNDLE`` unless given."""
    kms_key_id: str | None = None
    """The key that a new secret is encrypted under; the account's own key for the service unless given."""
    description: str | None = None
    """What a new secret's description says."""
    tags: dict[str, str] = {}  # noqa: RUF012  # a default, which nobody changes
    """Tags that a new secret gets."""
    replicate: tuple[str, ...] = ()
    """Regions to which a new secret is replicated, and one that is brought back; there its replicas are removed before
    it is deleted."""
    replicas: tuple[str, ...] | None = None
    """Regions from which is read, in this order, while ``region`` has an outage; those of ``replicate`` unless
    given."""
    replica_endpoints: dict[str, str] = {}  # noqa: RUF012  # a default, which nobody changes
    """By region: the service's URL there, if it is not the usual one, and not ``endpoint``."""
    recovery_window: Seconds = 30 * 86_400.0
    """For how long what is deleted can be brought back, in whole days from 7 to 30; 0 to delete it at once."""
    on_deleted: str = "refuse"
    """What a write does to a secret that is scheduled for deletion: ``refuse``, or ``restore`` it first."""
    arns: dict[str, str] = {}  # noqa: RUF012  # a default, which nobody changes
    """By name: the full ARN of a secret that has none here, such as one of another account."""
    rotation_enabled: tuple[str, ...] = ()
    """Patterns of names that the service's own rotation rotates; those whose rotation is on there are, in any case."""
    rotation: RotationSettings = RotationSettings()
    """How it does that, where it is to be set up."""
    timeout: Seconds = 30.0
    """How long an operation may take over all its attempts. Each request that one needs has that long."""
    connect_timeout: Seconds = 3.0
    """How long connecting may take, for each address that the endpoint's host has."""
    read_timeout: Seconds = 8.0
    """How long the service may be silent. An answer that comes in drops is given up when `timeout` is over."""
    attempts: int = 3
    """How often a request is sent at most."""
    connections: int = 64
    """How many idle connections are kept: as many as there are threads that read at once."""
    rates: RateSettings = RateSettings()
    """How many requests a second are sent at most."""

    def problems(self) -> list[str]:
        """Return each broken rule as a sentence."""
        from strongroom_aws.rules import problems  # most commands never configure AWS

        return problems(self)

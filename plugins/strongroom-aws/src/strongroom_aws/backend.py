"""The backend: an AWS Secrets Manager."""

from __future__ import annotations

from typing import Self

from strongroom.contracts import Backend, ReadManyRequest, ReadManyResult, ReadRequest, ReadResult
from strongroom_aws.asking import Asker
from strongroom_aws.names import Names
from strongroom_aws.place import address, resolve
from strongroom_aws.reading import Reading
from strongroom_aws.settings import BATCH_SIZE, MAX_VALUE_BYTES, AwsSettings


class AwsBackend(Backend):
    """Keeps secrets in an AWS Secrets Manager. ``open`` is the way to get one.

    It puts parts together, each of which does one thing through the same clients.

    Args:
        settings: Its settings.
        asker: The way to the service.
    """

    max_value_bytes = MAX_VALUE_BYTES
    accepts_empty = False
    batch_size = BATCH_SIZE

    def __init__(self, settings: AwsSettings, asker: Asker) -> None:
        self.address = address(settings, asker.place)
        self._asker = asker
        names = Names(settings.prefix, settings.arns)
        self._reading = Reading(asker, names)

    @classmethod
    def open(cls, settings: AwsSettings) -> Self:
        """Make one; nothing is sent before it is needed.

        Raises:
            ConfigurationError: Nothing says which region.
        """
        return cls(settings, Asker(settings, resolve(settings)))

    def read(self, request: ReadRequest) -> ReadResult:
        """Return a secret's current value, or that of a version; see ``Backend.read``."""
        return self._reading.read(request)

    def read_many(self, request: ReadManyRequest) -> ReadManyResult:
        """Return several secrets in one request; see ``Backend.read_many``."""
        return self._reading.read_many(request)

    def after_fork(self) -> None:
        """Use clients of its own in a forked child."""
        self._asker.after_fork()

    def close(self) -> None:
        """Close the connections."""
        self._asker.close()

"""A backend in memory that refuses what a managed service does: odd names, empty values, notes of any letters."""

from __future__ import annotations

import re

from strongroom.builtin.memory import MemoryBackend
from strongroom.contracts import (
    AnnotateRequest,
    AnnotateResult,
    DestroyRequest,
    DestroyResult,
    ReadManyRequest,
    ReadManyResult,
    ReadRequest,
    ReadResult,
    UndeleteRequest,
    UndeleteResult,
    WriteRequest,
    WriteResult,
)
from strongroom.errors import (
    InvalidNameError,
    InvalidValueError,
    SecretDeletedError,
    StrongroomError,
    UnsupportedOperationError,
)
from strongroom.model import Absent, SecretName


class StrictBackend(MemoryBackend):
    """Knows deleted secrets as a whole only, and does not write over them."""

    accepts_empty = False

    def read(self, request: ReadRequest) -> ReadResult:
        check_name(request.name)
        return super().read(request)

    def read_many(self, request: ReadManyRequest) -> ReadManyResult:
        refused: dict[SecretName, StrongroomError] = {}
        for name in request.names:
            try:
                check_name(name)
            except InvalidNameError as error:
                refused[name] = error
        found = super().read_many(request.replace(names=tuple(name for name in request.names if name not in refused)))
        return found.replace(errors=found.errors | refused)

    def write(self, request: WriteRequest) -> WriteResult:
        check_name(request.name)
        if not len(request.value):
            raise InvalidValueError("an empty value cannot be held", name=request.name)
        try:
            self.read(ReadRequest(name=request.name))
        except SecretDeletedError as error:
            if request.expect_version is None or isinstance(request.expect_version, Absent):
                raise SecretDeletedError(f"{request.name} is to be deleted", code="deletion_scheduled") from error
        except StrongroomError:
            pass  # it is new
        return super().write(request)

    def undelete(self, request: UndeleteRequest) -> UndeleteResult:
        if request.version is not None:
            raise UnsupportedOperationError("only the whole secret comes back")
        return super().undelete(request)

    def destroy(self, request: DestroyRequest) -> DestroyResult:
        if request.versions:
            raise UnsupportedOperationError("only the whole secret is destroyed")
        return super().destroy(request)

    def annotate(self, request: AnnotateRequest) -> AnnotateResult:
        if not all(re.fullmatch(r"[\w .:/=+@-]*", text) for one in request.metadata.items() for text in one):
            raise InvalidValueError("notes are letters, digits, blanks and _.:/=+-@")
        return super().annotate(request)


def check_name(name: SecretName) -> None:
    """Refuse a name that is not of letters, digits and ``/_+=.@-``."""
    if not re.fullmatch(r"[A-Za-z0-9/_+=.@-]+", name):
        raise InvalidNameError(f"{name} cannot be spelled", name=name)

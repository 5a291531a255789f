"""Listing names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from strongroom.contracts import ListRequest, ListResult
from strongroom.model import SecretName
from strongroom_aws.asking import Asker
from strongroom_aws.names import Names, is_spelled
from strongroom_aws.outcomes import refused
from strongroom_aws.paging import pages
from strongroom_aws.replies import Refusal
from strongroom_aws.settings import MAX_NAME_LENGTH, PAGE_SIZE


class Listing:
    """Lists names.

    Args:
        asker: Asks the service.
        names: Reads the names.
    """

    def __init__(self, asker: Asker, names: Names) -> None:
        self._asker = asker
        self._names = names

    def list(self, request: ListRequest) -> ListResult:
        """Return names; see ``Backend.list``. A request for each hundred of them.

        The names of ``arns`` are not among them: the service lists what an account has under names of its own.
        Folders below are looked into in any case, since the service knows none and gives their names all the same.
        """
        found: set[SecretName] = set()
        request_id: str | None = None
        what = f"listing {request.prefix or 'all names'}"
        for entries, answered in entries_below(self._asker, self._names, request.prefix, what=what):
            request_id = answered
            found.update(entries)
        return ListResult(names=tuple(sorted(found)), request_id=request_id)


def entries_below(
    asker: Asker, names: Names, prefix: str, *, what: str
) -> Iterator[tuple[dict[SecretName, dict[str, Any]], str | None]]:
    """Yield what the service says of the secrets below a folder, a page at a time, with the id of its request.

    Args:
        asker: Asks the service.
        names: Reads the names.
        prefix: The folder without its final slash; empty for all.
        what: What is tried, for errors.
    """
    begins = names.prefix + (f"{prefix}/" if prefix else "")
    if not is_spelled(begins) or len(begins) >= MAX_NAME_LENGTH:
        return  # no name in the service can begin like this
    parameters: dict[str, Any] = {"MaxResults": PAGE_SIZE}
    if begins:
        parameters["Filters"] = [{"Key": "name", "Values": [begins]}]
    for answer in pages(asker, "ListSecrets", parameters, what=what, expects="SecretList"):
        if isinstance(answer, Refusal):
            raise refused(answer, what)
        yield dict(_named(names, answer.data["SecretList"], begins)), answer.request_id


def _named(names: Names, entries: Iterable[dict[str, Any]], begins: str) -> Iterator[tuple[SecretName, dict[str, Any]]]:
    """Yield a page's secrets by name; not those that are deleted or that nobody could ask for."""
    for entry in entries:
        # The service's filter has said the same already; what it means by a prefix is not ours to rely on.
        if "DeletedDate" not in entry and entry["Name"].startswith(begins):
            name = names.name_of(entry["Name"])
            if name is not None:
                yield name, entry

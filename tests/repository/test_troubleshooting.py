"""The page about trouble has an entry for every error, and none for an error that does not exist."""

import re

from collections.abc import Iterator

import pytest

import strongroom.errors as errors

from _workspace import ROOT
from strongroom.cli.command import UsageError
from strongroom.errors import StrongroomError

PAGE = ROOT / "docs/troubleshooting.md"

ENTRY = re.compile(r"^### (\w+)$\n(.*?)(?=^##|\Z)", re.MULTILINE | re.DOTALL)
STATUS = re.compile(r"^\| (\d+) \| [^|]+ \| (.*) \|$", re.MULTILINE)


def classes() -> list[type[StrongroomError]]:
    ours = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, StrongroomError)]
    return [*ours, UsageError]


def statuses() -> dict[str, int]:
    return {code: kind.exit_status for kind in classes() for code in kind.codes}


def entries() -> dict[str, str]:
    return dict(ENTRY.findall(PAGE.read_text()))


def listed() -> Iterator[tuple[str, int]]:
    for status, cell in STATUS.findall(PAGE.read_text()):
        for code in re.findall(r"\[(\w+)\]", cell):
            yield code, int(status)


def test_every_code_has_an_entry_and_every_entry_a_code() -> None:
    assert sorted(code for code, _ in ENTRY.findall(PAGE.read_text())) == sorted(statuses())


@pytest.mark.parametrize("code", statuses())
def test_an_entry_shows_the_message_and_says_cause_and_mend(code: str) -> None:
    entry = entries()[code]
    assert re.search(r"^strongroom(\.errors\.\w+)?: ", entry, re.MULTILINE)
    assert "\n**Cause.** " in entry
    assert "\n**Mend.** " in entry


def test_the_table_of_statuses_has_each_code_at_its_status() -> None:
    assert sorted(listed()) == sorted(statuses().items())

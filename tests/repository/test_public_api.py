"""What is public is recorded, the record is only added to, and the rules for that do what they say."""

import re

from pathlib import Path

import pytest

from hypothesis import given
from hypothesis import strategies as st

from _api import MODULES
from _compatible import Difference, Way, differences
from _records import CURRENT, HEAD, broken_promises, facts, major_version, read, releases, text_of
from _workspace import ROOT, metadata

ALLOWED: dict[str, str] = {}
"""Changes that break a promise for the sake of security: a fact's key, and why."""

WHAT_TO_DO = """
The public API is not what the record says. If you mean it:
  1. run script/api, and look at its difference in git
  2. add a changelog fragment for whoever uses or implements it
  3. see docs/adr/0031-what-may-change-when.md for what may change when

"""


def told(found: list[Difference]) -> str:
    return WHAT_TO_DO + "\n".join(map(str, found))


def problem(key: str, before: str, after: str) -> str:
    """Return what the rules have against a change of one fact; an empty text stands for one that is not there."""
    (found,) = differences(*({key: fact} if fact else {} for fact in (before, after)))
    return found.problem


def test_every_public_fact_is_recorded() -> None:
    found = differences(read(CURRENT), facts())
    assert found == [], told(found)


def test_nothing_that_was_released_is_broken() -> None:
    """The records of releases are never written again, so that a change cannot be recorded away."""
    broken = [line for line in broken_promises(read(CURRENT), releases(major_version())) if not is_allowed(line)]
    assert broken == [], WHAT_TO_DO + "\n".join(broken)


def is_allowed(line: str) -> bool:
    return any(f": {key}: " in line for key in ALLOWED)


def test_the_record_of_each_minor_version_is_kept() -> None:
    version = metadata(ROOT / "core")["project"]["version"]
    assert f"{version.rpartition('.')[0]}.txt" in {file.name for file in releases(major_version())}


@pytest.mark.parametrize("record", [CURRENT, *releases(major_version())], ids=lambda file: file.stem)
def test_a_record_is_as_the_script_writes_it(record: Path) -> None:
    """One sorted fact a line: what somebody adds by hand in passing is no fact."""
    text = record.read_text()
    assert text == text_of(read(record))
    assert text.startswith(HEAD)


def test_what_stays_is_no_difference() -> None:
    assert differences(read(CURRENT), read(CURRENT)) == []


def test_whatever_goes_is_a_break() -> None:
    record = read(CURRENT)
    found = differences(record, {})
    assert len(found) == len(record)
    assert all(one.way is Way.REMOVED and one.problem for one in found)


def test_a_fact_of_another_kind_is_a_break() -> None:
    record = {key: fact for key, fact in read(CURRENT).items() if not fact.startswith("constant of")}
    found = differences(record, dict.fromkeys(record, "something else"))
    assert [one.key for one in found if not one.problem] == []


@pytest.mark.parametrize(
    ("key", "fact"),
    [
        ("strongroom.contracts.Acme", "abstract class(ABC)"),
        ("strongroom.contracts.ReadRequest.hint", "field str | None = None"),
        ("strongroom.contracts.Backend.warm_up", "method (self) -> None"),
        ("strongroom.contracts.Capability.SEARCH", "member 'search'"),
        ("strongroom.errors.ColdError", "class(strongroom.errors.StrongroomError)"),
        ("error ColdError cold", "exit status 6 unless another is given"),
        ("hook strongroom_acmes", "AcmeSpec group strongroom.acmes"),
        ("command strongroom get --cold", "flag"),
        ("command strongroom acme NAME", "required argument"),
        ("setting backend vault cold", "bool = False"),
        ("setting backend acme address", "str required"),
        ("metric strongroom.acmes", "counter in {acme}"),
    ],
)
def test_a_minor_version_may_add(key: str, fact: str) -> None:
    assert [one.problem for one in differences(read(CURRENT), read(CURRENT) | {key: fact})] == [""]


@pytest.mark.parametrize(
    ("key", "fact"),
    [
        ("strongroom.contracts.ReadRequest.hint", "field str"),
        ("strongroom.contracts.Backend.warm_up", "abstract method (self) -> None"),
        ("command strongroom get --cold", "required option"),
        ("command strongroom get PLACE", "required argument"),
        ("setting backend vault cold", "bool required"),
        ("setting cache cold", "bool required"),
    ],
)
def test_a_minor_version_may_not_add_what_has_to_be_given(key: str, fact: str) -> None:
    (found,) = differences(read(CURRENT), read(CURRENT) | {key: fact})
    assert found.way is Way.ADDED
    assert found.problem


CALLED = "strongroom.open"
OVERRIDDEN = "strongroom.contracts.Backend.read"


@pytest.mark.parametrize(
    ("key", "before", "after"),
    [
        (CALLED, "function (name: str) -> Secret", "function (name: str, *, cold: bool = False) -> Secret"),
        (CALLED, "function (name: str) -> Secret", "function (name: str, cold: bool = False) -> Secret"),
        (CALLED, "function (name: str) -> None", "function (name: str | bytes) -> None"),
        (CALLED, "function (name: str) -> str | None", "function (name: str) -> str"),
        (CALLED, "function (*, name: str) -> None", "function (*, name: str = 'x') -> None"),
        (CALLED, "class(A)", "class(A, B)"),
        (CALLED, "abstract class(A)", "class(A)"),
        (OVERRIDDEN, "abstract method (self, request: R) -> S", "method (self, request: R) -> S"),
        ("strongroom.contracts.R.name", "field str", "field str = ''"),
        ("strongroom.telemetry.ATTRIBUTES", "constant {'a', 'b'}", "constant {'a', 'b', 'c'}"),
        ("setting cache ttl", "Seconds required", "Seconds = 300.0"),
        ("setting cache ttl", "str = 'a'", "str | int = 'a'"),
        ("command strongroom get NAME", "required argument", "argument"),
        ("command strongroom get NAME", "required argument", "argument ?"),
        ("command strongroom get --as", "option of a | b = 'a'", "option of a | b | c = 'a'"),
    ],
)
def test_a_minor_version_may_widen(key: str, before: str, after: str) -> None:
    assert problem(key, before, after) == ""
    assert problem(key, after, before), "and the reverse is a break"


@pytest.mark.parametrize(
    ("key", "before", "after"),
    [
        (CALLED, "function (name: str) -> None", "function (text: str) -> None"),
        (CALLED, "function (a: str, b: str) -> None", "function (b: str, a: str) -> None"),
        (CALLED, "function (a: str = 'x') -> None", "function (a: str = 'y') -> None"),
        (CALLED, "function (a: str) -> None", "function (*, a: str) -> None"),
        (CALLED, "function (*, a: str) -> None", "function (*, a: str, b: str) -> None"),
        (CALLED, "function () -> str", "function () -> bytes"),
        (CALLED, "function () -> str", "async function () -> str"),
        (CALLED, "method () -> str", "property -> str"),
        (CALLED, "function (*args: str) -> None", "function (args: str) -> None"),
        (CALLED, "class(A)", "class(B)"),
        (CALLED, "constant 1", "constant 2"),
        (CALLED, "member 'a'", "member 'b'"),
        (OVERRIDDEN, "method (self, a: A) -> B", "method (self, a: A, b: int = 0) -> B"),
        (OVERRIDDEN, "method (self, a: A) -> B | None", "method (self, a: A) -> B"),
        (OVERRIDDEN, "method (self, a: A) -> B", "abstract method (self, a: A) -> B"),
        ("strongroom.contracts.R.name", "field str", "field bytes"),
        ("strongroom.contracts.R.name", "field str = 'a'", "field str = 'b'"),
        ("error ColdError cold", "exit status 6", "exit status 7"),
        ("setting cache ttl", "Seconds = 300.0", "Seconds = 60.0"),
        ("command strongroom get --as", "flag", "option"),
        ("metric strongroom.acmes", "counter in s", "counter in ms"),
        ("format local store", "version 1", "version 2"),
    ],
)
def test_a_minor_version_may_not_turn_something_into_something_else(key: str, before: str, after: str) -> None:
    assert problem(key, before, after)


@given(st.lists(st.sampled_from(["str", "bytes", "int", "None"]), min_size=1, unique=True), st.data())
def test_an_argument_that_takes_more_may_come_and_one_that_takes_less_may_not(
    kinds: list[str], data: st.DataObject
) -> None:
    fewer = data.draw(st.lists(st.sampled_from(kinds), min_size=1, unique=True))
    wide, narrow = (f"function (a: {' | '.join(some)}) -> None" for some in (kinds, fewer))
    if set(kinds) == set(fewer):
        return
    assert problem(CALLED, narrow, wide) == ""
    assert problem(CALLED, wide, narrow)


def test_the_page_for_users_names_each_public_module_and_no_other() -> None:
    page = (ROOT / "docs/explanation/versions-and-compatibility.md").read_text()
    table = "".join(line for line in page.splitlines() if line.startswith("| `strongroom"))
    assert set(re.findall(r"`(strongroom[\w.]*)`", table)) == set(MODULES)


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda page: page.stem)
def test_what_a_page_shows_is_imported_from_public_modules(page: Path) -> None:
    imported = re.findall(r"^\s*(?:from|import) (strongroom(?:\.\w+)*)", page.read_text(), re.MULTILINE)
    assert set(imported) <= set(MODULES)

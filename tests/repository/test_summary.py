"""The closing line of `script/test` tells the truth: CI and people rely on it."""

from pathlib import Path

import pytest

import _summary

RESULTS = """<testsuites><testsuite>
<testcase classname="tests.test_a" name="good"/>
<testcase classname="tests.test_a" name="bad"><failure message="no"/></testcase>
<testcase classname="tests.test_a" name="worse"><error message="no"/></testcase>
<testcase classname="tests.test_a" name="known"><skipped type="pytest.xfail" message="later"/></testcase>
<testcase classname="tests.test_a" name="not_here"><skipped type="pytest.skip" message="{reason}"/></testcase>
</testsuite></testsuites>"""


@pytest.fixture(autouse=True)
def _for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STRONGROOM_REQUIRE_ALL", raising=False)


def results(folder: Path, reason: str) -> Path:
    (folder / "core.xml").write_text(RESULTS.format(reason=reason))
    return folder


def test_all_environments_are_added_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (results(tmp_path, "only on macOS") / "other.xml").write_text(RESULTS.format(reason="only on macOS"))
    assert _summary.main(tmp_path) == 0
    assert capsys.readouterr().out == "4 passed, 4 failed, 2 skipped\n"


@pytest.mark.parametrize("reason", ["needs a server: apt install it", "could not import 'x'"])
def test_a_missing_tool_fails_a_run_that_must_be_complete(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    assert _summary.main(results(tmp_path, reason)) == 0
    monkeypatch.setenv("STRONGROOM_REQUIRE_ALL", "1")
    capsys.readouterr()
    assert _summary.main(tmp_path) == 1
    named, totals = capsys.readouterr().out.splitlines()
    assert "core: tests.test_a::not_here" in named
    assert totals == "2 passed, 3 failed"


def test_a_check_that_does_not_apply_fails_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRONGROOM_REQUIRE_ALL", "1")
    assert _summary.main(results(tmp_path, "the backend declares WRITE")) == 0


def test_without_any_test_nothing_is_claimed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _summary.main(tmp_path) == 0
    assert capsys.readouterr().out == ""

"""One bad plugin neither stops what does not need it nor goes unnoticed by what does."""

import json

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from commandline import Cli

REASONS = {
    "broken-import": "a_library_that_nobody_has",
    "broken-exit": "this machine is not supported",
    "broken-argument": "registry",
    "broken-half": "the other half is missing",
}
KINDS = {"backend", "cache policy", "audit sink", "anomaly detector"}

each_fault = pytest.mark.parametrize("fault", REASONS)


def was_slow(broken_plugins: dict[str, str]) -> bool:
    return Path(broken_plugins["SLOW_PLUGIN_WAS_IMPORTED"]).exists()


def without_slow(broken_plugins: dict[str, str]) -> None:
    (Path(broken_plugins["PYTHONPATH"]) / "slow_one.py").write_text("")


def configured(store: Path, table: str, line: str) -> None:
    """Add *line* to a table of the store's configuration, which gets the table if it has none."""
    file = store / "strongroom.toml"
    text = file.read_text()
    single = not table.startswith("[[") and f"{table}\n" in text
    file.write_text(text.replace(table, f"{table}\n{line}") if single else f"{text}\n{table}\n{line}\n")


def plugins(cli: Cli, env: dict[str, str]) -> list[dict[str, Any]]:
    done = cli("plugins", "--json", env=env)
    listing: list[dict[str, Any]] = json.loads(done.stdout)
    return listing


def test_a_read_that_needs_none_of_them_works_and_imports_none(cli: Cli, broken_plugins: dict[str, str]) -> None:
    assert cli("set", "db/password", stdin="s3cret", env=broken_plugins).status == 0
    done = cli("get", "db/password", env=broken_plugins)
    assert (done.status, done.stdout, done.stderr) == (0, "s3cret", "")
    assert not was_slow(broken_plugins)


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["get", "--help"]])
def test_help_imports_none(cli: Cli, broken_plugins: dict[str, str], arguments: list[str]) -> None:
    done = cli(*arguments, env=broken_plugins)
    assert (done.status, done.stderr) == (0, "")
    assert not was_slow(broken_plugins)


@each_fault
def test_the_list_of_plugins_says_what_is_wrong(cli: Cli, broken_plugins: dict[str, str], fault: str) -> None:
    without_slow(broken_plugins)
    entries = [entry for entry in plugins(cli, broken_plugins) if entry["name"] == fault]
    assert {entry["kind"] for entry in entries} == KINDS
    for entry in entries:
        assert entry["distribution"] == fault
        assert entry["version"] == "1.5"
        assert entry["state"] == "broken"
        assert REASONS[fault] in entry["error"]


def test_the_list_of_plugins_shows_the_good_ones_among_the_broken(cli: Cli, broken_plugins: dict[str, str]) -> None:
    without_slow(broken_plugins)
    states = {(entry["kind"], entry["name"]): entry["state"] for entry in plugins(cli, broken_plugins)}
    assert states["backend", "local"] == "ok"
    assert states["audit sink", "jsonl"] == "ok"
    assert states["cache policy", "ttl"] == "ok"


@each_fault
def test_the_list_for_people_names_each_with_its_reason(cli: Cli, broken_plugins: dict[str, str], fault: str) -> None:
    without_slow(broken_plugins)
    done = cli("plugins", env=broken_plugins)
    assert fault in done.stdout
    assert REASONS[fault] in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


@each_fault
@pytest.mark.parametrize(
    ("table", "line"),
    [("[[anomaly]]", 'type = "{}"'), ("[[audit]]", 'type = "{}"'), ("[cache]", 'policy = "{}"')],
    ids=["detector", "sink", "policy"],
)
def test_a_read_whose_configuration_needs_a_broken_one_is_refused(
    cli: Cli, store: Path, broken_plugins: dict[str, str], fault: str, table: str, line: str
) -> None:
    """Above all, a broken blocker does not mean that all is allowed."""
    assert cli("set", "db/password", stdin="s3cret").status == 0
    configured(store, table, line.format(fault))
    done = cli("get", "db/password", env=broken_plugins)
    assert done.status == 2
    assert done.stdout == ""
    assert fault in done.stderr
    assert REASONS[fault] in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@each_fault
def test_a_broken_backend_is_named_by_the_read_that_needs_it(
    cli_in: Callable[[Path], Cli], tmp_path: Path, broken_plugins: dict[str, str], fault: str
) -> None:
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "strongroom.toml").write_text(f'backend = "main"\naudit = "none"\n[backends.main]\ntype = "{fault}"\n')
    done = cli_in(folder)("get", "db/password", env=broken_plugins)
    assert (done.status, done.stdout) == (2, "")
    assert fault in done.stderr
    assert REASONS[fault] in done.stderr
    assert "Traceback" not in done.stderr


def test_a_slow_plugin_costs_only_who_asks_for_it(cli: Cli, broken_plugins: dict[str, str]) -> None:
    cli("list", env=broken_plugins)
    assert not was_slow(broken_plugins)
    cli("plugins", env=broken_plugins)
    assert was_slow(broken_plugins)


def test_a_missing_plugin_is_named_with_what_to_install(cli: Cli, store: Path) -> None:
    configured(store, "[[anomaly]]", 'type = "nowhere-to-be-found"')
    done = cli("get", "db/password")
    assert done.status == 2
    assert "nowhere-to-be-found" in done.stderr
    assert "install" in done.stderr

"""The plugin's contract, on small installed distributions with one mistake each."""

from __future__ import annotations

import os
import textwrap

from collections.abc import Callable

import pytest

pytest_plugins = ["pytester"]

TEST = """
from strongroom.testing import PluginContract


class TestPlugin(PluginContract):
    module = "strongroom_acme.plugin"
    heavy = ("strongroom_acme.client",)
"""
ENTRY_POINTS = """
[strongroom.cache_policies]
acme = strongroom_acme.plugin
"""
METADATA = """\
Metadata-Version: 2.1
Name: strongroom-acme
Version: 1.0
Requires-Dist: strongroom>=1.0,<2
"""
PLUGIN = '''
from strongroom.contracts import CachePolicySpec, Record
from strongroom.hookspecs import hookimpl


class AcmeSettings(Record):
    """Settings of Acme."""

    ttl: float = 1.0
    """How long."""


def _open(settings):
    from strongroom_acme.client import Policy

    return Policy(settings)


@hookimpl
def strongroom_cache_policies():
    """Offer the policy of Acme."""
    yield CachePolicySpec(name="acme", summary="A policy by Acme.", settings=AcmeSettings, open=_open)
'''
Install = Callable[..., None]


@pytest.fixture
def install(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Return a function that installs the distribution, for this process and for its children."""

    def put(*, plugin: str = PLUGIN, metadata: str = METADATA, entry_points: str = ENTRY_POINTS) -> None:
        package = pytester.mkpydir("strongroom_acme")
        (package / "plugin.py").write_text(plugin)
        (package / "client.py").write_text("class Policy: ...")
        folder = pytester.mkdir("strongroom_acme-1.0.dist-info")
        (folder / "METADATA").write_text(metadata)
        (folder / "entry_points.txt").write_text(entry_points)
        pytester.syspathinsert()
        path = os.pathsep.join(filter(None, (str(pytester.path), os.environ.get("PYTHONPATH"))))
        monkeypatch.setenv("PYTHONPATH", path)

    return put


def test_a_sound_plugin_passes(install: Install, failed_checks: Callable[..., set[str]]) -> None:
    install()
    assert failed_checks(TEST) == set()


def test_settings_may_be_an_attrs_class(install: Install, failed_checks: Callable[..., set[str]]) -> None:
    plugin = PLUGIN.replace("class AcmeSettings(Record)", "@attrs.frozen(kw_only=True)\nclass AcmeSettings")
    install(plugin="import attrs\n" + plugin)
    assert failed_checks(TEST) == set()


MISTAKES = {
    "loads its client": (
        "from strongroom.contracts",
        "import strongroom_acme.client\nfrom strongroom.contracts",
        {"test_the_module_loads_nothing_heavy"},
    ),
    "loads its client in the hook": (
        "    yield",
        "    import strongroom_acme.client\n    yield",
        {"test_the_module_loads_nothing_heavy"},
    ),
    "misspells its hook": (
        "strongroom_cache_policies",
        "strongroom_cache_policy",
        {
            "test_each_hook_is_one_that_strongroom_knows",
            "test_each_name_is_an_entry_point",
            "test_the_distribution_requires_strongroom",
        },
    ),
    "marks no hook": (
        "@hookimpl\n",
        "",
        {"test_the_module_implements_a_hook", "test_the_distribution_requires_strongroom"},
    ),
    "takes arguments": (
        "strongroom_cache_policies()",
        "strongroom_cache_policies(config=None)",
        {"test_hooks_take_no_arguments"},
    ),
    "says nothing of its hook": ('    """Offer the policy of Acme."""\n', "", {"test_hooks_are_documented"}),
    "yields live objects": (
        "yield CachePolicySpec(",
        "yield (lambda **facts: type('Live', (), {'kind': 'x', **facts}))(",
        {"test_each_description_is_a_record"},
    ),
    "uses another name": ('name="acme"', 'name="other"', {"test_each_name_is_an_entry_point"}),
    "has no summary": ('"A policy by Acme."', '""', {"test_each_summary_is_one_sentence"}),
    "has half a sentence": ('"A policy by Acme."', '"a policy"', {"test_each_summary_is_one_sentence"}),
    "opens with more than settings": (
        "def _open(settings)",
        "def _open(settings, loop)",
        {"test_each_plugin_can_be_opened"},
    ),
    "has settings of no kind": (
        "AcmeSettings(Record)",
        "AcmeSettings",
        {"test_settings_are_a_record_or_an_attrs_class"},
    ),
    "does not document a setting": ('    """How long."""\n', "", {"test_settings_are_documented"}),
    "does not document its settings": ('    """Settings of Acme."""\n\n', "", {"test_settings_are_documented"}),
}


@pytest.mark.parametrize(("good", "bad", "expected"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_fails_its_checks(
    install: Install, failed_checks: Callable[..., set[str]], good: str, bad: str, expected: set[str]
) -> None:
    assert good in PLUGIN
    install(plugin=PLUGIN.replace(good, bad))
    assert failed_checks(TEST) == expected


def test_a_name_given_twice_is_found(install: Install, failed_checks: Callable[..., set[str]]) -> None:
    twice = PLUGIN + textwrap.indent(PLUGIN[PLUGIN.index("yield") :], "    ")
    install(plugin=twice)
    assert failed_checks(TEST) == {"test_names_are_unique"}


def test_mutable_settings_are_found(install: Install, failed_checks: Callable[..., set[str]]) -> None:
    plugin = PLUGIN.replace("class AcmeSettings(Record)", "@attrs.define(kw_only=True)\nclass AcmeSettings")
    install(plugin="import attrs\n" + plugin)
    assert failed_checks(TEST) == {"test_settings_are_immutable"}


@pytest.mark.parametrize("requirement", ["", "Requires-Dist: strongroom\n", "Requires-Dist: strongroom>=99\n"])
def test_a_requirement_that_does_not_fit_is_found(
    install: Install, failed_checks: Callable[..., set[str]], requirement: str
) -> None:
    install(metadata=METADATA.replace("Requires-Dist: strongroom>=1.0,<2\n", requirement))
    assert failed_checks(TEST) == {"test_the_distribution_requires_strongroom"}


def test_an_entry_point_that_is_missing_is_found(install: Install, failed_checks: Callable[..., set[str]]) -> None:
    install(entry_points="[strongroom.backends]\nacme = strongroom_acme.plugin\n")
    assert "test_each_name_is_an_entry_point" in failed_checks(TEST)

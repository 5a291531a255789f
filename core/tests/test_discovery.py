"""Finding what installed distributions offer, on throw-away distributions."""

from __future__ import annotations

import os
import sys

from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

import strongroom

from strongroom.discovery import Catalogue, Kind
from strongroom.errors import PluginError

GOOD = """
from strongroom.builtin.memory import MemoryBackend
from strongroom.contracts import BackendSpec, Record
from strongroom.hookspecs import hookimpl

class Settings(Record):
    pass

@hookimpl
def strongroom_backends():
    yield BackendSpec(
        name="acme", summary="Secrets kept in Acme.", settings=Settings, open=lambda settings: MemoryBackend()
    )
"""
POINTS = {"strongroom.backends": {"acme": "acme_plugin"}}


def state_of(name: str) -> tuple[str, str]:
    [record] = [record for record in Catalogue().load_all() if record.name == name]
    return record.state, record.error


def test_the_walk_finds_what_the_standard_library_finds() -> None:
    expected = {
        (kind, point.name, point.value, point.dist.version)
        for kind in Kind
        for point in metadata.entry_points(group=kind.group)
    }
    assert {(point.kind, point.name, point.target, point.version) for point in Catalogue().points} == expected
    assert (Kind.BACKEND, "memory", "strongroom.builtin.plugin", metadata.version("strongroom")) in expected


def test_a_plugin_is_found_and_loaded_by_its_name(distributions: Any) -> None:
    distributions.add("acme-plugin", POINTS, GOOD)
    catalogue = Catalogue()
    assert "acme_plugin" not in sys.modules
    assert catalogue.load(Kind.BACKEND, "acme").summary == "Secrets kept in Acme."
    assert state_of("acme") == ("ok", "")


def test_loading_one_imports_no_other(distributions: Any) -> None:
    distributions.add("acme-plugin", POINTS, GOOD)
    Catalogue().load(Kind.BACKEND, "memory")
    assert "acme_plugin" not in sys.modules


def test_a_hook_may_stand_in_an_object_of_a_module(distributions: Any) -> None:
    source = GOOD + "\nclass offers:\n    strongroom_backends = staticmethod(strongroom_backends)\n"
    distributions.add("acme-plugin", {"strongroom.backends": {"acme": "acme_plugin:offers"}}, source)
    assert Catalogue().load(Kind.BACKEND, "acme").name == "acme"


def test_several_names_may_lead_to_one_module(distributions: Any) -> None:
    source = GOOD + GOOD[GOOD.index("    yield") :].replace('"acme"', '"acme2"')
    distributions.add("acme-plugin", {"strongroom.backends": {"acme": "acme_plugin", "acme2": "acme_plugin"}}, source)
    assert [Catalogue().load(Kind.BACKEND, name).name for name in ("acme", "acme2")] == ["acme", "acme2"]


class TestPath:
    """Which of several counts."""

    def test_the_first_on_the_path_hides_a_later_version(
        self, distributions: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        distributions.add("acme-plugin", POINTS, GOOD)
        distributions.add("acme-plugin", POINTS, "raise ImportError", version="2.0", folder=tmp_path / "later")
        monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "later")])
        assert [point.version for point in Catalogue().points if point.name == "acme"] == ["1.0"]
        assert Catalogue().load(Kind.BACKEND, "acme").name == "acme"

    def test_a_folder_that_is_on_the_path_twice_by_a_link_counts_once(
        self, distributions: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        distributions.add("acme-plugin", POINTS, GOOD)
        link = tmp_path / "link"
        link.symlink_to(distributions.folder)
        monkeypatch.setattr(sys, "path", [str(link), *sys.path, str(distributions.folder)])
        assert len([point for point in Catalogue().points if point.name == "acme"]) == 1

    def test_what_cannot_be_read_is_passed_over(
        self, distributions: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        info = distributions.add("acme-plugin", POINTS, GOOD)
        (info / "entry_points.txt").write_bytes(b"[strongroom.backends]\n\xff = x\n")
        distributions.add("other-plugin", {"console_scripts": {"x": "y:z"}})
        (tmp_path / "file").write_text("")
        monkeypatch.setattr(sys, "path", [str(tmp_path / "file"), str(tmp_path / "missing"), *sys.path])
        assert [point.name for point in Catalogue().points if "plugin" in point.distribution] == []

    def test_a_folder_that_may_not_be_listed_is_passed_over(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(place: str) -> list[str]:
            if place == str(tmp_path):
                raise PermissionError(13, "Permission denied")
            return listdir(place)

        # Rights would not stop a test that runs as root.
        listdir = os.listdir
        monkeypatch.setattr(os, "listdir", refuse)
        monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
        assert Catalogue().load(Kind.BACKEND, "memory").name == "memory"

    def test_two_distributions_with_one_name_are_a_clash_that_names_both(self, distributions: Any) -> None:
        distributions.add("acme-plugin", POINTS, GOOD)
        distributions.add("acme-other", {"strongroom.backends": {"acme": "acme_other"}}, GOOD, version="2.0")
        with pytest.raises(PluginError, match=r"offered by acme-other 2.0 and acme-plugin 1.0") as caught:
            Catalogue().load(Kind.BACKEND, "acme")
        assert caught.value.code == "plugin_clash"
        assert {record.state for record in Catalogue().load_all() if record.name == "acme"} == {"clash"}
        assert Catalogue().load(Kind.BACKEND, "memory").name == "memory"

    def test_one_name_for_two_kinds_is_no_clash(self, distributions: Any) -> None:
        points = POINTS | {"strongroom.audit_sinks": {"acme": "acme_plugin"}}
        distributions.add("acme-plugin", points, GOOD)
        assert Catalogue().load(Kind.BACKEND, "acme").name == "acme"

    @pytest.mark.parametrize(("value", "found"), [("1", False), ("yes", False), ("0", True), ("", True)])
    def test_plugins_can_be_switched_off_but_not_the_core_s_own(
        self, value: str, found: bool, distributions: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        distributions.add("acme-plugin", POINTS, GOOD)
        monkeypatch.setenv("STRONGROOM_NO_PLUGINS", value)
        catalogue = Catalogue()
        assert any(point.name == "acme" for point in catalogue.points) is found
        assert catalogue.load(Kind.CACHE_POLICY, "ttl").name == "ttl"


def test_a_missing_plugin_says_what_to_install_and_what_there_is(distributions: Any) -> None:
    distributions.add("acme-plugin", POINTS, GOOD)
    with pytest.raises(PluginError, match="no installed distribution offers the backend 'vualt'") as caught:
        Catalogue().load(Kind.BACKEND, "vualt")
    assert caught.value.code == "plugin_missing"
    assert "acme" in caught.value.hint
    assert "memory" in caught.value.hint


@pytest.mark.parametrize(
    ("kind", "name", "distribution"),
    [
        (Kind.AUDIT_SINK, "jsonl", "strongroom-audit-jsonl"),
        (Kind.CACHE_POLICY, "refresh", "strongroom-cache-refresh"),
        (Kind.ROTATOR, "vault-pki", "strongroom-vault"),
    ],
)
def test_a_missing_part_of_ours_names_the_distribution_it_comes_with(
    kind: Kind, name: str, distribution: str, distributions: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRONGROOM_NO_PLUGINS", "1")
    with pytest.raises(PluginError) as caught:
        Catalogue().load(kind, name)
    assert caught.value.hint.startswith(f"pip install {distribution}, or ")


def test_a_misspelt_part_is_corrected_and_nothing_of_that_name_is_to_be_installed(distributions: Any) -> None:
    with pytest.raises(PluginError) as caught:
        Catalogue().load(Kind.BACKEND, "vualt")
    assert "'vault'" in caught.value.hint
    assert "pip install" not in caught.value.hint


def test_nobody_is_told_to_install_a_distribution_that_nobody_knows(distributions: Any) -> None:
    with pytest.raises(PluginError) as caught:
        Catalogue().load(Kind.BACKEND, "somethingelse")
    assert "pip install" not in caught.value.hint
    assert "install the distribution that offers it" in caught.value.hint


BROKEN = {
    "ImportError": ("import no_such_module_anywhere", "ModuleNotFoundError: No module named"),
    "SystemExit": ("raise SystemExit(3)", "SystemExit: 3"),
    "SyntaxError": ("def", "SyntaxError"),
    "no hook": ("x = 1", "has no function strongroom_backends marked with @hookimpl"),
    "unmarked hook": (GOOD.replace("@hookimpl", ""), "has no function strongroom_backends marked with @hookimpl"),
    "unknown argument": (GOOD.replace("strongroom_backends()", "strongroom_backends(config)"), "TypeError"),
    "wrong class": (GOOD.replace("BackendSpec(", "dict("), "gave a dict instead of a BackendSpec"),
    "another name": (GOOD.replace('name="acme"', 'name="emca"'), "describes 'emca', which is not the name"),
    "nothing": (
        GOOD.replace("    yield BackendSpec(", "    return iter(())\n    yield BackendSpec("),
        "describes nothing",
    ),
    "half": (GOOD + "    raise RuntimeError('half way')\n", "RuntimeError: half way"),
    "not iterable": (GOOD.replace("    yield BackendSpec(", "    return 7\n    BackendSpec("), "TypeError"),
}


class TestBroken:
    """A broken plugin is a record, and an error only where it is asked for."""

    @pytest.mark.parametrize("kind", BROKEN)
    def test_it_is_listed_with_its_error_and_named_when_asked_for(self, kind: str, distributions: Any) -> None:
        source, reason = BROKEN[kind]
        distributions.add("acme-plugin", POINTS, source)
        state, error = state_of("acme")
        assert state == "broken"
        assert reason in error
        with pytest.raises(PluginError, match=r"'acme' of acme-plugin 1\.0 is broken") as caught:
            Catalogue().load(Kind.BACKEND, "acme")
        assert caught.value.code == "plugin_broken"
        assert reason in caught.value.what

    @pytest.mark.parametrize("kind", BROKEN)
    def test_what_does_not_need_it_works(self, kind: str, distributions: Any) -> None:
        distributions.add("acme-plugin", POINTS, BROKEN[kind][0])
        config = {"audit": "none", "backends": {"memory": {"type": "memory"}}}
        with strongroom.open(config) as manager:
            manager.set("a", "v")
            assert manager.get("a").reveal_text() == "v"
        assert "acme_plugin" not in sys.modules

    @pytest.mark.parametrize(
        ("group", "tables"),
        [
            ("strongroom.backends", {"backends": {"b": {"type": "acme"}}}),
            ("strongroom.cache_policies", {"cache": {"policy": "acme"}}),
            ("strongroom.audit_sinks", {"audit": [{"type": "acme"}]}),
            ("strongroom.anomaly_detectors", {"anomaly": [{"type": "acme", "action": "block"}]}),
        ],
    )
    def test_what_needs_it_fails_with_its_name(self, group: str, tables: dict[str, Any], distributions: Any) -> None:
        distributions.add("acme-plugin", {group: {"acme": "acme_plugin"}}, "raise ImportError('gone')")
        config = {"audit": "none", "backends": {"b": {"type": "memory"}}} | tables
        with pytest.raises(PluginError, match=r"of acme-plugin 1\.0 is broken: ImportError: gone"):
            strongroom.open(config).get("a")

    def test_ctrl_c_during_an_import_is_not_a_broken_plugin(self, distributions: Any) -> None:
        distributions.add("acme-plugin", POINTS, "raise KeyboardInterrupt")
        with pytest.raises(KeyboardInterrupt):
            Catalogue().load(Kind.BACKEND, "acme")


class TestRequirement:
    """The stated requirement on the core is read before anything is imported."""

    @pytest.mark.parametrize(
        ("requires", "fits"),
        [
            ("strongroom>=0.1,<1", True),
            ("strongroom>=0.1.0", True),
            ("strongroom>=9", False),
            ("strongroom<0.1", False),
            ("strongroom (>=0.0.1,<0.1)", False),
            ("strongroom>0.1.0", False),
            ("strongroom<=0.1", True),
            ("strongroom==0.1.0", True),
            ("strongroom==9.1", False),
            ("strongroom==0.*", True),
            ("strongroom==9.*", False),
            ("strongroom!=0.1.0", False),
            ("strongroom~=0.1", True),
            ("strongroom~=0.0.9", False),
            ("strongroom[testing]>=9", False),
            ("strongroom", True),
            ("strongroom-local>=9", True),
            ("strongroom>=9; extra == 'tomorrow'", True),
        ],
    )
    def test_it_is_compared(self, requires: str, fits: bool, distributions: Any, monkeypatch: Any) -> None:
        monkeypatch.setattr("strongroom.discovery._core_version", lambda folders: "0.1.0")
        distributions.add(
            "acme-plugin", POINTS, GOOD if fits else "raise AssertionError('imported')", requires=requires
        )
        if fits:
            assert state_of("acme") == ("ok", "")
        else:
            with pytest.raises(PluginError, match=r"it needs strongroom.*, and strongroom is 0.1.0"):
                Catalogue().load(Kind.BACKEND, "acme")
            assert "acme_plugin" not in sys.modules

    def test_a_readme_that_speaks_of_a_requirement_is_not_one(self, distributions: Any) -> None:
        distributions.add("acme-plugin", POINTS, GOOD, description="Use:\n\nRequires-Dist: strongroom>=9\n")
        assert state_of("acme") == ("ok", "")

    def test_the_core_knows_its_own_version(self) -> None:
        assert Catalogue()._core_version == metadata.version("strongroom")

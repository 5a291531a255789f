"""What every plugin's module promises, whatever it offers, as checks."""

from __future__ import annotations

import ast
import inspect
import itertools
import json
import subprocess
import sys
import textwrap

from importlib import import_module, metadata
from typing import Any, ClassVar

import pytest

from strongroom import hookspecs
from strongroom.contracts import CommandSpec, Record
from strongroom.hookspecs import MARKER, PROJECT, hookimpl
from strongroom.testing.promises import must_override, promised_by

_LIST_LOADED = """
import importlib, json, sys
module = importlib.import_module({module!r})
for hook in {hooks!r}:
    list(getattr(module, hook)())
print(json.dumps([name for name in {heavy!r} if name in sys.modules]))
"""


class PluginContract:
    """Everything that a plugin's module promises; state ``module``, and what is heavy.

    Attributes:
        module: The module that the entry points name.
        heavy: Modules that must not be loaded by it, such as the client library.

    Example:
        .. code-block:: python

            class TestPlugin(PluginContract):
                module = "strongroom_acme.plugin"
                heavy = ("acme_client",)
    """

    module: ClassVar[str]
    heavy: ClassVar[tuple[str, ...]] = ()

    @pytest.fixture
    @promised_by(hookimpl)
    def hooks(self) -> dict[str, Any]:
        """The module can be imported, and its hooks are found by their names.

        A plugin that cannot be imported is listed as broken, and an error wherever a configuration asks for it.
        """
        if not hasattr(self, "module"):
            must_override(self, "the attribute `module`", "it is the name of the module that the entry points name")
        content = vars(import_module(self.module))
        return {name: item for name, item in content.items() if getattr(item, MARKER, {}).get("implementation")}

    @pytest.fixture
    @promised_by(hookimpl)
    def specs(self, hooks: dict[str, Any]) -> list[Any]:
        """Each hook can be called, and yields its descriptions.

        A hook that raises offers nothing, and the plugin is listed as broken.
        """
        return [spec for hook in hooks.values() for spec in hook()]

    @promised_by(hookimpl)
    def test_the_module_implements_a_hook(self, hooks: dict[str, Any]) -> None:
        """The module has a function that is marked with ``@hookimpl``.

        Otherwise its entry point leads nowhere, and nothing is offered.
        """
        assert hooks, f"{self.module} has no function marked with @hookimpl"

    @promised_by(hookimpl)
    def test_each_hook_is_one_that_strongroom_knows(self, hooks: dict[str, Any]) -> None:
        """Each function that is marked with ``@hookimpl`` has the name of one of the hooks.

        A misspelt hook would never be called, and nobody would say so.
        """
        known = {name for name in vars(hookspecs) if name.startswith(f"{PROJECT}_")}
        assert set(hooks) <= known, f"unknown hooks; strongroom has {', '.join(sorted(known))}"

    @promised_by(hookimpl)
    def test_hooks_take_no_arguments(self, hooks: dict[str, Any]) -> None:
        """Each hook is a function without parameters.

        Secrets never travel through a hook, so nothing is handed to it; the call would fail.
        """
        for name, hook in hooks.items():
            assert not inspect.signature(hook).parameters, f"{name} takes arguments"

    @promised_by(hookimpl)
    def test_hooks_are_documented(self, hooks: dict[str, Any]) -> None:
        """Each hook has a docstring that says what is offered.

        Whoever decides whether to trust a plugin begins there.
        """
        for name, hook in hooks.items():
            assert inspect.getdoc(hook), f"{name} has no docstring"

    @promised_by(hookimpl)
    def test_the_module_loads_nothing_heavy(self, hooks: dict[str, Any]) -> None:
        """Importing the module and calling its hooks loads none of what the class states as ``heavy``.

        ``strongroom plugins`` imports every plugin, and each command the configured ones: a client library would slow
        them all.
        """
        program = _LIST_LOADED.format(module=self.module, hooks=list(hooks), heavy=list(self.heavy))
        done = subprocess.run(  # noqa: S603  # the program is the one above, run by this very interpreter
            [sys.executable, "-c", program], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"importing {self.module} failed in a fresh interpreter:\n{done.stderr}"
        loaded = json.loads(done.stdout)
        assert loaded == [], "import these in the function that opens the plugin instead"

    @promised_by(hookimpl)
    def test_each_description_is_a_record(self, specs: list[Any]) -> None:
        """A hook yields descriptions, such as ``BackendSpec``, and no live objects.

        What is described is opened only when a configuration asks for it.
        """
        for spec in specs:
            assert isinstance(spec, Record), f"a hook gave a {type(spec).__name__}"

    @promised_by(hookimpl)
    def test_names_are_unique(self, specs: list[Any]) -> None:
        """The names that are offered differ within each kind.

        A configuration chooses by the name, and could reach only one of the two.
        """
        names = [(spec.kind, spec.name) for spec in specs]
        assert len(names) == len(set(names)), f"a name comes twice: {names}"

    @promised_by(hookimpl)
    def test_each_name_is_an_entry_point(self, hooks: dict[str, Any]) -> None:
        """The names offered are those of the entry points of their group that lead to this module.

        By the entry point the core finds which module to import for a name, without importing the others.
        """
        for hook_name, hook in hooks.items():
            group = hook_name.replace("_", ".", 1)
            leading_here = {point.name for point in _entry_points(group) if point.module == self.module}
            assert {spec.name for spec in hook()} == leading_here, f"compare with [project.entry-points.{group!r}]"

    @promised_by(hookimpl)
    def test_each_summary_is_one_sentence(self, specs: list[Any]) -> None:
        """Each summary is one line, and ends with a full stop.

        It is shown in a list, beside those of others.
        """
        for spec in specs:
            assert spec.summary.strip(), f"{spec.name} has no summary"
            assert spec.summary.endswith("."), f"the summary of {spec.name} does not end with a full stop"
            assert "\n" not in spec.summary, f"the summary of {spec.name} has several lines"

    @promised_by(hookimpl)
    def test_each_plugin_can_be_opened(self, specs: list[Any]) -> None:
        """``open`` can be called with the settings alone; the ``run`` of a command with its call alone.

        The core gives nothing else, so that secrets of other plugins never get there.
        """
        for spec in specs:
            # A command has no part that is opened: it is run, with the call alone.
            opener = spec.run if isinstance(spec, CommandSpec) else spec.open
            assert callable(opener), f"open of {spec.name} cannot be called"
            required = [
                parameter
                for parameter in inspect.signature(opener).parameters.values()
                if parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD
            ]
            assert len(required) == 1, f"open of {spec.name} must take the settings alone"

    @promised_by(hookimpl)
    def test_settings_are_a_record_or_an_attrs_class(self, specs: list[Any]) -> None:
        """The settings are a ``Record`` or an attrs class.

        From its annotations the core knows what a configuration may say, and checks that before anything is opened.
        """
        for spec in specs:
            assert isinstance(spec.settings, type), f"settings of {spec.name} is not a class"
            assert _field_names(spec.settings) is not None, (
                f"{spec.settings.__name__} is neither a strongroom Record nor an attrs class"
            )

    @promised_by(hookimpl)
    def test_settings_are_documented(self, specs: list[Any]) -> None:
        """The class of the settings has a docstring, and each field a string below it.

        The reference of settings is made from these, and nobody can guess what a setting means.
        """
        for spec in specs:
            assert spec.settings.__doc__, f"{spec.settings.__name__} has no docstring"
            missing = set(_field_names(spec.settings) or ()) - _documented_fields(spec.settings)
            assert not missing, f"undocumented settings in {spec.settings.__name__}: put a string below each"

    @promised_by(hookimpl)
    def test_settings_are_immutable(self, specs: list[Any]) -> None:
        """Settings cannot be changed once they are made.

        They have been checked; what is changed afterwards has not been.
        """
        for spec in specs:
            for name in (_field_names(spec.settings) or ())[:1]:
                blank = spec.settings.__new__(spec.settings)
                with pytest.raises(AttributeError):
                    setattr(blank, name, None)

    @promised_by(hookimpl)
    def test_the_distribution_requires_strongroom(self, hooks: dict[str, Any]) -> None:
        """The distribution requires ``strongroom`` in versions that this one is among.

        The core reads that before it imports the plugin, and says so in a sentence if it does not fit.
        """
        for distribution in self._distributions(hooks):
            if distribution.name == PROJECT:
                continue
            stated = _requirement_on_core(distribution)
            assert stated is not None, f"{distribution.name} does not require {PROJECT} in its dependencies"
            assert stated.specifier, f"{distribution.name} does not say which versions of {PROJECT} it needs"
            assert stated.specifier.contains(metadata.version(PROJECT), prereleases=True), (
                f"{distribution.name} excludes the installed {PROJECT}"
            )

    def _distributions(self, hooks: dict[str, Any]) -> list[metadata.Distribution]:
        points = [point for name in hooks for point in _entry_points(name.replace("_", ".", 1))]
        found = {point.dist.name: point.dist for point in points if point.module == self.module and point.dist}
        assert found, f"no installed distribution has an entry point that leads to {self.module}"
        return list(found.values())


def _entry_points(group: str) -> list[metadata.EntryPoint]:
    return list(metadata.entry_points(group=group))


def _requirement_on_core(distribution: metadata.Distribution) -> Any:
    # Imported here: pytest depends on it, so whoever runs this contract has it.
    from packaging.requirements import Requirement

    stated = map(Requirement, distribution.requires or ())
    return next((requirement for requirement in stated if requirement.name == PROJECT), None)


def _field_names(settings: type[Any]) -> tuple[str, ...] | None:
    """Return the settings' names, or nothing if the class is of neither kind."""
    if issubclass(settings, Record):
        return settings._fields
    fields = getattr(settings, "__attrs_attrs__", None)
    return None if fields is None else tuple(field.name for field in fields)


def _documented_fields(settings: type[Any]) -> set[str]:
    """Return the fields that have a string below them in the source of the class or of its bases."""
    documented: set[str] = set()
    for base in settings.__mro__:
        if base is not Record and _field_names(base) is not None:
            tree = ast.parse(textwrap.dedent(inspect.getsource(base)))
            documented |= _documented_in(tree.body[0])
    return documented


def _documented_in(definition: ast.stmt) -> set[str]:
    body = getattr(definition, "body", [])
    return {
        field.target.id
        for field, below in itertools.pairwise(body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and _is_text(below)
    }


def _is_text(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
        and bool(statement.value.value.strip())
    )

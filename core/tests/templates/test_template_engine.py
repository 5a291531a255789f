"""A template gets secrets and nothing else, and what goes wrong in it is told without a value."""

from __future__ import annotations

import importlib.metadata
import os
import sys

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from strongroom.errors import (
    AccessDeniedError,
    ConfigurationError,
    InvalidNameError,
    InvalidValueError,
    StrongroomError,
)
from strongroom.model import SecretValue
from strongroom.templates.engine import Engine
from strongroom.templates.files import Files, Source
from strongroom.templates.reads import Reads

VALUE = "wh1sper-{{ 7 * 7 }}"
SECRETS = {"db/password": VALUE, "db/config": '{"user": "shop", "port": 5432}'}
Render = Callable[..., str]

# Each would lead out of the template in a Python that lets it.
ESCAPES = [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ secret('db/password').__class__ }}",
    "{{ secret.__globals__ }}",
    "{{ secret.__self__ }}",
    "{{ secret.__func__.__code__ }}",
    "{{ secret.__self__._manager }}",
    "{{ names['__globals__'] }}",
    "{{ secret|attr('__self__') }}",
    "{{ secret|attr('__se' ~ 'lf__') }}",
    "{{ secret|attr(attribute='__self__')|string }}",
    "{{ [secret]|map(attribute='__self__')|first }}",
    "{{ ['__self__']|map('attr', secret)|list }}",
    "{{ '{0.__class__}'.format(secret) }}",
    "{{ '{0.__self__}'.format(secret) }}",
    "{{ '{x.__self__}'.format_map({'x': secret}) }}",
    "{{ ('{0.__self__}'|attr('format'))(secret) }}",
    "{% set f = '{0.__self__}'.format %}{{ f(secret) }}",
    "{{ (['{0.__self__}']|map('attr', 'format')|first)(secret) }}",
    "{{ self._TemplateReference__context }}",
    "{{ self.__init__.__globals__ }}",
    "{{ lipsum.__globals__ }}",
    "{{ cycler.__init__ }}",
    "{{ joiner.__init__ }}",
    "{{ config }}",
    "{{ request }}",
    "{{ __builtins__ }}",
    "{{ namespace.__init__.__globals__ }}",
    "{{ dict.__mro__ }}",
    "{{ range.__globals__ }}",
    "{% for x in [1] %}{{ loop.__class__ }}{% endfor %}",
    "{% macro m() %}{{ caller.__func__ }}{% endmacro %}{% call m() %}{% endcall %}",
    "{{ (secret for x in [1]) }}",
    "{% set secret.x = 1 %}",
    "{% set ns = namespace() %}{% set ns.__class__ = 1 %}{{ ns.__class__ }}",
    "{{ {}.update({'a': 1}) }}",
    "{% set l = [] %}{{ l.append(1) }}",
    "{{ range(100001)|list }}",
    "{{ secret('db/password').encode('rot13') }}",
]


def trouble(render: Render, text: str, secrets: dict[str, str] | None = None) -> StrongroomError:
    """Return the error that a template ends in; nothing of a value is in it, nor in what it carries along."""
    with pytest.raises(StrongroomError) as raised:
        render(text, SECRETS if secrets is None else secrets)
    error = raised.value
    shown = "\n".join([str(error), *getattr(error, "__notes__", ())])
    assert "wh1sper" not in shown
    assert (error.__cause__, error.__context__) == (None, None)
    return error


class TestSecrets:
    def test_a_value_is_never_interpreted(self, render: Render) -> None:
        assert render("{{ secret('db/password') }}", SECRETS) == VALUE

    def test_a_member_of_a_json_object(self, render: Render) -> None:
        text = "{{ secret('db/config', field='user') }}:{{ reference('strongroom://db/config#port') }}"
        assert render(text, SECRETS) == "shop:5432"

    def test_an_older_version(self, open_manager: Any) -> None:
        manager = open_manager()
        manager.set("a", "first")
        manager.set("a", "second")
        source = Source(label="x", text="{{ secret('a') }} {{ secret('a', version='1') }} {{ secret('a', version=2) }}")
        assert Engine(Files(), Reads(manager)).render(source) == b"second first second"

    def test_names_are_those_that_may_be_listed(self, open_manager: Any) -> None:
        rule = {"principal": "tester", "effect": "allow", "actions": ["read", "list"], "names": ["db/user"]}
        manager = open_manager({"db/user": "app", "db/password": "x"}, policies=[rule])
        source = Source(label="x", text="{% for one in names('db/') %}{{ one }}={{ secret(one) }}{% endfor %}")
        assert Engine(Files(), Reads(manager)).render(source) == b"db/user=app"

    def test_one_rendering_has_one_version_of_a_name(self, hooked: Any, open_manager: Any) -> None:
        """Also without a cache, and in several templates."""
        manager = open_manager(backends={"memory": hooked}, cache={"policy": "none"})
        hooked.on_read = lambda request: hooked.reads.count(request.name) == 1 or pytest.fail("it was read again")
        reads = Reads(manager)
        text = "{{ secret('db/password') }} {{ secret('db/password') }} {{ reference('strongroom://db/password') }}"
        engine = Engine(Files(), reads)
        assert engine.render(Source(label="a", text=text)) == engine.render(Source(label="b", text=text))
        assert reads.used == {"db/password"}

    def test_only_what_is_used_is_read(self, hooked: Any, open_manager: Any) -> None:
        text = "{% if secret('db/user') == 'app' %}yes{% else %}{{ secret('db/password') }}{% endif %}"
        manager = open_manager(backends={"memory": hooked})
        assert Engine(Files(), Reads(manager)).render(Source(label="a", text=text)) == b"yes"
        assert hooked.reads == ["db/user"]

    def test_bytes_stand_in_a_text_in_base64_only(self, open_manager: Any) -> None:
        manager = open_manager()
        manager.set("key", SecretValue(b"\xff\x00"))
        engine = Engine(Files(), Reads(manager))
        assert engine.render(Source(label="a", text="{{ secret_bytes('key') | b64encode }}")) == b"/wA="
        for text, hint in {
            "{{ secret('key') }}": "secret_bytes",
            "{{ secret_bytes('key') }}": "b64encode",
            "{{ 'x' ~ secret_bytes('key') }}": "b64encode",
            "{{ [secret_bytes('key')] | join }}": "b64encode",
            "{{ secret_bytes('key') | json }}": "b64encode",
        }.items():
            with pytest.raises(InvalidValueError, match=hint):
                engine.render(Source(label="a", text=text))
        shown = engine.render(Source(label="a", text="{{ [secret_bytes('key')] | string }}"))
        assert shown == b"[<bytes: hidden>]"


class TestText:
    def test_a_final_line_feed_stays_and_lines_of_blocks_go(self, render: Render) -> None:
        text = "a\n{% for one in [1, 2] %}\n  {% if one == 2 %}\n  - {{ one }}\n  {% endif %}\n{% endfor %}\n"
        assert render(text) == "a\n  - 2\n"

    def test_ends_of_lines_stay(self, render: Render) -> None:
        assert render("a\r\n{{ 1 }}\r\n") == "a\r\n1\r\n"
        assert render("a\n{{ secret('x') }}\n", {"x": "1\r\n2"}) == "a\n1\r\n2\n"

    def test_nothing_is_escaped_as_in_html(self, render: Render) -> None:
        assert render("{{ secret('x') }}<&>", {"x": "<&>'\""}) == "<&>'\"<&>"

    @pytest.mark.parametrize("text", ["{{ none }}", "{{ [1] }}", "{{ {} }}", "{{ secret }}", "{{ names() }}"])
    def test_what_is_no_text_does_not_become_one_by_itself(self, render: Render, text: str) -> None:
        assert "page.j2, line 1" in trouble(render, text).__notes__[0]


class TestIncludes:
    def test_a_template_includes_what_is_in_its_folder(self, render: Render, tmp_path: Path) -> None:
        (tmp_path / "part").mkdir()
        (tmp_path / "part/one.j2").write_text("{% macro line(name) %}{{ name }}={{ secret(name) }}{% endmacro %}")
        (tmp_path / "base.j2").write_text("<{% block body %}{% endblock %}>")
        text = (
            "{% extends 'base.j2' %}{% from 'part/one.j2' import line %}{% block body %}{{ line('x') }}{% endblock %}"
        )
        assert render(text, {"x": "1"}) == "<x=1>"

    @pytest.mark.parametrize(
        "path",
        ["../out.j2", "/etc/passwd", "sub/../../out.j2", "./out.j2", "link.j2", "folder/out.j2", "sub", "no", ""],
    )
    def test_nothing_leads_out_of_the_folder(self, render: Render, tmp_path: Path, path: str) -> None:
        (tmp_path / "sub").mkdir()
        outside = tmp_path.parent / f"{tmp_path.name}-outside"
        outside.mkdir()
        for place in (outside / "out.j2", tmp_path.parent / "out.j2"):
            place.write_text("outside")
        (tmp_path / "link.j2").symlink_to(outside / "out.j2")
        (tmp_path / "folder").symlink_to(outside)
        error = trouble(render, f"\n{{% include '{path}' %}}")
        assert str(error).startswith(f"page.j2, line 2 includes {path or 'another template'}, which is not there")

    def test_a_link_within_the_folder_is_followed(self, render: Render, tmp_path: Path) -> None:
        """As in a volume of a Kubernetes ConfigMap."""
        (tmp_path / "..1").mkdir()
        (tmp_path / "..1/part.j2").write_text("inside")
        (tmp_path / "..data").symlink_to("..1")
        (tmp_path / "part.j2").symlink_to("..data/part.j2")
        assert render("{% include 'part.j2' %}") == "inside"

    def test_a_pipe_is_not_waited_for(self, render: Render, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        assert "which is not there" in str(trouble(render, "{% include 'pipe' %}"))

    def test_a_template_of_standard_input_includes_nothing(self, open_manager: Any) -> None:
        with pytest.raises(ConfigurationError, match="not there"):
            Engine(Files(), Reads(open_manager())).render(Source(label="x", text="{% include 'a' %}"))


class TestErrors:
    @pytest.mark.parametrize("text", ESCAPES)
    def test_no_way_leads_out_of_the_sandbox(self, render: Render, text: str) -> None:
        trouble(render, text)

    @pytest.mark.parametrize(
        "text",
        [
            "{{ {}[secret('db/password')] }}",
            "{{ secret('db/password')[secret('db/password')] }}",
            "{{ secret('db/password').nothing }}",
            "{{ secret('db/password')|attr(secret('db/password')) }}",
            "{{ [1]|map(secret('db/password'))|list }}",
            "{{ 1 + secret('db/password') }}",
            "{{ secret('db/password') / 2 }}",
            "{% include secret('db/password') %}",
            "{% include [secret('db/password'), 'x'] %}",
            "{% import secret('db/password') as x %}",
            "{{ secret(secret('db/password')) }}",
            "{{ secret(secret('db/password') ~ '/x') }}",
            "{{ secret('db/config', field=secret('db/password')) }}",
            "{{ secret('db/config', field=secret('db/password')[:8]) }}",
            "{{ secret('db/config', field=secret('db/password') | upper | lower) }}",
            "{{ secret('db/config', version=secret('db/password') ~ 1) }}",
            "{{ names(secret('db/password') ~ '/../') }}",
            "{{ secret('db/config', version=secret('db/password')) }}",
            "{{ names(secret('db/password')) }}",
            "{{ reference(secret('db/password')) }}",
            "{{ reference('strongroom://' ~ secret('db/password')) }}",
            "{{ secret_bytes('db/password') }}",
            "{{ [secret('db/password')] }}",
            "{{ secret('db/password') ~ '\\ud800' }}",
            "{{ (secret('db/password') ~ '\\ud800') | urlencode }}",
            "{{ {'a': secret_bytes('db/password')} | json }}",
            "{{ '%d' | format(secret('db/password')) }}",
            "{% set a, b = secret('db/password').split('x', 3) %}",
            "{% macro m() %}{{ m() ~ secret('db/password') }}{% endmacro %}{{ m() }}",
        ],
    )
    def test_no_error_quotes_a_value(self, render: Render, text: str) -> None:
        trouble(render, text)

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("\n{% if %}", "page.j2, line 2 is no sound template"),
            ("\n\n{{ pasword }}", "page.j2, line 3 uses pasword, which nothing defines"),
            ("\n{{ secret('db/config').user }}", "page.j2, line 2 uses a member that is not there"),
            ("{{ secret('x') | jsn }}", "page.j2, line 1 is no sound template: No filter named 'jsn'"),
            ("\n{{ 1 / 0 }}", "page.j2, line 2 cannot be evaluated (ZeroDivisionError)"),
            ("\n{{ secret.__self__ }}", "page.j2, line 2 does what the sandbox forbids"),
            ("{{ '\\udc00' }}", "page.j2 cannot be evaluated (UnicodeEncodeError)"),
        ],
    )
    def test_an_error_names_the_place_and_the_reason(self, render: Render, text: str, told: str) -> None:
        error = trouble(render, text)
        assert isinstance(error, ConfigurationError)
        assert str(error).startswith(told)

    def test_what_cannot_be_read_is_the_error_itself_with_its_place(self, render: Render, tmp_path: Path) -> None:
        (tmp_path / "part.j2").write_text("\n\n{{ secret('db/nothing') }}")
        error = trouble(render, "\n{% include 'part.j2' %}")
        assert (error.code, error.name) == ("not_found", "db/nothing")
        assert error.__notes__ == [f"see {tmp_path}/part.j2, line 3"]

    def test_a_name_that_holds_a_value_by_chance_is_told(self, render: Render) -> None:
        error = trouble(render, "{{ secret('user') }} {{ secret('shop/password') }}", {"user": "shop"})
        assert error.code == "not_found"

    def test_a_name_that_is_put_together_is_told_if_no_value_was_read_before(self, render: Render) -> None:
        text = "{% for one in ['nothing'] %}{{ secret('db/' ~ one) }}{% endfor %}"
        assert trouble(render, text).name == "db/nothing"
        error = trouble(render, "{{ secret('db/config') }}\n" + text)
        assert (error.name, error.code) == (None, "not_found")
        assert str(error).startswith("page.j2, line 2 asks for something by a name that it puts together")

    def test_a_name_that_was_listed_is_told(self, open_manager: Any) -> None:
        rule = {"principal": "tester", "effect": "allow", "actions": ["list"], "names": ["**"]}
        read = {"principal": "tester", "effect": "allow", "actions": ["read"], "names": ["db/a"]}
        reads = Reads(open_manager({"db/a": "1", "db/b": "2"}, policies=[rule, read]))
        source = Source(label="x", text="{% for one in names() %}{{ secret(one) }}{% endfor %}")
        with pytest.raises(AccessDeniedError, match="db/b"):
            Engine(Files(), reads).render(source)

    def test_a_name_must_be_a_text(self, render: Render) -> None:
        for text in ("{{ secret([]) }}", "{{ secret(none) }}", "{{ secret('db/config', version=true) }}"):
            assert isinstance(trouble(render, text), InvalidNameError)

    def test_a_file_that_is_included_is_named_if_it_is_not_sound(self, render: Render, tmp_path: Path) -> None:
        (tmp_path / "part.j2").write_text("\n{% for %}")
        assert str(trouble(render, "{% include 'part.j2' %}")).startswith(f"{tmp_path}/part.j2, line 2 is no sound")

    def test_without_jinja2_the_error_says_what_to_install(
        self, render: Render, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for module in ("jinja2", "jinja2.sandbox"):
            monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(ConfigurationError, match=r'pip install "strongroom\[render\]"'):
            render("")

    @pytest.mark.parametrize(
        ("version", "sound"), [("3.1.5", False), ("3.1", False), ("3.1.6", True), ("3.2.0rc1", True)]
    )
    def test_a_jinja2_whose_sandbox_has_holes_is_refused(
        self, render: Render, monkeypatch: pytest.MonkeyPatch, version: str, sound: bool
    ) -> None:
        monkeypatch.setattr(importlib.metadata, "version", lambda _: version)
        if sound:
            assert render("text") == "text"
        else:
            assert str(trouble(render, "text")).startswith(f"the sandbox of Jinja2 {version} has known holes")

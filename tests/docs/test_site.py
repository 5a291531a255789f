"""The documentation as a site: every page is there, every link leads somewhere, and it works without a network."""

import contextlib
import io
import json
import os
import re
import tomllib

from collections.abc import Callable, Iterator
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pytest

import strongroom
import strongroom.errors

from _workspace import ROOT, distributions, metadata
from browser import Browser, launched
from docsite import Document, build, built_once, copy_of_the_repository, parsed, run
from strongroom.cli import main as cli
from strongroom.errors import StrongroomError

if TYPE_CHECKING:
    from playwright.sync_api import Page

DENSE = [
    "index.html",
    "tutorial.html",
    "troubleshooting.html",
    "how-to/rotate-secrets.html",
    "reference/configuration.html",
    "reference/errors/rotation_in_progress.html",
    "reference/settings/backends-vault/timeout.html",
    "reference/commands/audit-verify.html",
    "reference/api/SecretManager.html",
    "reference/contracts/Backend.html",
    "reference/distributions/strongroom-vault.html",
    "explanation/the-way-of-a-read.html",
]
"""One page of each kind, those with long words and wide tables among them."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built_once(tmp_path_factory)


@pytest.fixture(scope="module")
def documents(site: Path) -> dict[str, Document]:
    """Every page by its path."""
    return {str(page.relative_to(site)): parsed(page) for page in sorted(site.rglob("*.html"))}


def target_of(page: str, link: str) -> tuple[str, str]:
    """Return the path and the anchor that a link leads to."""
    path, _, anchor = link.partition("#")
    return os.path.normpath(os.path.join(os.path.dirname(page), unquote(path))) if path else page, unquote(anchor)


def is_outside(link: str) -> bool:
    return bool(re.match(r"[a-z]+:", link))


class TestPages:
    """There is one for everything that somebody may look up."""

    def test_each_distribution_has_a_page(self, documents: dict[str, Document]) -> None:
        for folder in distributions():
            name = metadata(folder)["project"]["name"]
            page = documents[f"reference/distributions/{name}.html"]
            assert page.title == name
            assert page.detail("version") == metadata(folder)["project"]["version"]
            assert "changelog" in page.ids

    def test_each_hook_has_a_page(self, documents: dict[str, Document]) -> None:
        hooks = re.findall(r"^def (strongroom_\w+)", (ROOT / "core/src/strongroom/hookspecs.py").read_text(), re.M)
        assert len(hooks) >= 7
        assert {f"hooks/{hook}.html" for hook in hooks} <= set(documents)

    def test_each_error_code_has_a_page_with_its_class_and_status(self, documents: dict[str, Document]) -> None:
        classes = [one for one in vars(strongroom.errors).values() if isinstance(one, type)]
        ours = [one for one in classes if issubclass(one, StrongroomError)]
        for kind, code in [(one, code) for one in ours for code in one.codes]:
            page = documents[f"reference/errors/{code}.html"]
            assert page.title == code
            assert page.detail("class").startswith(kind.__name__)
            assert page.detail("exit status") == str(kind.exit_status)

    def test_an_error_names_the_distributions_that_raise_it(self, documents: dict[str, Document]) -> None:
        assert documents["reference/errors/sealed.html"].detail("raised by") == "strongroom-vault"
        assert "strongroom-aws" in documents["reference/errors/rate_limited.html"].detail("raised by")

    def test_each_command_has_a_page_those_of_plugins_too(self, documents: dict[str, Document]) -> None:
        for name in [*cli.COMMANDS, "audit verify", "rotation status", "agent", "agent token"]:
            page = documents[f"reference/commands/{name.replace(' ', '-')}.html"]
            assert page.title == f"strongroom {name}"
        text = "reference/distributions/strongroom-agent.html"
        assert text in [
            target_of("reference/commands/agent.html", link)[0]
            for link in documents["reference/commands/agent.html"].links
        ]

    def test_each_public_name_has_a_page(self, documents: dict[str, Document]) -> None:
        shown = [name for name in strongroom.__all__ if isinstance(getattr(strongroom, name), type | Callable)]
        assert "SecretManager" in shown
        missing = [name for name in shown if f"reference/api/{name}.html" not in documents]
        assert missing == []

    def test_each_setting_at_the_top_and_of_a_plugin_has_a_page(self, documents: dict[str, Document]) -> None:
        schema = json.loads(printed("config", "--schema")[1])["properties"]
        vault = next(
            choice
            for choice in schema["backends"]["additionalProperties"]["anyOf"]
            if choice["properties"]["type"] == {"const": "vault"}
        )
        for key in [*vault["properties"]][1:]:
            assert documents[f"reference/settings/backends-vault/{key}.html"].title == f"backends.NAME.{key} of vault"
        for key, kind in schema.items():
            if kind.get("type") in {"string", "boolean"}:
                assert documents[f"reference/settings/top/{key}.html"].title == key

    def test_every_page_can_be_reached_from_the_first(self, documents: dict[str, Document]) -> None:
        reached, left = {"index.html"}, ["index.html"]
        while left:
            page = left.pop()
            found = {target_of(page, link)[0] for link in documents[page].links if not is_outside(link)}
            left += sorted(found & set(documents) - reached)
            reached |= found & set(documents)
        assert set(documents) - reached - {"search.html"} == set()


class TestLinks:
    """They are followed in what was built."""

    def test_every_link_and_anchor_leads_somewhere(self, documents: dict[str, Document], site: Path) -> None:
        broken = []
        for page, document in documents.items():
            for link in [*document.links, *document.fetched]:
                if is_outside(link):
                    continue
                path, anchor = target_of(page, link.partition("?")[0])
                known = documents.get(path)
                if not (site / path).is_file() or (anchor and known and anchor not in known.ids):
                    broken.append((page, link))
        assert broken == []

    def test_nothing_is_fetched_from_elsewhere(self, documents: dict[str, Document], site: Path) -> None:
        assert [(page, one) for page, found in documents.items() for one in found.fetched if is_outside(one)] == []
        styles = "".join(sheet.read_text() for sheet in site.rglob("*.css"))
        assert re.findall(r"url\(\s*[\"']?(?:https?:)?//", styles) == []
        assert "@import" not in styles

    def test_links_to_elsewhere_are_encrypted(self, documents: dict[str, Document]) -> None:
        outside = {link for document in documents.values() for link in document.links if is_outside(link)}
        assert outside
        assert [link for link in sorted(outside) if not re.match(r"https://[\w.-]+\.[a-z]+(/|$)", link)] == []

    def test_remarks_for_the_tests_are_not_in_the_pages(self, documents: dict[str, Document]) -> None:
        remark = re.compile(r"\s*(not run|file|output|page|settings|end|Made by)\b")
        assert [page for page, found in documents.items() for text in found.comments if remark.match(text)] == []

    def test_what_a_text_names_is_linked(self, documents: dict[str, Document]) -> None:
        def leads(page: str) -> set[str]:
            return {target_of(page, link)[0] for link in documents[page].links}

        assert "reference/commands/rotation-status.html" in leads("reference/errors/rotation_in_progress.html")
        assert "reference/errors/rotation_in_progress.html" in leads("troubleshooting.html")
        assert "reference/settings/backends-vault/timeout.html" in leads("reference/configuration.html")
        assert "reference/errors/invalid_name.html" in leads("reference/api/SecretManager.html")
        assert "how-to/outages.html" in leads("reference/settings/resilience/keep_copy.html")
        assert "how-to/run-a-program.html" in leads("reference/commands/run.html")


def printed(*arguments: str) -> tuple[int, str]:
    """Run the command within this process; return its status and all that it printed."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        try:
            status = cli.main(list(arguments))
        except SystemExit as ended:
            status = int(ended.code or 0)
    return status, output.getvalue()


def completed(example: str) -> str:
    """Return a whole configuration around an example: a backend, and a word about the audit trail."""
    made = example
    if not re.search(r"^audit = |^\[\[audit\]\]", made, re.MULTILINE):
        made = f'audit = "none"\n{made}'
    return made if "[backends.main]" in made else f'{made}\n[backends.main]\ntype = "memory"\n'


def given_by(path: list[str], lines: list[dict[str, Any]], text: str) -> str:
    """Return what gives a setting its value; within a table that is shown as a whole, its value tells that."""
    lengths = range(len(path), 0, -1)
    (line, rest), *_ = [
        (line, path[end:]) for end in lengths for line in lines if line["setting"] == ".".join(path[:end])
    ]
    if rest:
        value = reduce(lambda table, key: table[key], rest, line["value"])
        return "<environment>" if str(value).lower() == text.lower() else line["source"]
    return str(line["source"])


class TestSettings:
    """Each setting's page has an example that a configuration may have, and the variable that overrides it."""

    @pytest.fixture
    def examples(self, documents: dict[str, Document]) -> dict[str, Document]:
        found = {
            name: page for name, page in documents.items() if re.fullmatch(r"reference/settings/[^/]+/\w+\.html", name)
        }
        assert len(found) > 300
        return found

    @pytest.fixture
    def folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, examples: dict[str, Document]) -> Path:
        """A folder with what the examples refer to, and the variables that they do."""
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("HOME", str(tmp_path))
        (tmp_path / "policies.d").mkdir()
        for page in examples.values():
            for variable in re.findall(r'env = "(\w+)"', page.examples[0]):
                monkeypatch.setenv(variable, "example")
        return tmp_path

    def test_each_example_is_valid_and_has_the_setting(self, examples: dict[str, Document], folder: Path) -> None:
        refused = {}
        for name, page in examples.items():
            (example,) = page.examples
            assert Path(name).stem in example or "PREFIX" in name, name
            (folder / "strongroom.toml").write_text(completed(example))
            status, said = printed("--config", "strongroom.toml", "config")
            if status:
                refused[name] = said
        assert refused == {}

    def test_each_variable_overrides_its_setting(
        self, examples: dict[str, Document], folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tried = 0
        for name, page in examples.items():
            variable = page.detail("variable").replace("__NAME__", "__MAIN__")
            if variable == "none":
                continue
            content = completed(page.examples[0])
            path = [part.lower() for part in variable.removeprefix("STRONGROOM_").split("__")]
            value = reduce(lambda table, key: table[key], path, tomllib.loads(content))
            value = value[0] if isinstance(value, list) else value
            (folder / "strongroom.toml").write_text(content)
            with monkeypatch.context() as patched:
                patched.setenv(variable, str(value).lower() if isinstance(value, bool) else str(value))
                status, said = printed("--config", "strongroom.toml", "config", "--json")
            assert status == 0, (name, said)
            assert given_by(path, json.loads(said)["settings"], str(value)).startswith("<environment>"), name
            tried += 1
        assert tried > 100


@pytest.fixture(scope="module")
def browser(site: Path) -> Iterator[Browser]:
    """A browser that may go nowhere but into the folder of the site."""
    with launched(site.as_uri()) as started:
        yield started
        assert started.strayed == []


class TestInABrowser:
    """As a reader has it, without a server and without a network."""

    @pytest.mark.parametrize(
        ("words", "page"),
        [
            ("rotation_in_progress", "reference/errors/rotation_in_progress.html"),
            ("resilience.deadline", "reference/settings/resilience/deadline.html"),
            ("strongroom audit verify", "reference/commands/audit-verify.html"),
            ("SecretManager", "reference/api/SecretManager.html"),
        ],
    )
    def test_the_search_finds_it_first(self, browser: Browser, site: Path, words: str, page: str) -> None:
        from playwright.sync_api import expect

        shown = browser.page()
        shown.goto(f"{site.as_uri()}/index.html")
        box = shown.get_by_role("searchbox").or_(shown.locator("input.sidebar-search")).first
        box.fill(words)
        box.press("Enter")
        expect(shown.locator("#search-results .search-summary")).to_contain_text("found")
        first = shown.locator("#search-results li a").first
        assert (first.get_attribute("href") or "").partition("?")[0].partition("#")[0] == page
        first.click()
        expect(shown.locator("article h1")).to_be_visible()

    def test_no_page_is_wider_than_a_small_screen(self, browser: Browser, site: Path) -> None:
        shown = browser.page(viewport={"width": 375, "height": 800})
        wide = []
        for page in DENSE:
            shown.goto(f"{site.as_uri()}/{page}")
            if shown.evaluate("document.documentElement.scrollWidth") > 375:
                wide.append(page)
        assert wide == []

    @pytest.mark.parametrize(
        ("options", "pages"),
        [
            ({}, [*DENSE[:3], *DENSE[5:8], *DENSE[9:], "search.html"]),
            ({"color_scheme": "dark"}, ["index.html", DENSE[5], DENSE[-1]]),
            ({"viewport": {"width": 375, "height": 800}}, ["index.html", DENSE[2], DENSE[6]]),
        ],
        ids=["light", "dark", "narrow"],
    )
    def test_axe_finds_nothing_serious(
        self, browser: Browser, site: Path, options: dict[str, Any], pages: list[str]
    ) -> None:
        try:
            from axe_playwright_python.sync_playwright import Axe
        except ImportError:
            # It checks what a screen reader gets, and brings a bundle of JavaScript of its own.
            pytest.skip("needs axe-core: pip install axe-playwright-python")

        def serious(page: "Page") -> set[str]:
            found = Axe().run(page).response["violations"]
            return {
                f"{one['id']}: {node['html'][:150]}"
                for one in found
                if one["impact"] in {"serious", "critical"}
                for node in one["nodes"]
            }

        shown = browser.page(**options)
        problems = {}
        for page in pages:
            shown.goto(f"{site.as_uri()}/{page}")
            if found := serious(shown):
                problems[page] = found
        assert problems == {}


@pytest.mark.parametrize(
    ("file", "old", "new", "complaint"),
    [
        ("docs/tutorial.md", "](reference/errors.md)", "](reference/gone.md)", "docs/reference/gone.md"),
        ("docs/troubleshooting.md", "### tls_failed", "#### tls_failed", "tls_failed"),
        ("docs/reference/configuration.md", "| `rate_limit` |", "| `rate_limits` |", "rate_limit"),
        ("docs/index.md", "## Explanation", "## More", "four parts"),
    ],
    ids=["a link", "an error code", "a setting", "a part"],
)
def test_what_is_missing_stops_the_build(
    file: str, old: str, new: str, complaint: str, repository: Path, tmp_path: Path
) -> None:
    page = repository / file
    text = page.read_text()
    assert old in text
    page.write_text(text.replace(old, new))
    done = run(tmp_path / "site", root=repository)
    page.write_text(text)
    assert done.returncode == 1
    assert complaint in done.stderr
    assert not (tmp_path / "site").exists()


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_of_the_repository(tmp_path_factory.mktemp("elsewhere") / "strongroom")


def test_two_builds_are_the_same_bytes(site: Path, repository: Path, tmp_path: Path) -> None:
    """Another folder, other times, another zone, language and order of sets."""
    env = {"TZ": "Asia/Kathmandu", "LC_ALL": "C", "PYTHONHASHSEED": "7", "HOME": str(tmp_path), "COLUMNS": "60"}
    build(tmp_path / "again", root=repository, env=env)

    def content(folder: Path) -> dict[str, bytes]:
        files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
        return {str(file.relative_to(folder)): file.read_bytes() for file in files}

    first, second = content(site), content(tmp_path / "again")
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []
    assert [name for name in first if str(ROOT).encode() in first[name]] == []

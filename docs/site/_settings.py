"""A page for each setting: its key from the schema, what is said of it from the page on the configuration."""

from __future__ import annotations

import contextlib
import re
import textwrap
import tomllib

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from _examples import Wanted, example
from _markdown import cell, table
from _pages import Site, SiteError, outside, read, sections
from _schema import PLACES, SELECTORS, Table, tables

from strongroom.config.merge import COMMAND_TABLES

SOURCE = "docs/reference/configuration.md"
PAGE = "reference/configuration"
PAGES = "reference/settings"
ROW = re.compile(r"^\| (`\w+`(?:, `\w+`)*) \|(.*)\|$", re.MULTILINE)
MARK = re.compile(r"<!-- settings: (\S+) \w+ -->\n\Z")
FIRST = ("ttl", "random", "rate", "local", "jsonl", "command")
"""The plugins that stand for all, where a setting is the core's and each example has to name one."""
UNITS = {
    "duration": "a text with a unit: `ms`, `s`, `m`, `h` or `d`; 0 without one",
    "size": "bytes, or a text with a unit: `KiB`, `MiB` or `GiB`",
}


@dataclass
class Setting:
    """One row of the page on the configuration, and the tables whose key it is.

    Attributes:
        key: The key within its table.
        kind: The type in words.
        default: The default as the page shows it.
        meaning: What it says.
        file: The source of the class that declares it; empty for what the core reads by itself.
        plugins: The plugins of the heading that it stands below; none for all of them.
        beside: The other keys of the same table of the page.
        tables: Where a configuration may have it.
    """

    key: str
    kind: str
    default: str
    meaning: str
    file: str
    plugins: tuple[str, ...]
    beside: frozenset[str]
    tables: list[Table] = field(default_factory=list)

    @property
    def group(self) -> str:
        """The words that its page's name begins with: the table's path and the plugin."""
        first = self.tables[0]
        words = [word for word in re.findall(r"\w+", first.path) if not word.isupper()]
        return "-".join([*words[:1], *([first.plugin] if self.plugins else []), *words[1:]]) or "top"

    @property
    def page(self) -> str:
        """The name of its page."""
        return f"{PAGES}/{self.group}/{self.key}"


def settings() -> list[Setting]:
    """Return every setting.

    Raises:
        SiteError: The page has a key that no configuration may have, or lacks one.
    """
    found = list(_rows())
    for setting in found:
        setting.tables = _matching(setting)
        if not setting.tables:
            raise SiteError(f"{SOURCE} has {setting.key}, which is no setting there")
    covered = {(one.key(setting.key), one.plugin) for setting in found for one in setting.tables}
    for one in tables():
        for key in one.keys:
            if (one.key(key), one.plugin) not in covered and not _shared(found, one, key):
                raise SiteError(f"{SOURCE} does not say what {one.key(key)} of {one.plugin} is")
    return found


def _rows() -> Iterator[Setting]:
    """Yield each setting as the page has it, without its tables."""
    for title, part in sections(read(SOURCE), 2):
        for inner, text in sections(part, 3):
            plugins = re.findall(r'= "([\w-]+)"', inner) or ([] if "[" in inner else re.findall(r"`([\w-]+)`", inner))
            path = (re.findall(r"`\[+(.+?)\]+`", inner) or re.findall(r"`\[+(.+?)\]+`", title) or [""])[0]
            for start, rows in _tables_of(text):
                marked = MARK.search(text[:start])
                keys = frozenset(key for names, _ in rows for key in re.findall(r"\w+", names))
                for names, rest in rows:
                    cells = [part.strip() for part in re.split(r"(?<!\\)\|", rest)]
                    for key in re.findall(r"\w+", names):
                        made = Setting(key, *cells, marked[1] if marked else "", tuple(plugins), keys)
                        made.tables = [one for one in tables() if _is_below(one, path)]
                        yield made


def _tables_of(text: str) -> Iterator[tuple[int, list[tuple[str, str]]]]:
    """Yield where each table of settings starts, and its rows."""
    for found in re.finditer(r"^\| key \|.*\n\| ---.*\n((?:\|.*\n)*)", text, re.MULTILINE):
        yield found.start(), ROW.findall(found[1])


def _is_below(one: Table, path: str) -> bool:
    return one.path == path or (bool(path) and one.path.startswith(f"{path}."))


def _matching(setting: Setting) -> list[Table]:
    """Return the tables that have all keys of the setting's row, else those with its own; no inner ones."""
    near = [one for one in setting.tables if not setting.plugins or one.plugin in setting.plugins]
    whole = [one for one in near if setting.beside <= set(one.keys)] or [one for one in near if setting.key in one.keys]
    depth = min((one.path.count(".") for one in whole), default=0)
    return sorted((one for one in whole if one.path.count(".") == depth), key=lambda one: one.plugin not in FIRST)


def _shared(found: list[Setting], one: Table, key: str) -> bool:
    """Tell whether another table's row of the same distribution is about this key, too; it is noted there."""
    for setting in found:
        same = setting.key == key and setting.file and setting.beside <= set(one.keys)
        if same and setting.tables[0].distribution == one.distribution:
            setting.tables.append(one)
            return True
    return False


def add_settings(site: Site) -> list[Setting]:
    """Add a page for each setting, one for each table, and the page on the configuration that lists them."""
    found = settings()
    groups: dict[str, list[Setting]] = {}
    for setting in found:
        groups.setdefault(setting.group, []).append(setting)
        site.add(setting.page, _page(setting), source=SOURCE)
        for one in setting.tables:
            site.spans.setdefault(one.key(setting.key).replace(".NAME", "").replace("[]", ""), setting.page)
    for name, members in groups.items():
        site.add(f"{PAGES}/{name}", _group(members), source=SOURCE)
        site.file_under(PAGE, f"{PAGES}/{name}")
        site.file_under(f"{PAGES}/{name}", *(setting.page for setting in members))
    site.add(PAGE, _linked(site.taken(read(SOURCE), SOURCE), found))
    site.place(SOURCE, PAGE)
    return found


def _linked(text: str, found: list[Setting]) -> str:
    """Return the page on the configuration with each key leading to its page; both are in the same order."""
    pages = iter(found)

    def named(match: re.Match[str]) -> str:
        return re.sub(r"`(\w+)`", lambda key: f"[{key[0]}](page:{next(pages).page})", match[0])

    def linked(match: re.Match[str]) -> str:
        return re.sub(r"^\| `\w+`(?:, `\w+`)* \|", named, match[0], flags=re.MULTILINE)

    return outside(text, lambda part: re.sub(r"^\| key \|.*\n\| ---.*\n(?:\|.*\n)*", linked, part, flags=re.MULTILINE))


def title(setting: Setting, one: Table) -> str:
    """Return a setting's whole key, with the plugin that has it."""
    return f"`{one.key(setting.key)}`" + (f" of `{one.plugin}`" if setting.plugins else "")


def _page(setting: Setting) -> str:
    first = setting.tables[0]
    others = [title(setting, one) for one in setting.tables[1:] if title(setting, one) != title(setting, first)]
    rows = [
        ("type", setting.kind or "see there"),
        ("default", setting.default or "see there"),
        *([("unit", UNITS[setting.kind])] if setting.kind in UNITS else []),
        ("variable", _variable(setting)),
        ("table", f"[{_table_name(first)}](page:{PAGES}/{setting.group}), of the [configuration](page:{PAGE})"),
        ("distribution", f"[{_distribution(setting)}](page:reference/distributions/{_distribution(setting)})"),
        *([("also as", cell(", ".join(dict.fromkeys(others))))] if others else []),
    ]
    meaning = setting.meaning[:1].upper() + setting.meaning[1:]
    shown = example(Wanted(setting.group, setting.key, setting.kind, setting.default, first))
    text = f"# {title(setting, first)}\n\n"
    text += f"{meaning.rstrip('.')}.\n\n" if meaning else ""
    return f"{text}{table(('detail', 'value'), rows)}\nFor example:\n\n```toml\n{shown}```\n"


def _distribution(setting: Setting) -> str:
    one = setting.tables[0]
    return one.distribution if setting.plugins or one.section in COMMAND_TABLES else "strongroom"


def _table_name(one: Table) -> str:
    path = one.path or "the top of the file"
    return f"`[[{path}]]`" if one.listed else f"`[{path}]`" if one.path else path


def variable(setting: Setting, name: str = "NAME") -> str:
    """Return the environment variable that overrides a setting; empty if there is none.

    Args:
        setting: The setting.
        name: What stands for a name of the user's own, in capitals.
    """
    one = setting.tables[0]
    cannot = one.listed or '"' in one.path or setting.key in ("PREFIX", "locked", "include")
    if cannot or re.match(r"list|table|reference", setting.kind):
        return ""
    path = [word.upper() for word in one.path.replace("NAME", name).split(".") if word]
    return "STRONGROOM_" + "__".join([*path, setting.key.upper()])


def _variable(setting: Setting) -> str:
    return f"`{found}`" if (found := variable(setting)) else "none"


def _group(members: list[Setting]) -> str:
    first = members[0].tables[0]
    words = f" of `{first.plugin}`" if members[0].plugins else ""
    rows = [
        (f"[`{one.key}`](page:{one.page})", one.kind or "see there", one.default or "see there", one.meaning)
        for one in members
    ]
    name = _distribution(members[0])
    text = f"Settings of [{name}](page:reference/distributions/{name}), from the [configuration](page:{PAGE})."
    return f"# {_table_name(first)}{words}\n\n{text}\n\n{table(('key', 'type', 'default', 'meaning'), rows)}"


def note_settings(site: Site, found: list[Setting]) -> None:
    """Note on each setting's page which pages have it in an example."""
    pages = {(one.path, one.plugin, setting.key): setting.page for setting in found for one in setting.tables}
    for name, text in list(site.pages.items()):
        for block in re.findall(r"^ *```toml\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL):
            with contextlib.suppress(tomllib.TOMLDecodeError):
                for where in _used(tomllib.loads(textwrap.dedent(block))):
                    site.named(pages.get(where, ""), name)


def _used(content: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield the table, the plugin and the key of each setting in a configuration."""
    for section, value in content.items():
        if section in ("backends", "rotation") and isinstance(value, dict):
            for inner in value.values():
                yield from _used_in(f"{section}.{PLACES[section]}", inner)
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for inner in value:
                yield from _used_in(section, inner)
        elif isinstance(value, dict):
            yield from _used_in(section, value)
        else:
            yield "", "", section


def _used_in(path: str, value: Any, plugin: str = "") -> Iterator[tuple[str, str, str]]:
    if not isinstance(value, dict):
        return
    section = path.partition(".")[0]
    chosen = value.get(SELECTORS.get(section, "type"), plugin)
    plugin = chosen or {"cache": "ttl", "rotation": "random"}.get(section, section if section in COMMAND_TABLES else "")
    for key, inner in value.items():
        yield path, plugin, key
        yield from _used_in(f"{path}.{key}", inner, plugin)
        if f"{path}.{key}" in PLACES and isinstance(inner, dict):
            for one in inner.values():
                yield from _used_in(f"{path}.{key}.{PLACES[f'{path}.{key}']}", one, plugin)

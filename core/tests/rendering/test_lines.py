"""The line of a rule is that of its table's header."""

from __future__ import annotations

import tomllib

from pathlib import Path

import pytest

from hypothesis import given
from hypothesis import strategies as st

from strongroom.config.load import load_policy
from strongroom.rendering.lines import line_of, place_of, table_lines

PIECES = [
    "[[policies]]\n",
    "  [[ policies ]]  # the next\n",
    "[['policies']]\n",
    '[["policies"]]\n',
    "# [[policies]]\n",
    "[[policies.deeper]]\n",
    "[[other]]\n",
    "[other.table]\n[[policies]]\n",
    'text{n} = "[[policies]]"\n',
    "text{n} = '''\n[[policies]]\n'''\n",
    'text{n} = """\n[[policies]]\n\\"""\n[[policies]]\n"""\n',
    'text{n} = """""""\n',
    'text{n} = "a\\"[" # \' and [\n',
    "list{n} = [\n[[1], [2]],\n[['policies']],\n]\n",
    "table{n} = {{ a = [{{ b = ']' }}] }}\n",
    "'odd ] key{n}' = 1\n",
]


@given(st.lists(st.sampled_from(PIECES), max_size=8))
def test_each_header_is_found_and_nothing_else(pieces: list[str]) -> None:
    numbered = [piece.format(n=number) if "{n}" in piece else piece for number, piece in enumerate(pieces)]
    # A marker below each header tells its number to a real parser.
    lines = [line for piece in numbered for line in piece.splitlines(keepends=True)]
    text = "".join(lines)
    try:
        tables = tomllib.loads(text).get("policies", [])
    except ValueError:
        return  # such as a table that is defined twice
    found = table_lines(text, "policies")
    assert len(found) == (len(tables) if isinstance(tables, list) else 0)
    for number in found:
        marked = [*lines[:number], "marker = 1\n", *lines[number:]]
        at = [place for place, table in enumerate(tomllib.loads("".join(marked))["policies"]) if "marker" in table]
        assert at == [found.index(number)]


RULE = 'principal = "p"\neffect = "allow"\nactions = ["read"]\nnames = ["**"]\n'


def test_a_rule_knows_its_line(tmp_path: Path) -> None:
    path = tmp_path / "strongroom.toml"
    path.write_text(f"# policies\n[[policies]]\n{RULE}\n\n[[policies]]\n{RULE}")
    first, second = load_policy(str(path)).rules
    assert (line_of(first), line_of(second)) == (2, 9)
    assert place_of(second) == f"policies[2] of {path}, line 9"


@pytest.mark.parametrize("change", ["gone", "inline", "shorter", "broken"])
def test_without_a_line_that_is_certain_the_place_is_the_table_s(tmp_path: Path, change: str) -> None:
    path = tmp_path / "strongroom.toml"
    inline = '{ principal = "p", effect = "allow", actions = ["read"], names = ["**"] }'
    path.write_text(f"policies = [{inline}]" if change == "inline" else f"[[policies]]\n{RULE}")
    (rule,) = load_policy(str(path)).rules
    if change == "gone":
        path.unlink()
    elif change != "inline":
        path.write_text("" if change == "shorter" else "[[policies]")
    assert line_of(rule) is None
    assert place_of(rule) == f"policies[1] of {path}"

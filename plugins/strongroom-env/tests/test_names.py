"""The map between names and variables is one to one."""

from __future__ import annotations

import re
import string

import pytest

from hypothesis import given
from hypothesis import strategies as st

from strongroom.errors import InvalidNameError
from strongroom.model import SecretName
from strongroom_env.names import name_of, variable_of

EXAMPLES = {
    "token": "TOKEN",
    "db/password": "DB__PASSWORD",
    "db/read_only/password": "DB__READ_ONLY__PASSWORD",
    "api-server/key": "API_x2D_SERVER__KEY",
    "dbPassword": "DB_x50_ASSWORD",
    "_private": "_x5F_PRIVATE",
    "2fa/seed": "_x32_FA__SEED",
    "2_a": "_x32__x5F_A",
    "a/2": "A__2",
    "a__b": "A_x5F__x5F_B",
    "a_/b": "A_x5F___B",
    "a/_b": "A___x5F_B",
    "caf\u00e9": "CAF_xE9_",
    "\U0001f511": "_x1F511_",
}


def canonical(text: str) -> SecretName | None:
    try:
        return SecretName(text)
    except InvalidNameError:
        return None


# Short texts of the characters that the rules are about collide soonest.
tricky = st.text("ab/_-x2DX5F", min_size=1, max_size=12)
names = st.one_of(tricky, st.text(min_size=1, max_size=40)).map(canonical).filter(lambda name: name is not None)
variables = st.one_of(st.text("AB_x2D5F", max_size=14), st.text(max_size=20), st.from_regex(r"_x[0-9A-F]{1,7}_"))


@pytest.mark.parametrize(("name", "variable"), EXAMPLES.items())
def test_the_documented_examples_hold(name: str, variable: str) -> None:
    assert variable_of(SecretName(name)) == variable
    assert name_of(variable) == name


@given(name=names)
def test_every_name_comes_back_from_its_variable(name: SecretName) -> None:
    assert name_of(variable_of(name)) == name


@given(name=names)
def test_any_shell_can_set_the_variable(name: SecretName) -> None:
    assert re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", variable_of(name), re.ASCII)


@given(one=names, other=names)
def test_two_names_never_share_a_variable(one: SecretName, other: SecretName) -> None:
    assert (variable_of(one) == variable_of(other)) == (one == other)


@given(variable=variables)
def test_a_variable_belongs_to_the_one_name_that_leads_to_it(variable: str) -> None:
    name = name_of(variable)
    assert name is None or variable_of(name) == variable


STRANGERS = """
    _ http_proxy lower A__ __A A____B A_ _A 2A A_x2d_B A_x02D_B A_x61_ A-B A_x110000_ A_xD800_ A_x2F_B A_xA_ A_x202E_B
    A_x2E__x2E_B__ A\u00c9
"""


@pytest.mark.parametrize("variable", ["", *STRANGERS.split()])
def test_a_variable_that_no_name_leads_to_belongs_to_none(variable: str) -> None:
    assert name_of(variable) is None


@given(text=st.text(string.ascii_lowercase + string.digits, min_size=1).filter(lambda text: not text[0].isdigit()))
def test_a_plain_name_is_its_variable_in_capitals(text: str) -> None:
    assert variable_of(SecretName(text)) == text.upper()

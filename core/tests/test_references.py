"""What a reference is written as comes back as the same reference, and all other text is left alone."""

from __future__ import annotations

import string

import pytest

from hypothesis import example, given
from hypothesis import strategies as st

from strongroom.errors import InvalidNameError
from strongroom.model import SecretName
from strongroom.references import SCHEME, Reference, fill, find, is_reference, segment, unsegment
from strongroom.testing.leaks import assert_hidden, marker_value, report_of

TEXTS = st.text(st.characters(exclude_categories=("Cs",)))
# What ends a reference, or escapes it, comes often here.
HARD = st.text(
    st.sampled_from("a%#}{$/:\\ é") | st.characters(exclude_categories=("Cs", "Cc", "Cf", "Zl", "Zp")), min_size=1
)


def is_name(text: str) -> bool:
    try:
        return SecretName(text) == text
    except InvalidNameError:
        return False


NAMES = st.lists(HARD, min_size=1, max_size=3).map("/".join).filter(is_name).map(SecretName)
REFERENCES = st.builds(lambda name, field: Reference(name=name, field=field), NAMES, st.none() | HARD)


@given(REFERENCES)
@example(Reference(name=SecretName("a%23b"), field="}#%"))
def test_a_reference_comes_back_as_it_was_written(reference: Reference) -> None:
    assert Reference.parse(str(reference)) == reference
    assert find(str(reference)) == [reference]


@given(st.lists(st.tuples(TEXTS.filter(lambda text: "${" not in text and "$" not in text[-1:]), REFERENCES)), TEXTS)
def test_references_within_text_are_found_in_their_order_and_filled_in(
    parts: list[tuple[str, Reference]], rest: str
) -> None:
    rest = rest.replace("$", "")
    text = "".join(f"{before}${{{reference}}}" for before, reference in parts) + rest
    if is_reference(text):
        return
    assert find(text) == [reference for _, reference in parts]
    filled = fill(text, lambda reference: f"<{reference.name}|{reference.field}>")
    assert filled == "".join(f"{before}<{one.name}|{one.field}>" for before, one in parts) + rest


@given(TEXTS.filter(lambda text: SCHEME not in text))
@example("vault://db/password")
@example("${HOME} and ${vault://db/password} $(id) %23")
@example("STRONGROOM://db/password")
@example("strongroom:/db/password")
def test_text_without_references_stays_as_it_is(text: str) -> None:
    assert find(text) == []
    assert fill(text, lambda _: "never") == text


@pytest.mark.parametrize(
    "text", ["see strongroom://db/password", " strongroom://db/password", "$strongroom://a", "{strongroom://a}"]
)
def test_within_text_a_reference_needs_its_braces(text: str) -> None:
    assert find(text) == []
    assert not is_reference(text)


@given(TEXTS, TEXTS)
@example("${strongroom://b}", "strongroom://b")
def test_what_is_filled_in_is_not_looked_at_again(first: str, second: str) -> None:
    values = {"a": first, "b": second}
    filled = fill("${strongroom://a}:${strongroom://b}", lambda reference: values[reference.name])
    assert filled == f"{first}:{second}"
    assert fill("strongroom://a", lambda reference: values[reference.name]) == first


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("strongroom://", "empty"),
        ("strongroom://db/password#", "%23"),
        ("strongroom:///db", "db"),
        ("strongroom://db/../x", "db/../x"),
        ("strongroom://db/", "db/"),
        ("strongroom://a%", "%25"),
        ("strongroom://a%2", "%25"),
        ("strongroom://a%zz", "%25"),
        ("strongroom://a%ff", "UTF-8"),
        ("strongroom://a%00", "control"),
        ("strongroom://a\ud800", "UTF-8"),
        ("postgres://${strongroom://db/password", "no end"),
        ("${strongroom://}", "empty"),
        ("${strongroom://a} ${strongroom://b#}", "%23"),
    ],
)
def test_a_malformed_reference_is_refused_with_what_to_do(text: str, words: str) -> None:
    for use in (find, lambda given: fill(given, str)):
        with pytest.raises(InvalidNameError) as caught:
            use(text)
        assert words in str(caught.value)


@pytest.mark.parametrize("text", ["", "db/password", "vault://db/password", "${strongroom://db/password}"])
def test_only_a_reference_alone_can_be_parsed_as_one(text: str) -> None:
    with pytest.raises(InvalidNameError):
        Reference.parse(text)


@pytest.mark.parametrize("broken", ["${strongroom://a%ff}", "${strongroom://a%zz}", "${strongroom://a"])
def test_no_error_shows_what_stands_around_a_reference(broken: str) -> None:
    marker = marker_value()
    with pytest.raises(InvalidNameError) as caught:
        find(f"{marker}{broken}")
    assert_hidden(marker, report_of(caught.value), "the error")


def test_a_field_may_hold_what_a_name_may_not() -> None:
    assert Reference.parse("strongroom://db#a/../b%23%7D").field == "a/../b#}"


@given(st.text(min_size=1).filter(lambda text: not set(map(ord, text)) & set(range(0xD800, 0xE000))))
@example(".")
@example("..")
@example("%2E")
@example("https://example.com/a b\0")
def test_any_text_becomes_one_segment_of_a_name_and_comes_back(text: str) -> None:
    made = segment(text)
    assert "/" not in made
    assert unsegment(made) == text
    if len(made) <= 512:
        assert SecretName(f"a/{made}") == f"a/{made}"


@given(st.text(st.sampled_from(string.ascii_letters + "%./2E5 "), min_size=1))
def test_a_segment_is_taken_back_only_as_it_is_made(text: str) -> None:
    try:
        plain = unsegment(text)
    except InvalidNameError:
        return
    assert segment(plain) == text


@pytest.mark.parametrize("text", ["", "a\ud800"])
def test_what_cannot_be_a_segment_is_refused(text: str) -> None:
    with pytest.raises(InvalidNameError):
        segment(text)


@pytest.mark.parametrize("text", ["", "a b", "%2e", "%41", "a/b", ".", "%ff", "%"])
def test_what_is_no_segment_is_not_taken_back(text: str) -> None:
    with pytest.raises(InvalidNameError):
        unsegment(text)

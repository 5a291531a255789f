"""Turns a table of the configuration into a settings object, with errors that help.

A settings class is a :class:`~strongroom.contracts.Record` or an attrs class;
its annotations say what each key must be.
"""

from __future__ import annotations

import enum
import sys
import types
import typing

from collections.abc import Iterable
from typing import Any, Final, get_args, get_origin

from strongroom._record import Record
from strongroom.config.references import Text, absolute, is_reference, make_source
from strongroom.config.units import parse_seconds, parse_size
from strongroom.contracts.keys import KeySource
from strongroom.contracts.settings import FilePath, Seconds, Size
from strongroom.errors import ConfigurationError, InvalidValueError
from strongroom.model import SecretValue


class Place(Record):
    """Where a table stands, for errors and for relative paths."""

    file: str
    """The file's path, or a name in angle brackets for what is not a file."""
    table: str
    folder: str
    """What relative paths are relative to."""
    elsewhere: dict[str, tuple[str, str]] | None = None
    """For keys that another file gives: that file and its folder."""

    def key(self, name: str) -> str:
        """Return a key's place in words."""
        file = (self.elsewhere or {}).get(name, (self.file, ""))[0]
        return f"{self.table}.{name} in {file}" if self.table else f"{name} in {file}"

    def folder_of(self, name: str) -> str:
        """Return what a relative path under a key is relative to."""
        return (self.elsewhere or {}).get(name, ("", self.folder))[1]


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return ``did you mean X?`` if one of the known words is close, else what is known."""
    from difflib import get_close_matches

    words = sorted(known)
    close = get_close_matches(word, words, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known here: {', '.join(words) or 'none'}"


def convert(settings: type[Any], table: dict[str, Any], place: Place, *, text_origin: Iterable[str] = ()) -> Any:
    """Make a settings object out of a table.

    Args:
        settings: The settings class.
        table: Its keys and values as TOML gave them.
        place: Where the table stands.
        text_origin: Keys that come from environment variables, and so are text
            that stands for a number or a truth value.

    Raises:
        ConfigurationError: A key is unknown, missing or of the wrong type, or the
            class's own check complains.
    """
    names, defaults = _field_names(settings)
    for key in table:
        if key not in names:
            raise ConfigurationError(f"{place.key(key)} is not a setting", hint=suggestion(key, names))
    missing = [name for name in names if name not in table and name not in defaults]
    if missing:
        expected = _expected(_field_type(settings, missing[0]))
        raise ConfigurationError(f"{place.key(missing[0])} is missing", hint=f"expected {expected}")
    texts = frozenset(text_origin)
    content = {
        key: _value(value, _field_type(settings, key), place, key, from_text=key in texts)
        for key, value in table.items()
    }
    made = settings(**content)
    # A `SettingsCheck` is told by the name of its method: whether an object follows a protocol is looked up with
    # `inspect` from Python 3.12 on, and that takes a tenth of the time in which a command starts.
    problems = made.problems() if hasattr(made, "problems") else []
    if problems:
        raise ConfigurationError(f"{place.table or 'the configuration'} in {place.file}: {'; '.join(problems)}")
    return made


def fields(settings: type[Any]) -> tuple[dict[str, Any], frozenset[str]]:
    """Return a settings class's fields.

    Args:
        settings: A record or an attrs class.

    Returns:
        Each field's type by its name, and the names of those that have a default.
    """
    names, optional = _field_names(settings)
    return {name: _field_type(settings, name) for name in names}, optional


def _field_names(settings: type[Any]) -> tuple[tuple[str, ...], frozenset[str]]:
    """Return the names of all fields, and of those that have a default."""
    if issubclass(settings, Record):
        return settings._fields, frozenset(settings._defaults)
    attributes = settings.__attrs_attrs__
    optional = frozenset(attribute.name for attribute in attributes if attribute.default is not _no_default())
    return tuple(attribute.name for attribute in attributes), optional


def _field_type(settings: type[Any], name: str) -> Any:
    """Return one field's type.

    ``typing.get_type_hints`` does the same for all fields of a class, and compiles
    the annotations of those, too, that no table mentions.
    """
    for owner in settings.__mro__:
        kind = owner.__dict__.get("__annotations__", {}).get(name)  # noqa: RUF063  # costs an import, as in _record
        if isinstance(kind, str):
            # The plugin's own source text, which has been imported: no more than its class body could do.
            return eval(kind, vars(sys.modules[owner.__module__]), dict(vars(owner)))  # noqa: S307  # see above
        if kind is not None:
            return kind
    raise TypeError(f"{settings.__qualname__}.{name} has no annotation")


def _no_default() -> Any:
    # An attrs class is at hand, so attrs has been imported already.
    import attrs

    return attrs.NOTHING


def _value(value: Any, kind: Any, place: Place, key: str, *, from_text: bool) -> Any:
    try:
        return _converted(value, kind, place, key, from_text=from_text)
    except ValueError as error:
        raise ConfigurationError(
            f"{place.key(key)} is not usable", hint=f"expected {error.args[0] if error.args else _expected(kind)}"
        ) from None  # the cause would repeat the text, which may be a secret


def _converted(value: Any, kind: Any, place: Place, key: str, *, from_text: bool) -> Any:
    if kind is KeySource:
        return make_source(value, folder=place.folder_of(key), where=place.key(key))
    if kind is SecretValue:
        return make_source(value, folder=place.folder_of(key), where=place.key(key)).read()
    if get_origin(kind) in {typing.Union, types.UnionType}:
        return _one_of(value, get_args(kind), place, key, from_text=from_text)
    if get_origin(kind) in {list, tuple, dict}:
        return _many(value, kind, place, key)
    if isinstance(kind, type) and issubclass(kind, Record):
        return _nested(value, kind, place, key)
    if is_reference(value):
        value = _referenced(value, place, key)
    if kind == Seconds:
        return parse_seconds(value)
    if kind == Size:
        return parse_size(value)
    if kind == FilePath:
        return _path(value, place.folder_of(key))
    return _scalar(value, kind, from_text=from_text or isinstance(value, Text))


def _referenced(value: Any, place: Place, key: str) -> Text:
    source = make_source(value, folder=place.folder_of(key), where=place.key(key))
    try:
        text = source.read().reveal_text()
    except InvalidValueError:
        raise ValueError("UTF-8 text there") from None
    # Editors end a file with a line feed that nobody means.
    return Text(text.removesuffix("\n") if source.path else text)


def _path(value: Any, folder: str) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("a path as text")
    return absolute(value, folder)


def _one_of(value: Any, kinds: tuple[Any, ...], place: Place, key: str, *, from_text: bool) -> Any:
    reasons: list[str] = []
    for kind in kinds:
        if kind is type(None):
            continue
        try:
            return _converted(value, kind, place, key, from_text=from_text)
        except ValueError as error:
            reasons.append(str(error.args[0]) if error.args else _expected(kind))
    raise ValueError(" or ".join(dict.fromkeys(reasons)))


def _many(value: Any, kind: Any, place: Place, key: str) -> Any:
    inner = [part for part in get_args(kind) if part is not Ellipsis]
    if get_origin(kind) is dict:
        if not isinstance(value, dict):
            raise ValueError("a table")
        return {name: _entry(name, part, inner[1], place, key) for name, part in value.items()}
    if not isinstance(value, list):
        raise ValueError(f"a list of {_expected(inner[0])}")
    made = [_converted(part, inner[0], place, key, from_text=False) for part in value]
    return made if get_origin(kind) is list else tuple(made)


def _entry(name: str, value: Any, kind: Any, place: Place, key: str) -> Any:
    try:
        return _converted(value, kind, place, f"{key}.{name}", from_text=False)
    except ValueError as error:
        raise ConfigurationError(
            f"{name!r} of {place.key(key)} is not usable",
            hint=f"expected {error.args[0] if error.args else _expected(kind)}",
        ) from None  # as above


def _nested(value: Any, kind: type[Record], place: Place, key: str) -> Any:
    if not isinstance(value, dict):
        raise ValueError("a table")
    table = f"{place.table}.{key}" if place.table else key
    file = (place.elsewhere or {}).get(key, (place.file, ""))[0]
    return convert(kind, value, Place(file=file, table=table, folder=place.folder_of(key)))


def _scalar(value: Any, kind: Any, *, from_text: bool) -> Any:
    if kind is Any:
        return value
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        known = {member.value: member for member in kind}
        if not isinstance(value, str | int) or value not in known:
            raise ValueError(f"one of {', '.join(map(repr, known))}")
        return known[value]
    if get_origin(kind) is typing.Literal:
        return _choice(value, kind, from_text=from_text)
    if from_text and isinstance(value, str):
        value = _from_text(value, kind)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ValueError(_expected(kind))
    return value


def _choice(value: Any, kind: Any, *, from_text: bool) -> Any:
    for member in get_args(kind):
        # True is equal to 1, but is another choice.
        if value == member and isinstance(value, bool) == isinstance(member, bool):
            return member
        if from_text and not isinstance(member, str) and value == _spelled(member):
            return member
    raise ValueError(_expected(kind))


def _from_text(text: str, kind: Any) -> Any:
    """Read a number or truth value from a variable; anything else stays the exact text."""
    if kind is bool:
        known = {
            "true": True,
            "1": True,
            "yes": True,
            "on": True,
            "false": False,
            "0": False,
            "no": False,
            "off": False,
        }
        if text.lower() not in known:
            raise ValueError("true or false")
        return known[text.lower()]
    if kind in {int, float}:
        try:
            return kind(text)
        except ValueError:
            pass
        # Raised outside the handler: that error repeats the text, which may be a secret.
        raise ValueError(_expected(kind))
    return text


def _spelled(member: Any) -> str:
    """Return a member of a ``Literal`` as TOML has it, between single quotes if it is a text."""
    return str(member).lower() if isinstance(member, bool) else repr(member)


_WORDS: Final = {str: "a text", int: "a whole number", float: "a number", bool: "true or false", list: "a list"}


def _expected(kind: Any) -> str:
    """Say in words what a setting of this type looks like."""
    if kind == Seconds:
        return 'a duration such as "300s"'
    if kind == Size:
        return 'a size such as 65536 or "64KiB"'
    if kind == FilePath:
        return "a path as text"
    if get_origin(kind) is typing.Literal:
        return f"one of {', '.join(map(_spelled, get_args(kind)))}"
    if kind in {KeySource, SecretValue}:
        return '{env = "VARIABLE"}, {file = "path"} or {credential = "name"}'
    if get_origin(kind) in {typing.Union, types.UnionType}:
        return " or ".join(_expected(part) for part in get_args(kind) if part is not type(None))
    return _WORDS.get(kind, _WORDS.get(get_origin(kind), "a table"))

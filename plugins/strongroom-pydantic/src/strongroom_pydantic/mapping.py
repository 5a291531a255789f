"""Which secret fills which field of a settings class."""

from __future__ import annotations

import types

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import AliasChoices, AliasPath, BaseModel
from pydantic.fields import FieldInfo

from strongroom.contracts import Record


class FromSecret(Record):
    """In an ``Annotated`` type: this field is filled from that secret, whatever the field is called.

    Args:
        name: The secret's whole name; a prefix is not put before it.
        field: One member of a secret that is a JSON object; the whole value unless given.
    """

    name: str
    field: str | None = None

    def __init__(self, name: str, *, field: str | None = None) -> None:
        self.__dict__.update(name=name, field=field)


class Names(Record):
    """How secrets are called after fields."""

    prefix: str | None
    """What is put before a field's name, such as ``shop/``; ``None``: only what is marked is filled."""
    rename: Callable[[str], str]
    """Returns what a field's name is in the name of a secret."""

    def below(self, field_name: str) -> Names:
        """Return how the members of a nested model are called."""
        return self if self.prefix is None else self.replace(prefix=f"{self.prefix}{self.rename(field_name)}/")


class Wanted(Record):
    """One place from which a field may be filled."""

    field_name: str
    key: str
    """Under which name pydantic takes it."""
    name: str
    """The secret's name."""
    member: str | None = None
    """One member of it."""
    is_path: bool = False
    """Whether pydantic looks for the field's value within what is found."""


def wanted(fields: Mapping[str, FieldInfo], config: Mapping[str, Any], names: Names) -> list[Wanted]:
    """Return where each field may be filled from: of those of one field, the first that is there.

    Args:
        fields: A model's fields.
        config: The model's configuration.
        names: How secrets are called.
    """
    found: list[Wanted] = []
    for field_name, field in fields.items():
        mark = next((one for one in field.metadata if isinstance(one, FromSecret)), None)
        key = _keys(field_name, field, config)[0][0]
        if mark is not None:
            found.append(Wanted(field_name=field_name, key=key, name=mark.name, member=mark.field))
        elif names.prefix is not None:
            found += _by_name(field_name, field, config, names)
    return found


def _by_name(field_name: str, field: FieldInfo, config: Mapping[str, Any], names: Names) -> Iterator[Wanted]:
    for key, is_alias, is_path in _keys(field_name, field, config):
        # As for variables of the environment: an alias is the whole name.
        name = key if is_alias else f"{names.prefix}{names.rename(field_name)}"
        yield Wanted(field_name=field_name, key=key, name=name, is_path=is_path)


def _keys(field_name: str, field: FieldInfo, config: Mapping[str, Any]) -> list[tuple[str, bool, bool]]:
    """Return under which names pydantic takes a field, whether each is an alias, and whether it is the way to one."""
    alias = field.validation_alias
    if config.get("validate_by_alias", True) is False:
        alias = None
    choices: list[str | AliasPath] = []
    if isinstance(alias, AliasChoices):
        choices = list(alias.choices)
    elif alias is not None:
        choices = [alias]
    keys = [_key(choice) for choice in choices]
    if not keys or config.get("populate_by_name") or config.get("validate_by_name"):
        keys.append((field_name, False, False))
    return keys


def _key(choice: str | AliasPath) -> tuple[str, bool, bool]:
    if isinstance(choice, str):
        return choice, True, False
    return str(choice.path[0]), True, len(choice.path) > 1


def model_of(annotation: Any) -> type[BaseModel] | None:
    """Return the model that a type is, perhaps an optional one; ``None`` if it is none, or may be several."""
    found = [one for one in alternatives(annotation) if isinstance(one, type) and issubclass(one, BaseModel)]
    return found[0] if len(found) == 1 else None


def alternatives(annotation: Any) -> list[Any]:
    """Return the types of a union, without what they are annotated with; those of no union are one."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return alternatives(get_args(annotation)[0])
    if origin is Union or origin is types.UnionType:
        return [one for member in get_args(annotation) for one in alternatives(member)]
    return [annotation]

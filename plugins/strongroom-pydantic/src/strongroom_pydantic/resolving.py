"""References in what other sources give, such as ``strongroom://NAME#FIELD`` in the environment."""

from __future__ import annotations

import json

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from strongroom import SecretManager
from strongroom.errors import InvalidValueError, SecretNotFoundError
from strongroom.references import Reference, fill, find, is_reference
from strongroom_pydantic.mapping import Names, Wanted, wanted
from strongroom_pydantic.reading import Reading, reading


class ResolvingSettingsSource(PydanticBaseSettingsSource):
    """Another source, in whose values references to secrets are replaced by what they refer to.

    A text that is nothing but ``strongroom://NAME`` or ``strongroom://NAME#FIELD`` becomes the secret's value, or one
    member of it; within other text a reference is written ``${strongroom://NAME}``. Of the environment and of ``.env``
    files only the variables of the settings' own fields are looked at. There a reference may stand for the JSON of a
    whole model, and each text within JSON may be one. What a secret says refers to nothing.

    A secret that is referred to and is not there is an error.

    Args:
        settings_cls: The settings class.
        inner: The other source.
        manager: Reads the secrets; unless given as for :class:`StrongroomSettingsSource`.
    """

    def __init__(
        self,
        settings_cls: type[BaseSettings],
        inner: PydanticBaseSettingsSource,
        manager: SecretManager | None = None,
    ) -> None:
        super().__init__(settings_cls)
        self._inner = inner
        self._manager = manager
        # Pydantic tells sources apart by that, and several may be wrapped.
        self.__name__ = type(inner).__name__

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Return what the other source says of one field, with what it refers to.

        Args:
            field: The field.
            field_name: Its name.

        Raises:
            StrongroomError: As for a call.
        """
        value, key, is_complex = self._inner.get_field_value(field, field_name)
        with reading() as current:
            return self._resolved(value, current), key, is_complex

    def __call__(self) -> dict[str, Any]:
        """Return the other source's values, with what they refer to.

        Raises:
            InvalidNameError: A reference is malformed.
            SecretNotFoundError: There is no such secret, or it has no such member.
            InvalidValueError: What is referred to is no text, or no JSON where the field needs that.
            StrongroomError: A secret cannot be read.
        """
        with reading() as current:
            if not isinstance(getattr(self._inner, "env_vars", None), Mapping):
                return self._walked(self._inner(), current)
            resolved = self._resolve_variables(current)
            revealed = frozenset(text for value in resolved.values() for text in _texts_within(value))
            try:
                return self._mine_walked(self._inner(), current, revealed)
            except ValueError:
                if not resolved:
                    raise
        # Raised outside the handler: the error that caused it carries the text.
        raise InvalidValueError(
            f"a field cannot be filled from what is referred to in {', '.join(sorted(resolved))}: it needs JSON",
            code="not_json",
            hint="let the reference lead to JSON, or to one member of it behind a #",
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({type(self._inner).__name__})"

    def _resolve_variables(self, current: Reading) -> dict[str, Any]:
        """Resolve variables that are nothing but a reference, before they are decoded; return their values."""
        inner: Any = self._inner
        variables = inner.env_vars
        spelled = self._spelled()
        inside = self._inside(spelled)
        mine = [
            name
            for name in variables
            if isinstance(variables[name], str) and (name in spelled or name.startswith(inside))
        ]
        referring = {name: variables[name] for name in mine if is_reference(variables[name])}
        self._read(referring.values(), current)
        resolved = {name: self._resolved(text, current) for name, text in referring.items()}
        inner.env_vars = {**variables, **resolved}
        return resolved

    def _spelled(self) -> set[str]:
        """Return the variables that fill a field, as they are spelled."""
        inner: Any = self._inner
        names = self._variables(getattr(inner, "env_prefix", "") or "")
        return {name if getattr(inner, "case_sensitive", False) else name.lower() for name in names}

    def _inside(self, spelled: Iterable[str]) -> tuple[str, ...]:
        """Return how variables begin that fill a part of a field."""
        delimiter = getattr(self._inner, "env_nested_delimiter", None)
        return tuple(name + delimiter for name in spelled) if delimiter else ()

    def _variables(self, prefix: str) -> Iterator[str]:
        for place in self._places():
            yield from (prefix + place.field_name, place.key, prefix + place.key)

    def _places(self) -> list[Wanted]:
        return wanted(self.settings_cls.model_fields, self.config, Names(prefix="", rename=str))

    def _mine_walked(self, values: dict[str, Any], current: Reading, revealed: frozenset[str]) -> dict[str, Any]:
        """Resolve what fills a field. A ``.env`` file may be other programs', too, and all of it comes along."""
        fields = {key.lower() for place in self._places() for key in (place.field_name, place.key)}
        mine = {key: value for key, value in values.items() if key.lower() in fields}
        return {**values, **self._walked(mine, current, revealed)}

    def _walked(
        self, values: dict[str, Any], current: Reading, revealed: frozenset[str] = frozenset()
    ) -> dict[str, Any]:
        """Resolve what is left, but for what comes from secrets."""
        self._read((text for text in _texts(values) if text not in revealed), current)
        return {key: self._resolved(value, current, revealed) for key, value in values.items()}

    def _read(self, texts: Iterable[str], current: Reading) -> None:
        """Read all that some texts refer to, in one go."""
        current.read((one.name for text in texts for one in find(text)), self._manager)

    def _resolved(self, value: Any, current: Reading, revealed: frozenset[str] = frozenset()) -> Any:
        if isinstance(value, dict):
            return {key: self._resolved(member, current, revealed) for key, member in value.items()}
        if isinstance(value, list):
            return [self._resolved(member, current, revealed) for member in value]
        if isinstance(value, str) and value in revealed:
            return current.handed_out(value)
        # What has been filled in already is not looked at again.
        if type(value) is not str or not find(value):
            return value
        return current.handed_out(fill(value, lambda one: self._text(one, current)))

    def _text(self, reference: Reference, current: Reading) -> str:
        secret = current.read([reference.name], self._manager).get(reference.name)
        if secret is None:
            raise SecretNotFoundError(
                f"a setting refers to {reference.name}, and there is no such secret", name=reference.name
            )
        return (secret if reference.field is None else secret.field(reference.field)).reveal_text()


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for member in value.values() for text in _texts(member)]
    if isinstance(value, list):
        return [text for member in value for text in _texts(member)]
    return [value] if type(value) is str else []


def _texts_within(value: str) -> list[str]:
    """Return a text, and the texts in it if it is JSON."""
    try:
        return [value, *_texts(json.loads(value))]
    except (ValueError, RecursionError):
        return [value]

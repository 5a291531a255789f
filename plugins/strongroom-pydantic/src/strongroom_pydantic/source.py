"""The source: fills fields from secrets, by their names or by what they are marked with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from strongroom import Secret, SecretManager, ValueType
from strongroom.errors import InvalidValueError, SecretNotFoundError
from strongroom_pydantic.mapping import Names, Wanted, alternatives, model_of, wanted
from strongroom_pydantic.reading import Reading, reading

PREFIX = "strongroom_prefix"
"""The member of ``model_config`` that says what is put before the names of fields."""


class StrongroomSettingsSource(PydanticBaseSettingsSource):
    """Fills the fields of a settings class from secrets; return it from ``settings_customise_sources``.

    With a prefix each field is looked for: ``db_password`` below ``shop/`` is the secret ``shop/db_password``. A field
    with an alias is the secret of just that name, as it is with variables of the environment. A field that is marked
    with :class:`FromSecret` is filled from that secret, with or without a prefix.

    A field that is a model, a list or a mapping takes a secret that is JSON. If there is no secret for a model, each
    of its members is looked for one level below, ``shop/db/password`` for instance.

    A secret that is not there leaves the field to the next source, or to its default. One that cannot be read, because
    of an outage or because it is denied, is an error.

    Args:
        settings_cls: The settings class.
        manager: Reads the secrets. Unless given it is that of :func:`using` or :class:`LiveSettings`, or else one that
            is opened for this reading.
        prefix: What is put before the names of fields, such as ``shop/``; ``strongroom_prefix`` of ``model_config``
            unless given. Without either only marked fields are filled.
        rename: Returns what a field's name is in the name of a secret; the same unless given.
    """

    def __init__(
        self,
        settings_cls: type[BaseSettings],
        manager: SecretManager | None = None,
        *,
        prefix: str | None = None,
        rename: Callable[[str], str] = str,
    ) -> None:
        super().__init__(settings_cls)
        configured: Any = self.config.get(PREFIX)
        self._manager = manager
        self._names = Names(prefix=prefix if prefix is not None else configured, rename=rename)

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Return one field's value, the name by which pydantic takes it, and that nothing is left to be decoded.

        Args:
            field: The field.
            field_name: Its name.

        Raises:
            StrongroomError: As for a call.
        """
        found = self._filled({field_name: field}, self.config, self._names, ())
        key, value = next(iter(found.items()), (field_name, None))
        return value, key, False

    def __call__(self) -> dict[str, Any]:
        """Return the values of all fields for which there are secrets.

        Raises:
            InvalidNameError: The name of a field cannot be that of a secret.
            InvalidValueError: A field needs JSON, and its secret is something else.
            StrongroomError: A secret cannot be read; that there is none is no error.
        """
        return self._filled(self.settings_cls.model_fields, self.config, self._names, ())

    def __repr__(self) -> str:
        return f"{type(self).__name__}(prefix={self._names.prefix!r})"

    def _filled(
        self,
        fields: Mapping[str, FieldInfo],
        config: Mapping[str, Any],
        names: Names,
        within: tuple[type[BaseModel], ...],
    ) -> dict[str, Any]:
        places = wanted(fields, config, names)
        filled: dict[str, Any] = {}
        done: set[str] = set()
        with reading() as current:
            secrets = current.read((place.name for place in places), self._manager)
            for place in places:
                secret = _part(secrets.get(place.name), place.member)
                if secret is not None and place.field_name not in done:
                    filled[place.key] = self._value(place, fields[place.field_name], secret, current)
                    done.add(place.field_name)
            for field_name in [one for one in fields if one not in done]:
                self._fill_members(field_name, fields[field_name], config, names, within, filled)
        return filled

    def _fill_members(
        self,
        field_name: str,
        field: FieldInfo,
        config: Mapping[str, Any],
        names: Names,
        within: tuple[type[BaseModel], ...],
        filled: dict[str, Any],
    ) -> None:
        model = model_of(field.annotation)
        # A model that holds itself has no end.
        if model is None or model in within:
            return
        members = self._filled(model.model_fields, model.model_config, names.below(field_name), (*within, model))
        if members:
            places = wanted({field_name: field}, config, Names(prefix="", rename=str))
            filled[places[0].key] = members

    def _value(self, place: Wanted, field: FieldInfo, secret: Secret, current: Reading) -> Any:
        is_text = secret.value.type is ValueType.TEXT
        content: Any = current.handed_out(secret.reveal_text() if is_text else secret.reveal())
        if place.is_path or self.field_is_complex(field):
            return current.handed_out(self._decoded(place, field, content))
        if len(alternatives(field.annotation)) > 1 and self._may_be_complex(field):
            try:
                return current.handed_out(self._decoded(place, field, content))
            except InvalidValueError:
                return content
        return content

    def _may_be_complex(self, field: FieldInfo) -> bool:
        return any(
            self.field_is_complex(FieldInfo.from_annotation(one))
            for one in alternatives(field.annotation)
            if one is not type(None)
        )

    def _decoded(self, place: Wanted, field: FieldInfo, content: Any) -> Any:
        try:
            return self.decode_complex_value(place.field_name, field, content)
        except (ValueError, RecursionError):
            pass
        # Raised outside the handler: the decoding error carries the text.
        raise InvalidValueError(
            f"{place.name} is no JSON, which the field {place.field_name} needs",
            code="not_json",
            name=place.name,
            hint="store JSON, or name a member of it with FromSecret",
        )


def _part(secret: Secret | None, member: str | None) -> Secret | None:
    if secret is None or member is None:
        return secret
    try:
        return secret.field(member)
    except SecretNotFoundError:
        return None

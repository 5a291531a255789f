"""A base class for settings with all that they need to be filled from strongroom."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from strongroom_pydantic.problems import without_values
from strongroom_pydantic.reading import Reading, reading
from strongroom_pydantic.resolving import ResolvingSettingsSource
from strongroom_pydantic.source import StrongroomSettingsSource


class StrongroomConfigDict(SettingsConfigDict, total=False):
    """The configuration of settings that are filled from strongroom: pydantic's own, and a prefix."""

    strongroom_prefix: str
    """What is put before the names of fields, such as ``shop/``."""


class SecretSettings(BaseSettings):
    """Settings that are filled from arguments, the environment, ``.env`` files and then secrets, in this order.

    In the environment and in ``.env`` files ``strongroom://NAME`` refers to a secret; see
    :class:`ResolvingSettingsSource`. What else is filled from which secret :class:`StrongroomSettingsSource` says, with
    ``strongroom_prefix`` of ``model_config`` as its prefix.

    What pydantic refuses, also when a field is set, is reported without any value: neither the error's text nor its
    ``errors()`` or ``json()`` holds one, and no frame of its traceback. Settings of this class are otherwise as any
    other ones: a field that is a plain ``str`` shows itself in their ``repr``, one that is a ``SecretStr`` does not.

    Raises:
        ValidationError: A field is missing, or its value is not as it should be.
        StrongroomError: A secret cannot be read; that there is none is no error.
    """

    model_config: ClassVar[SettingsConfigDict] = StrongroomConfigDict(hide_input_in_errors=True)

    def __init__(self, /, **values: Any) -> None:
        problem: ValidationError
        with reading() as current:
            try:
                super().__init__(**values)
            except ValidationError as error:
                problem = without_values(error, current)
            else:
                return
        # Pydantic has filled it in before a validator of the whole refused it, and tracebacks may show variables.
        del self
        # Raised outside the handler, and so without pydantic's own error and the frames that hold the values.
        raise problem

    def __setattr__(self, name: str, value: Any) -> None:
        """Set a field, which pydantic may refuse: if the class is frozen, or has ``validate_assignment``.

        Args:
            name: The field's name.
            value: Its new value.

        Raises:
            ValidationError: It is refused; the error holds neither this value nor one of another field, except numbers
                of up to three digits in a field that shows them.
        """
        problem: ValidationError
        try:
            super().__setattr__(name, value)
        except ValidationError as error:
            # A validator of the whole sees all fields.
            problem = without_values(error, Reading.of([value, self]))
        else:
            return
        # As above.
        del self, value
        raise problem

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources, the first before all others; override it to have others, or another order."""
        return (
            init_settings,
            ResolvingSettingsSource(settings_cls, env_settings),
            ResolvingSettingsSource(settings_cls, dotenv_settings),
            StrongroomSettingsSource(settings_cls),
            file_secret_settings,
        )

"""The module that Django looks for in an engine.

Its class is made when it is asked for: Django's own can be imported only where psycopg or psycopg2 is installed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from strongroom_django.logins import Login, SecretLoginMixin


def __getattr__(name: str) -> Any:
    if name == "DatabaseWrapper":
        return _wrapper()
    raise AttributeError(f"module {__name__} has no attribute {name}")


@cache
def _wrapper() -> Any:
    """Return the class of connections to PostgreSQL that log in with what a secret says.

    Raises:
        ImproperlyConfigured: Neither psycopg nor psycopg2 is installed.
    """
    from django.db.backends.postgresql import base, client

    class DatabaseClient(client.DatabaseClient):  # type: ignore[misc]  # Django has no types
        """What ``manage.py dbshell`` starts, with the same login."""

        @classmethod
        def settings_to_cmd_args_env(cls, settings_dict: Mapping[str, Any], parameters: Sequence[str]) -> Any:
            login = Login.of(settings_dict)
            filled = settings_dict if login is None else {**settings_dict, **login.read()}
            return super().settings_to_cmd_args_env(filled, parameters)

    class DatabaseWrapper(SecretLoginMixin, base.DatabaseWrapper):  # type: ignore[misc]  # as above
        """A connection to PostgreSQL that logs in with what a secret says."""

        client_class = DatabaseClient

    return DatabaseWrapper

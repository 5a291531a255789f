"""Recognises what SOPS has encrypted, so that nobody stores ciphertext as if it were the secret."""

from __future__ import annotations

import re

from typing import Final

from strongroom.cli.documents import Members
from strongroom.errors import ConfigurationError
from strongroom.inputs import STANDARD, label_of
from strongroom.model import SecretValue

_MARK: Final = "ENC[AES256_GCM,data:"
"""What each value begins with that SOPS has encrypted."""
_LINE: Final = re.compile(rb"^(?:[^=\n]*[=:][ \t]*[\"']?|[ \t]*)ENC\[AES256_GCM,data:", re.MULTILINE)


def refuse_text(content: SecretValue, source: str) -> None:
    """Refuse a text of lines, such as a ``.env`` or INI file, that SOPS has encrypted.

    Args:
        content: The file's bytes.
        source: The file; ``-`` for standard input.

    Raises:
        ConfigurationError: It is encrypted.
    """
    if _has_line(content.reveal()):
        _refuse(source, "json")


def refuse(document: Members, source: str, form: str) -> None:
    """Refuse a document that SOPS has encrypted.

    Args:
        document: What the file holds.
        source: The file; ``-`` for standard input.
        form: ``json`` or ``yaml``.

    Raises:
        ConfigurationError: It is encrypted.
    """
    if _has_metadata(document) or _has_mark(document):
        _refuse(source, form)


def _has_line(content: bytes) -> bool:
    return _LINE.search(content) is not None


def _has_metadata(document: Members) -> bool:
    """Tell whether there is what SOPS keeps beside the values, although none of them may be encrypted."""
    return any(
        key == "sops" and isinstance(value, Members) and any(inner == "mac" for inner, _ in value.members)
        for key, value in document.members
    )


def _has_mark(document: Members) -> bool:
    left = [document]
    while left:
        for _, value in left.pop().members:
            if isinstance(value, Members):
                left.append(value)
            elif isinstance(value, str) and value.startswith(_MARK):
                return True
    return False


def _refuse(source: str, form: str) -> None:
    # Imported here: hardly a file is encrypted.
    import shlex

    file = "FILE" if source == STANDARD else shlex.quote(source)
    # As JSON, since the lines of a decrypted .env file have lost where their values had line feeds.
    decrypt = f"sops decrypt {file}" if form == "yaml" else f"sops decrypt --output-type json {file}"
    raise ConfigurationError(
        f"{label_of(source)} is encrypted by SOPS, and nothing of it was used",
        hint=f"import what it decrypts: {decrypt} | strongroom import - --format {form} --flatten",
    )

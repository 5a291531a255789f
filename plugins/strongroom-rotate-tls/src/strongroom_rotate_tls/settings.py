"""What a configuration may say under ``[rotation."..."]`` with ``rotator = "tls"``."""

from __future__ import annotations

from typing import Final

from strongroom.contracts import KeySource, Record, Seconds
from strongroom_rotate_tls.names import address_problem, is_host, name_problem

KEYS: Final = ("ec-p256", "ec-p384", "ed25519", "rsa-3072")
USAGES: Final = ("server", "client", "both")
FORMATS: Final = ("json", "pem")
LONGEST_COMMON_NAME: Final = 64
"""Characters, as X.509 has it."""
LONGEST_LIFE: Final = 100 * 366 * 86400.0


class TlsSettings(Record):
    """Settings of the rotator ``tls``."""

    ca: str | None = None
    """The name of the secret that is the authority: its certificates and its private key in one PEM text, or a JSON
    object with ``certificate`` and ``private_key``, and ``chain`` if it is no root."""
    ca_certificate: KeySource | None = None
    """Instead of ``ca``: the authority's certificates in PEM, its own and those above it."""
    ca_key: KeySource | None = None
    """Its private key in PEM, read at each use."""
    common_name: str | None = None
    """The subject's name; the first of ``names`` unless given. If it is a DNS name, it is one of ``names``, too."""
    organization: str | None = None
    """The subject's organization."""
    names: tuple[str, ...] = ()
    """The DNS names that the certificate is for, such as ``web.example.com`` or ``*.example.com``."""
    addresses: tuple[str, ...] = ()
    """The IP addresses that it is for."""
    life: Seconds = 90 * 86400.0
    """How long a certificate lives; never longer than its authority."""
    key: str = "ec-p256"
    """What kind of key it has: ``ec-p256``, ``ec-p384``, ``ed25519`` or ``rsa-3072``."""
    usage: str = "server"
    """What it is for: ``server``, ``client`` or ``both``."""
    format: str = "json"
    """``json`` for an object with ``certificate``, ``private_key``, ``chain``, ``not_before``, ``not_after`` and
    ``serial``; ``pem`` for key, certificate and chain in one text."""

    def problems(self) -> list[str]:
        """Return each broken rule as a sentence."""
        return self._about_authority() + self._about_names() + self._about_choices()

    def _about_authority(self) -> list[str]:
        pair = (self.ca_certificate, self.ca_key)
        if self.ca is None and None in pair:
            return ["ca is needed, or ca_certificate and ca_key"]
        if self.ca is not None and pair != (None, None):
            return ["ca stands for ca_certificate and ca_key: give it or them"]
        return []

    def _about_names(self) -> list[str]:
        found = [f"names: {name!r} {problem}" for name in self.names if (problem := name_problem(name))]
        found += [f"addresses: {one!r} {problem}" for one in self.addresses if (problem := address_problem(one))]
        if not self.dns_names and not self.addresses:
            found.append("names or addresses are needed: clients look at nothing else")
        for what, text in (("common_name", self.common_name), ("organization", self.organization)):
            if text is not None and not (0 < len(text) <= LONGEST_COMMON_NAME and text.isprintable()):
                found.append(f"{what} is not 1 to {LONGEST_COMMON_NAME} printable characters")
        if len((self.common_name or "").encode(errors="replace")) > LONGEST_COMMON_NAME and not found:
            found.append(f"common_name is longer than {LONGEST_COMMON_NAME} bytes in UTF-8")
        return found

    def _about_choices(self) -> list[str]:
        choices = {"key": (self.key, KEYS), "usage": (self.usage, USAGES), "format": (self.format, FORMATS)}
        found = [f"{name} is none of {', '.join(of)}" for name, (value, of) in choices.items() if value not in of]
        if not 1 <= self.life <= LONGEST_LIFE:
            found.append("life is not from 1 second to 100 years")
        return found

    @property
    def dns_names(self) -> tuple[str, ...]:
        """The DNS names, each once and in small letters, the common name first if it is one."""
        first = (self.common_name,) if self.common_name is not None and is_host(self.common_name) else ()
        return tuple(dict.fromkeys(name.lower() for name in (*first, *self.names)))

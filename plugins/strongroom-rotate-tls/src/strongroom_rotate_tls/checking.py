"""Whether a certificate would be accepted by those who trust its authority."""

from __future__ import annotations

from datetime import datetime
from ipaddress import ip_address, ip_network
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import Criticality, ExtensionPolicy, PolicyBuilder, Store, VerificationError

from strongroom_rotate_tls.authority import Authority, is_issued_by
from strongroom_rotate_tls.bundle import Bundle
from strongroom_rotate_tls.issuing import PURPOSES
from strongroom_rotate_tls.settings import TlsSettings

_LABEL: Final = "h"
"""Stands for any label where a name has ``*``."""


def problem_of(bundle: Bundle, authority: Authority, settings: TlsSettings, now: datetime) -> str:
    """Return why a certificate would not be accepted; empty if it would.

    Args:
        bundle: The certificate with its key.
        authority: Whom the others trust.
        settings: What the certificate is for.
        now: When.
    """
    certificate = bundle.certificate
    if certificate.public_key() != bundle.key.public_key():
        return "does not belong to its private key"
    if not is_issued_by(certificate, authority.certificate):
        return "is not signed by the authority"
    if not certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc:
        return "is not valid now"
    if not _is_named(certificate, settings):
        return "is not made out to the names of the settings"
    if not all(_may_issue(one, settings.usage) for one in authority.chain):
        return f"is not accepted with the authority's certificates: one of them is not for usage {settings.usage!r}"
    try:
        # The verifier knows the kinds of keys that public authorities may have, and no others.
        if all(isinstance(one.public_key(), ec.EllipticCurvePublicKey | rsa.RSAPublicKey) for one in authority.chain):
            _verify(certificate, authority, settings, now)
            is_accepted = True
        else:
            is_accepted = all(_lets(one, certificate) for one in authority.chain)
    except VerificationError:
        is_accepted = False
    return "" if is_accepted else "is not accepted with the authority's certificates, by their constraints say"


def _is_named(certificate: x509.Certificate, settings: TlsSettings) -> bool:
    try:
        given = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    addresses = set(map(ip_address, settings.addresses))
    return set(settings.dns_names) <= set(given.get_values_for_type(x509.DNSName)) and addresses <= set(
        given.get_values_for_type(x509.IPAddress)
    )


def _may_issue(issuer: x509.Certificate, usage: str) -> bool:
    """Tell whether an authority's certificate lets it issue those for a usage; one that does not say so does."""
    try:
        allowed = set(issuer.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        return True
    return ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in allowed or allowed.issuperset(PURPOSES[usage])


def _lets(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    """Tell whether the constraints of an authority's certificate let a certificate have its names."""
    try:
        limits = issuer.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return True
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    for name in names:
        allowed = [tree for tree in limits.permitted_subtrees or () if type(tree) is type(name)]
        if allowed and not any(_is_below(name, tree) for tree in allowed):
            return False
        if any(_is_below(name, tree) or _is_above(name, tree) for tree in limits.excluded_subtrees or ()):
            return False
    return True


def _is_below(name: x509.GeneralName, tree: x509.GeneralName) -> bool:
    if isinstance(name, x509.DNSName) and isinstance(tree, x509.DNSName):
        return f".{name.value.lower()}".endswith(f".{tree.value.lower().lstrip('.')}") or not tree.value
    if isinstance(name, x509.IPAddress) and isinstance(tree, x509.IPAddress):
        return ip_address(str(name.value)) in ip_network(str(tree.value))
    return False


def _is_above(name: x509.GeneralName, tree: x509.GeneralName) -> bool:
    """Tell whether a name with ``*`` stands for one that a tree holds."""
    if not isinstance(name, x509.DNSName) or not isinstance(tree, x509.DNSName):
        return False
    return name.value.startswith("*.") and tree.value.lstrip(".").partition(".")[2].lower() == name.value[2:].lower()


def _verify(certificate: x509.Certificate, authority: Authority, settings: TlsSettings, now: datetime) -> None:
    *below, top = authority.chain
    # Those of the authority have been looked at: a private one need not have all that a public one must.
    of_authorities = ExtensionPolicy.permit_all().require_present(x509.BasicConstraints, Criticality.AGNOSTIC, None)
    builder = (
        PolicyBuilder()
        .store(Store([top]))
        .time(now)
        .extension_policies(ca_policy=of_authorities, ee_policy=ExtensionPolicy.webpki_defaults_ee())
    )
    if settings.usage != "client":
        for subject in _subjects(settings):
            builder.build_server_verifier(subject).verify(certificate, below)
    if settings.usage != "server":
        builder.build_client_verifier().verify(certificate, below)


def _subjects(settings: TlsSettings) -> list[x509.DNSName | x509.IPAddress]:
    names = [name.replace("*", _LABEL, 1) for name in settings.dns_names]
    return [*map(x509.DNSName, names), *(x509.IPAddress(ip_address(one)) for one in settings.addresses)]

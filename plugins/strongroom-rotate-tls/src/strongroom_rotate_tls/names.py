"""Names and addresses that a certificate may be made out to."""

from __future__ import annotations

from typing import Final

LONGEST_NAME: Final = 253
LONGEST_LABEL: Final = 63
_LETTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")


def name_problem(text: str) -> str:
    """Return what is wrong with a DNS name, which may begin with ``*.``; empty if nothing is.

    Args:
        text: The name.
    """
    if not text.isascii():
        return "is not in ASCII: write it with xn--"
    host = text.lower().removeprefix("*.")
    if not host or len(text) > LONGEST_NAME:
        return f"is not of 1 to {LONGEST_NAME} characters"
    labels = host.split(".")
    if not all(_is_label(label) for label in labels):
        return "is not labels of letters, digits and inner hyphens, joined by dots; * may only be the whole first one"
    if labels[-1].isdigit():
        return "is an address or ends as one: see addresses"
    return ""


def is_host(text: str) -> bool:
    """Tell whether a common name is a DNS name, too."""
    return not name_problem(text)


def address_problem(text: str) -> str:
    """Return what is wrong with an IP address; empty if nothing is.

    Args:
        text: The address, of version 4 or 6.
    """
    from ipaddress import ip_address  # most commands never look at these settings

    try:
        ip_address(text)
    except ValueError:
        return "is no IP address"
    return "has a zone, which certificates know nothing of" if "%" in text else ""


def _is_label(label: str) -> bool:
    return 0 < len(label) <= LONGEST_LABEL and _LETTERS.issuperset(label) and label[0] != "-" != label[-1]

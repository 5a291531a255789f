"""Times as people say them."""

from __future__ import annotations


def spoken(seconds: float) -> str:
    """Return a time in words, such as ``42 s`` or ``3 h 5 min``."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"

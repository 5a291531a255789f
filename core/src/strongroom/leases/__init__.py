"""Credentials that live for a while: renewed, replaced before their end, and revoked."""

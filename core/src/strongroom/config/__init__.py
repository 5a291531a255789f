"""Reads ``strongroom.toml`` and everything that overrides it."""

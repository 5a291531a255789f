"""Logging in, each method a module."""

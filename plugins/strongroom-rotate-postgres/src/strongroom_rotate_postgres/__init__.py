"""Strongroom rotators for the passwords of PostgreSQL users."""

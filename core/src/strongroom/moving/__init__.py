"""Carries secrets from one backend to another, and compares two of them."""

"""A source for pydantic-settings whose settings follow the secret."""

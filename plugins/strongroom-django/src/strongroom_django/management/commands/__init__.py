"""Commands that take the place of Django's own of the same name."""

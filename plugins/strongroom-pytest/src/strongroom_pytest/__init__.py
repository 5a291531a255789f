"""A throw-away manager for tests, and a check that no test prints a value."""

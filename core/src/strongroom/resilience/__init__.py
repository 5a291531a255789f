"""The boundary to a backend: each call through one guard, with a deadline, a breaker, and errors of one family."""

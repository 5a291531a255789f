"""Django's engine for PostgreSQL, which logs in with what a secret says at each connect."""

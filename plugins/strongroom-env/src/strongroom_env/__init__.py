"""A strongroom backend that reads environment variables and .env files."""

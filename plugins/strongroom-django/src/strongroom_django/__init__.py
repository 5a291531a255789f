"""Django settings and a health check for strongroom."""

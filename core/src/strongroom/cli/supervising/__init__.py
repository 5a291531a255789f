"""``run --on-change``: a parent that watches the secrets of its program, and starts it anew or signals it."""

"""A plugin of every kind that tries to see what is not its own."""

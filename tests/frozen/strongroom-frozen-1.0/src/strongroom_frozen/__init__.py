"""A plugin of every kind, written against strongroom 1.0."""

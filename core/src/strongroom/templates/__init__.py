"""Fills secrets into templates of files, once or whenever one of them changes."""

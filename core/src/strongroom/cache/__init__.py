"""Answers kept in memory: entries and their times, what leaves, loads that are shared, and figures."""

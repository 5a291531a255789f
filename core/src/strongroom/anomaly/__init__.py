"""Odd access: the stage that asks the detectors, what they have learned, and what they would have said."""

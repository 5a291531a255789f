"""Anomaly detectors for strongroom: what they find odd, they report or stop."""

"""What a model is told when it gets no result. These texts are safe to be shown: no value and no input is in them."""

from __future__ import annotations


class RefusedError(Exception):
    """A call is not made, or has no result; the text is for the model."""

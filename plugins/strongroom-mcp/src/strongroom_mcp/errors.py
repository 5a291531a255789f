"""What a model is told when it gets no result. These texts are safe to be shown: no value and no input is in them."""

from __future__ import annotations


class RefusedError(Exception):
    """A call is not made, or has no result.

    Args:
        text: For the model.
        result: For the trail: why.
        recorded: Whether it is for the trail at all.
    """

    def __init__(self, text: str, *, result: str, recorded: bool = True) -> None:
        super().__init__(text)
        self.result = result
        self.recorded = recorded


def invalid_parameters(text: str) -> RefusedError:
    """Return the refusal of a call whose parameters cannot be used.

    Args:
        text: For the model.
    """
    return RefusedError(text, result="invalid_parameters")

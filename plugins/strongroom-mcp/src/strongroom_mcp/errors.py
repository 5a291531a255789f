"""What a model is told when it gets no result. These texts are safe to be shown: no value and no input is in them."""

from __future__ import annotations


class RefusedError(Exception):
    """A call is not made, or has no result.

    Args:
        text: For the model.
        result: For the trail; unless given, what the model has said cannot be used.
        recorded: Whether it is for the trail at all.
    """

    def __init__(self, text: str, *, result: str = "invalid_parameters", recorded: bool = True) -> None:
        super().__init__(text)
        self.result = result
        self.recorded = recorded

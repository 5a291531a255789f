"""Values in text: found in whatever form they stand there, and replaced.

What is found and what is not stands in :class:`Masker`.
"""

from strongroom.masking.masker import Masker as Masker
from strongroom.masking.stream import MaskingStream as MaskingStream

__all__ = ["Masker", "MaskingStream"]

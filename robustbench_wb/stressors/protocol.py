"""Evaluation protocols. Numbers of different protocols are never compared or ranked together."""

from typing import Literal

ProtocolName = Literal["sound", "as-published"]
"""``sound``: pixels in [0, 1], true labels. ``as-published``: the protocol of some papers, with its defects."""

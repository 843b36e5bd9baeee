"""Variants whose layer norms are RMS norms."""

from robustbench_wb.models.variant import Variant


class RmsNormVariant(Variant):
    """Architecture recipe like ``Variant``, with an RMS norm in place of every layer norm of the model.

    The choice is a type and not a field of ``Variant``, so that the code digests of all other variants stay as they
    are.
    """

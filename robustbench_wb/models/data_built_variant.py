"""Variants whose layers are computed from the training data before they are trained."""

from robustbench_wb.models.variant import Variant


class DataBuiltVariant(Variant):
    """Architecture recipe like ``Variant`` for image classification, with layers computed from the training split.

    Training starts from these layers, and the recipe ``none`` evaluates them as they are. Features have unit length: in
    place of every layer norm of the model stands a projection of the whole sample to the unit sphere. The choice is a
    type and not a field of ``Variant``, so that the code digests of all other variants stay as they are.
    """

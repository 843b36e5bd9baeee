"""Patch size of image tasks whose images may not fit into patches."""

from robustbench_wb.errors import DataError
from robustbench_wb.tasks.task import default_patch


def fitting_patch(height: int, width: int) -> int:
    """Side of a patch; larger than the image if no patch, or only the whole image, divides both sides.

    Variants need patches; models of users do not.
    """
    try:
        patch = default_patch(height, width)
    except DataError:
        patch = max(height, width)
    return patch + 1 if patch == max(height, width) > 1 else patch

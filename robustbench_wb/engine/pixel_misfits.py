"""Stressors and recipes that do not fit a segmentation task, or fit nothing else."""

from robustbench_wb.errors import UsageError
from robustbench_wb.models.segmentation_shape import SegmentationShape
from robustbench_wb.stressors.attacks.pixel_attack import PixelAttack
from robustbench_wb.stressors.contamination.duplicates import Duplicates, NearDuplicates
from robustbench_wb.stressors.contamination.training_outliers import TrainingOutliers
from robustbench_wb.stressors.out_of_distribution.out_of_distribution import OutOfDistribution
from robustbench_wb.stressors.stressor import Stressor
from robustbench_wb.tasks.task import Dataset
from robustbench_wb.training.recipe import Recipe

_KEEP_LABELS = (TrainingOutliers, Duplicates, NearDuplicates)
"""Contaminations of training that take labels of any shape, because they do not read them."""


def refuse_pixel_misfit(stressor: Stressor, dataset: Dataset) -> None:
    """Refuse stressors that need one label per image where pixels have labels, and attacks on pixels elsewhere.

    Raises:
        UsageError: the stressor does not fit the labels of the task.
    """
    dense = isinstance(dataset.shape, SegmentationShape)
    if isinstance(stressor, PixelAttack) and not dense:
        raise UsageError(f"stressor {stressor.name!r} attacks labels of pixels, and task {dataset.label!r} has none")
    if not dense or isinstance(stressor, PixelAttack):
        return
    if isinstance(stressor, OutOfDistribution):
        raise UsageError(
            f"stressor {stressor.name!r} compares the largest logit of whole images, and task {dataset.label!r} has "
            "logits for each pixel"
        )
    if stressor.kind is not None or stressor.adversarial():
        raise UsageError(
            f"stressor {stressor.name!r} looks for a wrong class of an image, and task {dataset.label!r} has a class "
            "for each pixel; use suite 'adversarial-segmentation', or pixel-pgd-linf, segpgd-linf, pixel-ensemble-linf"
        )
    if stressor.retrains and not isinstance(stressor, _KEEP_LABELS):
        names = ", ".join(kind.name for kind in _KEEP_LABELS)
        raise UsageError(
            f"stressor {stressor.name!r} changes the class of an image, and task {dataset.label!r} has a class for "
            f"each pixel; {names} keep labels"
        )


def refuse_moved_images(recipe: Recipe, dataset: Dataset) -> None:
    """Refuse a recipe that moves images of a segmentation task.

    Raises:
        UsageError: the recipe shifts or flips images, which would no longer fit their labels.
    """
    if isinstance(dataset.shape, SegmentationShape) and (recipe.shift or recipe.flip):
        raise UsageError(
            f"task {dataset.label!r} has labels of pixels, which do not move with the image; set shift=0 and "
            "flip=false in the recipe",
            "recipe",
        )

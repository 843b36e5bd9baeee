"""Training budgets of segmentation tasks. Images are not shifted or flipped, because their labels would have to move.

This module is apart from ``robustbench_wb.training.recipe``, whose code is part of the identity of every trained model.
"""

from typing import Final

from robustbench_wb.training.recipe import Recipe, Scale

_SCATTERED: Final[dict[Scale, Recipe]] = {
    "smoke": Recipe(epochs=30, batch=32, learning_rate=3e-3),
    "small": Recipe(epochs=100, batch=32, learning_rate=3e-3),
    "full": Recipe(epochs=300, batch=32, learning_rate=3e-3),
}
_ANY_SEGMENTATION: Final[dict[Scale, Recipe]] = {
    "smoke": Recipe(epochs=3, batch=32, train_samples=4_000, learning_rate=1e-3),
    "small": Recipe(epochs=10, batch=32, learning_rate=1e-3),
    "full": Recipe(epochs=100, batch=64, learning_rate=1e-3),
}
BUDGETS: Final = {
    "scattered-digits": _SCATTERED,
    **dict.fromkeys(("ade20k", "folder-segmentation"), _ANY_SEGMENTATION),
}
"""Recipes of standard training, by kind of task and scale."""


def with_segmentation_budget(recipe: Recipe, task: str, scale: Scale) -> Recipe:
    """Return the budget of a segmentation task with the adversary of a recipe for image classification.

    Recipes of other tasks, and recipes without training, are returned as they are.
    """
    if task not in BUDGETS or recipe.epochs == 0:
        return recipe
    return BUDGETS[task][scale].model_copy(update={"adversary": recipe.adversary})

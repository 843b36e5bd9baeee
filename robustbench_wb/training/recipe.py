"""How a variant is trained on a task. The recipe is part of the subject's identity."""

from typing import Literal

from pydantic import Field

from robustbench_wb.errors import UnknownNameError
from robustbench_wb.registry import suggest
from robustbench_wb.spec import Spec

Scale = Literal["smoke", "small", "full"]


class Recipe(Spec):
    """AdamW (Loshchilov & Hutter 2019) with linear warm-up and cosine decay to zero, cross-entropy."""

    epochs: int = Field(ge=0)
    """Passes over the training samples; 0 leaves the model as it was built."""
    train_samples: int | None = Field(default=None, ge=1)
    """Only the first this many samples of a fixed random order; None: all."""
    batch: int = Field(default=128, ge=1)
    learning_rate: float = Field(default=2e-3, gt=0)
    """Peak rate, reached after the warm-up."""
    weight_decay: float = Field(default=0.05, ge=0)
    """On matrices only; vectors (biases, norms) are not decayed."""
    warmup: float = Field(default=0.1, ge=0, le=1)
    """Share of all steps with a linearly rising rate."""
    clip: float = Field(default=1.0, gt=0)
    """Largest gradient norm."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    shift: int = Field(default=0, ge=0)
    """Random translation by at most this many pixels, zero padded."""
    flip: bool = False
    """Random horizontal flip."""
    masked: float = Field(default=0.0, ge=0, lt=1)
    """Share of the words of a text that training hides behind [MASK]."""


AS_BUILT = Recipe(epochs=0)

# Budgets per scale: smoke is minutes for five variants on two CPU cores, small a coffee break, full a GPU.
_STANDARD: dict[str, dict[Scale, Recipe]] = {
    "digits": {
        "smoke": Recipe(epochs=30, batch=64, learning_rate=3e-3),
        "small": Recipe(epochs=100, batch=64, learning_rate=3e-3, shift=1),
        "full": Recipe(epochs=300, batch=64, learning_rate=3e-3, shift=1),
    },
    "fashion-mnist": {
        "smoke": Recipe(epochs=3, train_samples=12_000),
        "small": Recipe(epochs=6),
        "full": Recipe(epochs=100, batch=256, learning_rate=1e-3, shift=2, flip=True, label_smoothing=0.1),
    },
    "digits-sequence": {
        "smoke": Recipe(epochs=25, batch=64, learning_rate=3e-3),
        "small": Recipe(epochs=60, batch=64, learning_rate=3e-3),
        "full": Recipe(epochs=200, batch=64, learning_rate=3e-3),
    },
    "sentences": {
        "smoke": Recipe(epochs=15, batch=64, learning_rate=2e-3),
        "small": Recipe(epochs=20, batch=64, learning_rate=2e-3),
        "full": Recipe(epochs=60, batch=64, learning_rate=2e-3),
    },
    "sentences-lm": {
        "smoke": Recipe(epochs=6, batch=32, learning_rate=3e-3),
        "small": Recipe(epochs=12, batch=32, learning_rate=3e-3),
        "full": Recipe(epochs=30, batch=32, learning_rate=3e-3),
    },
    "sst2": {
        "smoke": Recipe(epochs=2, batch=128, train_samples=20_000, learning_rate=1e-3, masked=0.1),
        "small": Recipe(epochs=5, batch=128, learning_rate=1e-3, masked=0.1),
        "full": Recipe(epochs=10, batch=128, learning_rate=3e-4, masked=0.1),
    },
    "imdb": {
        "smoke": Recipe(epochs=3, batch=64, train_samples=5_000, learning_rate=1e-3, masked=0.1),
        "small": Recipe(epochs=5, batch=64, learning_rate=1e-3, masked=0.1),
        "full": Recipe(epochs=10, batch=64, learning_rate=3e-4, masked=0.1),
    },
}
_ANY_TEXT: dict[Scale, Recipe] = {
    "smoke": Recipe(epochs=2, batch=64, train_samples=4_000, learning_rate=1e-3, masked=0.1),
    "small": Recipe(epochs=4, batch=64, train_samples=30_000, learning_rate=1e-3, masked=0.1),
    "full": Recipe(epochs=10, batch=64, learning_rate=3e-4, masked=0.1),
}
_ANY_LANGUAGE: dict[Scale, Recipe] = {
    "smoke": Recipe(epochs=1, batch=32, train_samples=4_000, learning_rate=2e-3),
    "small": Recipe(epochs=1, batch=32, train_samples=30_000, learning_rate=2e-3),
    "full": Recipe(epochs=10, batch=32, learning_rate=1e-3),
}
_BY_TASK = {
    **_STANDARD,
    **dict.fromkeys(("ag_news", "imdb-bytes"), _ANY_TEXT),
    **dict.fromkeys(("imdb-lm", "wikitext"), _ANY_LANGUAGE),
}
_ANY_IMAGES: dict[Scale, Recipe] = {
    "smoke": Recipe(epochs=3, train_samples=12_000),
    "small": Recipe(epochs=10, train_samples=30_000, shift=2, flip=True),
    "full": Recipe(epochs=200, batch=256, learning_rate=1e-3, shift=4, flip=True, label_smoothing=0.1),
}


def find_recipe(name: str, task: str, scale: Scale) -> Recipe:
    """The recipe ``name`` for a task at a scale: ``standard`` trains, ``none`` takes the model as it was built.

    Raises:
        UnknownNameError: no such recipe.
    """
    if name == "standard":
        return _BY_TASK.get(task, _ANY_IMAGES)[scale]
    if name == "none":
        return AS_BUILT
    raise UnknownNameError(f"unknown recipe {name!r}; {suggest(name, ['standard', 'none'])}")

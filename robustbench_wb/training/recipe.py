"""Training recipes: how a variant is trained on a task. The recipe is part of the trained model's identity."""

from collections.abc import Callable
from fractions import Fraction
from typing import Literal, Self

from pydantic import Field, model_validator

from robustbench_wb.errors import UsageError
from robustbench_wb.registry import Registry
from robustbench_wb.spec import Exact, Spec

Scale = Literal["smoke", "small", "full"]


class Adversary(Spec):
    """Adversary of adversarial training: projected gradient ascent from a random start in a ball around each image.

    ``pgd`` minimises the cross-entropy of the adversarial example (Madry et al. 2018, eq. 2.1). ``trades`` minimises
    the cross-entropy of the clean image plus ``beta`` times the divergence of the adversarial example (Zhang et al.
    2019, eq. 5).
    """

    method: Literal["pgd", "trades"]
    norm: Literal["linf", "l2"] = "linf"
    eps: Exact = Field(gt=0)
    """Radius of the ball, an exact fraction of the pixel range."""
    steps: int = Field(default=7, ge=1)
    """Number of gradient steps per image and optimiser step."""
    step: Exact = Field(default=Fraction(1, 4), gt=0)
    """Step size as a share of eps; Madry et al. take 7 steps of 1/4 on CIFAR-10."""
    beta: float | None = Field(default=None, gt=0)
    """Weight of the divergence for ``trades`` (1 / lambda in the paper); None for ``pgd``."""
    warmup: float = Field(default=0.0, ge=0, le=1)
    """Share of the training during which the radius grows linearly to eps."""

    @model_validator(mode="after")
    def _beta_is_of_trades(self) -> Self:
        if (self.method == "trades") != (self.beta is not None):
            raise UsageError(
                f"method trades needs beta and method pgd takes none; got method {self.method} and beta {self.beta}"
            )
        return self


class Recipe(Spec):
    """Training recipe: AdamW (Loshchilov & Hutter 2019) on the cross-entropy, linear warm-up, cosine decay to zero."""

    epochs: int = Field(ge=0)
    """Passes over the training samples; 0 leaves the model untrained."""
    train_samples: int | None = Field(default=None, ge=1)
    """Number of training samples, the first of a fixed random order; None for all."""
    batch: int = Field(default=128, ge=1)
    learning_rate: float = Field(default=2e-3, gt=0)
    """Peak learning rate, reached after the warm-up."""
    weight_decay: float = Field(default=0.05, ge=0)
    """Weight decay of matrices; vectors (biases, norms) have none."""
    warmup: float = Field(default=0.1, ge=0, le=1)
    """Share of all steps during which the learning rate grows linearly."""
    clip: float = Field(default=1.0, gt=0)
    """Gradient norm above which gradients are clipped."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    shift: int = Field(default=0, ge=0)
    """Maximal random translation in pixels, with zero padding."""
    flip: bool = False
    """Whether images are flipped horizontally at random."""
    masked: float = Field(default=0.0, ge=0, lt=1)
    """Share of the words of a text that training replaces by [MASK]."""
    threads: int = Field(default=1, ge=1)
    """CPU threads of the training, whatever the machine has: their number moves the last bits of the weights. With one,
    as many models as there are cores are trained at once, which is faster than one after the other on all cores."""
    adversary: Adversary | None = None
    """Adversary of adversarial training on images; None for standard training."""


AS_BUILT = Recipe(epochs=0)

# Training budgets per scale. smoke: minutes for five variants on two CPU cores; small: longer, on a CPU; full: a GPU.
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
# Long inputs have slow passes, so batches are small to get enough optimiser steps.
_LISTOPS: dict[Scale, Recipe] = {
    "smoke": Recipe(epochs=2, batch=32, train_samples=20_000, learning_rate=2e-3),
    "small": Recipe(epochs=10, batch=32, learning_rate=1e-3),
    "full": Recipe(epochs=20, batch=32, learning_rate=1e-3),
}
# Models learn late to evaluate expressions, and learn more from many short ones than from a few long ones.
_SHORT_LISTOPS: dict[Scale, Recipe] = {**_LISTOPS, "small": Recipe(epochs=5, batch=64, learning_rate=1e-3)}
_PLANTED: dict[Scale, Recipe] = {
    "smoke": Recipe(epochs=2, batch=64, learning_rate=2e-3),
    "small": Recipe(epochs=6, batch=64, learning_rate=1e-3),
    "full": Recipe(epochs=20, batch=64, learning_rate=1e-3),
}
_PIXELS: dict[Scale, Recipe] = {
    "smoke": Recipe(epochs=1, batch=32, train_samples=2_000, learning_rate=1e-3),
    "small": Recipe(epochs=1, batch=32, train_samples=10_000, learning_rate=1e-3),
    "full": Recipe(epochs=50, batch=128, learning_rate=1e-3),
}
_BYTES: dict[Scale, Recipe] = {
    "smoke": Recipe(epochs=1, batch=32, train_samples=4_000, learning_rate=1e-3),
    "small": Recipe(epochs=3, batch=32, learning_rate=1e-3),
    "full": Recipe(epochs=20, batch=32, learning_rate=3e-4),
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
    "digits-32": _STANDARD["digits"],
    **dict.fromkeys(("ag_news", "imdb-bytes"), _ANY_TEXT),
    **dict.fromkeys(("listops", "listops-1k", "listops-256", "lra-listops"), _LISTOPS),
    "listops-64": _SHORT_LISTOPS,
    **dict.fromkeys(("planted-1k", "planted-256", "planted-64"), _PLANTED),
    **dict.fromkeys(("text-bytes", "text-bytes-1k", "text-bytes-256", "lra-text"), _BYTES),
    **dict.fromkeys(("retrieval", "retrieval-1k", "lra-retrieval"), _BYTES),
    **dict.fromkeys(("image-pixels", "lra-image"), _PIXELS),
    **dict.fromkeys(("pathfinder", "pathfinder-easy", "path-x", "lra-pathfinder", "lra-path-x"), _PIXELS),
    **dict.fromkeys(("imdb-lm", "wikitext"), _ANY_LANGUAGE),
}
_ANY_IMAGES: dict[Scale, Recipe] = {
    "smoke": Recipe(epochs=3, train_samples=12_000),
    "small": Recipe(epochs=10, train_samples=30_000, shift=2, flip=True),
    "full": Recipe(epochs=200, batch=256, learning_rate=1e-3, shift=4, flip=True, label_smoothing=0.1),
}


# Adversarial training costs one gradient per step of the adversary, so the smaller scales use fewer samples.
_ROBUST: dict[str, dict[Scale, Recipe]] = {
    "digits": {"smoke": Recipe(epochs=20, batch=64, learning_rate=3e-3)},
    "fashion-mnist": {"small": Recipe(epochs=5, train_samples=30_000)},
}
_ROBUST_ANY: dict[Scale, Recipe] = {"small": Recipe(epochs=5, train_samples=20_000, shift=2, flip=True)}
_RADII = {"digits": Fraction(32, 255)}
"""Linf radii by task, default 8/255. Digits of 8x8 pixels need a larger radius because they have few pixels."""

RECIPES: Registry[Callable[[str, Scale], Recipe]] = Registry("recipe")
"""Functions from a task's name and a scale to a recipe."""
RECIPES.add("standard", f"{__name__}:standard", "cross-entropy on clean samples, with a budget per task and scale")
RECIPES.add("none", f"{__name__}:none", "no training: the model keeps its initial weights")
RECIPES.add("pgd-at", f"{__name__}:pgd_at", "images: adversarial training with PGD (Madry et al. 2018)")
RECIPES.add(
    "trades", f"{__name__}:trades", "images: TRADES, cross-entropy + 6 KL(clean || adversarial) (Zhang et al. 2019)"
)


def standard(task: str, scale: Scale) -> Recipe:
    """Return the standard recipe: cross-entropy on clean samples."""
    return _BY_TASK.get(task, _ANY_IMAGES)[scale]


def none(task: str, scale: Scale) -> Recipe:
    """Return the recipe without training."""
    return AS_BUILT


def pgd_at(task: str, scale: Scale) -> Recipe:
    """Return the recipe of adversarial training with PGD in Linf (Madry et al. 2018)."""
    return _against(task, scale, method="pgd", beta=None)


def trades(task: str, scale: Scale) -> Recipe:
    """Return the recipe of TRADES in Linf (Zhang et al. 2019), with beta = 6 as in their CIFAR-10 experiments."""
    return _against(task, scale, method="trades", beta=6.0)


def _against(task: str, scale: Scale, *, method: Literal["pgd", "trades"], beta: float | None) -> Recipe:
    budget = _ROBUST.get(task, _ROBUST_ANY).get(scale) or standard(task, scale)
    steps = 10 if scale == "full" else 5
    eps = _RADII.get(task, Fraction(8, 255))
    adversary = Adversary(method=method, eps=eps, steps=steps, beta=beta)
    return budget.model_copy(update={"adversary": adversary})


def find_recipe(name: str, task: str, scale: Scale) -> Recipe:
    """Return the recipe called ``name`` for a task at a scale.

    Raises:
        UnknownNameError: the recipe does not exist; the message suggests similar names.
    """
    return RECIPES.get(name)(task, scale)

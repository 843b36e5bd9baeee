"""How a variant is trained on a task. The recipe is part of the subject's identity."""

from collections.abc import Callable
from fractions import Fraction
from typing import Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from robustbench_wb.errors import UsageError
from robustbench_wb.registry import Registry
from robustbench_wb.spec import Exact, Spec

Scale = Literal["smoke", "small", "full"]


class Adversary(Spec):
    """Against what a recipe trains: projected ascent from a random start inside a ball around every image.

    ``pgd`` minimises the cross-entropy of the worst image found (Madry et al. 2018, eq. 2.1), ``trades`` the
    cross-entropy of the image itself plus ``beta`` times the divergence of the worst one (Zhang et al. 2019, eq. 5).
    """

    method: Literal["pgd", "trades"]
    norm: Literal["linf", "l2"] = "linf"
    eps: Exact = Field(gt=0)
    """Radius of the ball, an exact fraction; unit: full pixel range."""
    steps: int = Field(default=7, ge=1)
    """Gradients per image and optimiser step."""
    step: Exact = Field(default=Fraction(1, 4), gt=0)
    """Step length as a share of eps; Madry et al. go 7 steps of a quarter on CIFAR-10."""
    beta: float | None = Field(default=None, gt=0)
    """Weight of the divergence, with ``trades`` only; 1 / lambda in the paper."""
    warmup: float = Field(default=0.0, ge=0, le=1)
    """Share of the training over which the radius rises linearly to eps."""

    @model_validator(mode="after")
    def _beta_is_of_trades(self) -> Self:
        if (self.method == "trades") != (self.beta is not None):
            raise UsageError(f"an adversary of method trades has a beta, one of pgd has none; got {self.beta}")
        return self


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
    adversary: Adversary | None = None
    """Whom training is against, for images; None: nobody."""

    @model_serializer(mode="wrap")
    def _nobody_is_not_written(self, fields: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Plain recipes keep the digests, and so the checkpoints, that they had before there were adversaries."""
        written: dict[str, Any] = fields(self)
        if written.get("adversary", self) is None:
            del written["adversary"]
        return written


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
# Steps count on long inputs, where a pass takes long: batches are small.
_LISTOPS: dict[Scale, Recipe] = {
    "smoke": Recipe(epochs=2, batch=32, train_samples=20_000, learning_rate=2e-3),
    "small": Recipe(epochs=10, batch=32, learning_rate=1e-3),
    "full": Recipe(epochs=20, batch=32, learning_rate=1e-3),
}
# Evaluating is learnt late: many short expressions do more than a few long ones.
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


# Adversarial training costs a gradient per step of the adversary: where time is short, it sees fewer samples.
_ROBUST: dict[str, dict[Scale, Recipe]] = {
    "digits": {"smoke": Recipe(epochs=20, batch=64, learning_rate=3e-3)},
    "fashion-mnist": {"small": Recipe(epochs=5, train_samples=30_000)},
}
_ROBUST_ANY: dict[Scale, Recipe] = {"small": Recipe(epochs=5, train_samples=20_000, shift=2, flip=True)}
_RADII = {"digits": Fraction(32, 255)}
"""Of the Linf ball; 8/255 elsewhere. 8x8 digits have few pixels to spread a change over."""

RECIPES: Registry[Callable[[str, Scale], Recipe]] = Registry("recipe")
"""Functions of a task's name and a scale."""
RECIPES.add("standard", f"{__name__}:standard", "cross-entropy on clean samples, a budget per task and scale")
RECIPES.add("none", f"{__name__}:none", "no training: the model as it was built")
RECIPES.add("pgd-at", f"{__name__}:pgd_at", "images: cross-entropy of PGD's worst images (Madry et al. 2018)")
RECIPES.add("trades", f"{__name__}:trades", "images: cross-entropy + 6 KL(clean || worst) (Zhang et al. 2019)")


def standard(task: str, scale: Scale) -> Recipe:
    """Cross-entropy on clean samples."""
    return _BY_TASK.get(task, _ANY_IMAGES)[scale]


def none(task: str, scale: Scale) -> Recipe:
    """The model as it was built."""
    return AS_BUILT


def pgd_at(task: str, scale: Scale) -> Recipe:
    """Adversarial training with PGD (Madry et al. 2018), in Linf."""
    return _against(task, scale, "pgd", None)


def trades(task: str, scale: Scale) -> Recipe:
    """TRADES (Zhang et al. 2019), in Linf; beta = 6 as in their CIFAR-10 experiments."""
    return _against(task, scale, "trades", 6.0)


def _against(task: str, scale: Scale, method: Literal["pgd", "trades"], beta: float | None) -> Recipe:
    budget = _ROBUST.get(task, _ROBUST_ANY).get(scale) or standard(task, scale)
    steps = 10 if scale == "full" else 5
    eps = _RADII.get(task, Fraction(8, 255))
    adversary = Adversary(method=method, eps=eps, steps=steps, beta=beta)
    return budget.model_copy(update={"adversary": adversary})


def find_recipe(name: str, task: str, scale: Scale) -> Recipe:
    """The recipe ``name`` for a task at a scale.

    Raises:
        UnknownNameError: no such recipe; the message suggests near ones.
    """
    return RECIPES.get(name)(task, scale)

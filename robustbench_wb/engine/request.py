"""What a user asks for, as one frozen value. Importing this module imports no torch."""

from typing import Literal

from pydantic import Field

from robustbench_wb.spec import Spec
from robustbench_wb.training.recipe import Scale


class RunRequest(Spec):
    """A run: suite x tasks x variants at a scale, and how to do it."""

    suite: str = "adversarial"
    """A registered suite, or a path of a TOML file."""
    tasks: tuple[str, ...] | None = None
    """None: the suite's."""
    variants: tuple[str, ...] | None = None
    """Registered variants, or models from outside: ``path.py:factory``, ``timm:NAME``, ``hf:NAME``; None: the
    suite's."""
    size: str | None = None
    """Size of registered variants; None: the scale's."""
    recipe: str = "standard"
    scale: Scale = "smoke"
    samples: int | None = Field(default=None, ge=1)
    """Evaluated samples; None: the scale's."""
    split: Literal["test", "validation"] = "test"
    """What is evaluated: ``validation`` to choose by, ``test`` to report."""
    stressors: tuple[str, ...] = ()
    """Signatures to run instead of the suite's own (``clean`` is always run)."""
    epsilons: tuple[str, ...] = ()
    """Strengths to use instead of the suite's lists."""
    checkpoint: str | None = None
    """A safetensors file to test instead of training; needs exactly one variant."""
    seed: int = Field(default=0, ge=0, lt=1 << 63)
    data_dir: str | None = None
    device: str = "auto"
    batch: int | None = Field(default=None, ge=1)
    """Samples per forward pass; None: as many as are fast and fit. Changes speed, not results."""
    workers: int = Field(default=1, ge=1)
    """Processes that measure; 1: this one alone. Changes speed, not results."""
    layers: bool = False
    """Whether to measure what each layer does, too."""

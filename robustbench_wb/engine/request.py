"""Request of a run, as one frozen value. Importing this module imports no torch."""

from collections.abc import Mapping
from typing import Literal

from pydantic import ConfigDict, Field, PrivateAttr, ValidationError, field_validator

from robustbench_wb.errors import UsageError
from robustbench_wb.invalid_fields import first_invalid_field
from robustbench_wb.models.providers.factory import Factory
from robustbench_wb.spec import Spec
from robustbench_wb.training.recipe import Scale

SearchPrecision = Literal["float32", "bfloat16", "tf32"]
"""Precision in which a model computes while an attack searches."""


ExecutorName = Literal["auto", "inline", "processes", "ray"]
"""Who measures the shards of a run."""


class RunRequest(Spec):
    """A run: suite, tasks, models and scale, and the way to carry it out.

    The text under each field is also the help of the command-line option for it.
    """

    model_config = ConfigDict(use_attribute_docstrings=True)

    suite: str | None = None
    """Name of a suite, or a TOML file of your own. Default: adversarial, or the one for the kind of the task."""
    tasks: tuple[str, ...] | None = None
    """Name of a task, folder:DIR of pictures in class folders (also 'folder:DIR;size=224'), texts:PATH of a CSV or JSON
    file, or a hub id OWNER/NAME. Default: the tasks of the suite."""
    variants: tuple[str, ...] | None = None
    """Model: a variant's name (also 'crate;lam=0.05', or 'crate;test.lam=1' to change it after training),
    path.py:factory, timm:NAME, hf:NAME or a plug-in's name. Default: those of the suite."""
    size: str | None = None
    """Size of registered variants. Default: the size of the scale."""
    recipe: str = "standard"
    """Training configuration, a name that `list recipes` prints (also 'standard;epochs=5'); 'none' evaluates the model
    as it is built."""
    scale: Scale = "smoke"
    """Amount of data and training: smoke, small or full. Results of different scales are never compared."""
    samples: int | None = Field(default=None, ge=1, lt=1 << 31)
    """Number of evaluated samples. Default: the number of the scale."""
    balanced: bool = False
    """Evaluate the same number of samples of each class, as far as there are enough."""
    split: str = Field(default="test", min_length=1)
    """Evaluated split: test to report results (or the only labelled one), validation (where a task has one) to choose
    between models; pictures may have others, like train."""
    classes: str | None = None
    """Outputs of the model by label, for a folder of pictures or images of the hub: imagenet-1k, or a file."""
    ids: str | None = None
    """File that names the evaluated pictures, one per line: a path, a unique file name, or a row number of the hub."""
    stressors: tuple[str, ...] = ()
    """Attack or corruption to run instead of those of the suite, like 'pgd-linf;eps=8/255;steps=40'."""
    epsilons: tuple[str, ...] = ()
    """Strength to use instead of the strengths of the suite, like 8/255."""
    checkpoint: str | None = None
    """Weights to evaluate (safetensors, or .pth/.pt of tensors) instead of training; needs exactly one model."""
    seed: int = Field(default=0, ge=0, lt=1 << 63)
    """Seed of training and of all noise."""
    data_dir: str | None = None
    """Local mirror of datasets in hub layout. Default: RBWB_DATA_DIR."""
    device: str = "auto"
    """Device: auto, cpu, cuda, cuda:1 or mps."""
    deterministic: bool = False
    """Use deterministic algorithms of torch alone; an evaluation that has none is an error. Slower on CUDA."""
    search_precision: SearchPrecision = "float32"
    """Precision of the model while attacks search: float32, bfloat16 or tf32. Every outcome is decided in float32, and
    what holds at the headline radius is searched again in it."""
    batch: int | None = Field(default=None, ge=1, lt=1 << 31)
    """Samples per forward pass; never changes a result. Default: as many as are fast and fit into memory."""
    executor: ExecutorName = "auto"
    """Who trains and evaluates: inline (this process), processes (others beside it), ray (actors of a Ray cluster), or
    auto, which takes processes for a long run on a CPU. Never changes a result."""
    workers: int | None = Field(default=None, ge=1, le=1024)
    """Number of processes that train and evaluate side by side; never changes a result. Default: one per core or card,
    one with ``isolate``."""
    isolate: bool = False
    """Measure each model in processes of its own: a crash, a hang or a lack of memory is an error of that model."""
    timeout: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Seconds for each cell, and for building a model; a cell that takes longer is an error. Training is not limited,
    but for a single step that hangs in another process."""
    layers: bool = False
    """Also measure what each layer does; the measures are columns of the CSV and JSON output."""
    _models: Mapping[str, Factory] = PrivateAttr(default_factory=dict)
    _trusted: frozenset[str] | None = PrivateAttr(default=None)

    @field_validator("samples", "seed", "batch", "workers", "timeout", mode="before")
    @classmethod
    def _refuse_other_types(cls, value: object) -> object:
        if isinstance(value, bool | str):  # pydantic would read them as numbers: true as 1
            raise ValueError(f"must be a number, not {value!r}")
        return value

    @field_validator("balanced", "deterministic", "isolate", "layers", mode="before")
    @classmethod
    def _refuse_words(cls, value: object) -> object:
        if not isinstance(value, bool):  # pydantic would read 1 and "yes" as true
            raise ValueError(f"must be true or false, not {value!r}")
        return value

    @property
    def models(self) -> Mapping[str, Factory]:
        """Models in memory by the name of their variant; they are not written with the request."""
        return self._models

    @property
    def trusted(self) -> frozenset[str] | None:
        """Models whose files may run as code; None: all, because the user made this request."""
        return self._trusted

    def with_trusted(self, names: frozenset[str]) -> "RunRequest":
        """Return a copy of the request that runs the code of no other files than those of these models."""
        copy = self.model_copy()
        copy._trusted = names
        return copy

    def with_models(self, models: Mapping[str, Factory]) -> "RunRequest":
        """Return a copy of the request in which the variants of these names are models in memory."""
        copy = self.model_copy()
        copy._models = dict(models)
        return copy


def validated(fields: Mapping[str, object]) -> RunRequest:
    """A request of these fields.

    Raises:
        UsageError: a value is out of range or unknown; the message names the parameter.
    """
    try:
        return RunRequest.model_validate(dict(fields))
    except ValidationError as error:
        wrong = first_invalid_field(error, RunRequest)
        raise UsageError(str(wrong), wrong.name.partition(".")[0]) from None

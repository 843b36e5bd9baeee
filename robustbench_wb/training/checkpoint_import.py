"""Conversion of checkpoints of other implementations to files for ``run --checkpoint``."""

from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save

from robustbench_wb.errors import CheckpointError, UsageError
from robustbench_wb.exports import write_export
from robustbench_wb.models.build import build
from robustbench_wb.models.catalogue import VARIANTS
from robustbench_wb.models.references.infer_shape import infer_shape
from robustbench_wb.models.references.load import find_family, load_reference
from robustbench_wb.models.references.mapping import CheckpointFamily
from robustbench_wb.models.shape import ImageShape, Pool, Shape
from robustbench_wb.models.variant import Variant
from robustbench_wb.models.weights import weights_digest
from robustbench_wb.text_files import is_file
from robustbench_wb.training.checkpoint import untied_copies
from robustbench_wb.training.given_checkpoint import read_state

Numbers = tuple[float, ...]

IMAGENET: tuple[Numbers, Numbers] = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and standard deviation per channel with which the reference implementations normalise images."""

_WORDS = {"eta": "eta", "lam": "lambda"}

_SEED = 0
"""Seed of the weights that a checkpoint may lack."""


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """User-supplied properties of a checkpoint; None selects the default or infers the value from the tensors."""

    eta: float | None = None
    lam: float | None = None
    mean: Numbers | None = None
    std: Numbers | None = None
    classes: int | None = None
    image: tuple[int, int] | None = None
    """Height and width in pixels."""
    pool: Pool | None = None
    """Pooling before the head; required where the file does not carry it."""


@dataclass(frozen=True, kw_only=True)
class ImportReport:
    """Result of an import: the written model and the assumptions made."""

    variant: str
    size: str
    modality: str
    shape: Shape
    parameters: int
    constants: dict[str, float]
    """eta and lambda as used (empty for variants without them); the written file stores them, the source does not."""
    mean: Numbers
    std: Numbers
    unused: tuple[str, ...]
    """Names in the source file that have no counterpart here."""
    fresh: tuple[str, ...]
    """Weights that the source file lacks, initialised at random; train them before any evaluation."""
    note: str
    weights: str
    """Digest of the written weights."""


def import_checkpoint(source: Path, output: Path, *, variant: str, size: str, given: ImportOptions) -> ImportReport:
    """Convert ``source``, a checkpoint of the implementation that ``variant`` follows, and write it to ``output``.

    ``source`` is a safetensors file or a torch file of tensors. ``output`` is a safetensors file with the weights under
    our names, and with mean, std, eta and lambda.

    Raises:
        UsageError: a value in ``given`` is missing, wrong, or does not apply to the variant.
        CheckpointError: the file cannot be read or is rejected, a weight is missing, unknown or has another shape, or
            ``output`` cannot be written.
    """
    recipe = VARIANTS.get(variant)
    if is_file(output) and is_file(source) and output.samefile(source):
        raise UsageError(f"{output} is also the source file; choose another output")
    recipe.size(size)  # rejects an unknown size before a large file is read
    state = read_state(source)
    family = find_family(variant, state)
    recipe, constants = _with_constants(recipe, family, given)
    shape = infer_shape(family, state, classes=given.classes, image=given.image)
    mean, std = _moments(shape, given)
    model = build(recipe, size, shape, mean=mean, std=std, seed=_SEED)
    loaded = load_reference(model, variant, state)
    _require_class_token(family, given)
    tensors = untied_copies(model.state_dict())
    try:
        write_export(output, save(tensors))
    except (OSError, ValueError, SafetensorError) as error:
        raise CheckpointError(f"checkpoint {output} cannot be written: {error}") from error
    return ImportReport(
        variant=variant,
        size=size,
        modality=family.modality,
        shape=shape,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        constants=constants,
        mean=mean,
        std=std,
        unused=loaded.unused,
        fresh=loaded.fresh,
        note=family.note,
        weights=weights_digest(tensors),
    )


def _require_class_token(family: CheckpointFamily, given: ImportOptions) -> None:
    """Reject a classifier whose pooling is not known, or that this package does not have.

    Files with a pooler of the class token carry their pooling; all other classifiers of a class token or of a mean have
    the same weights.
    """
    if family.modality == "causal" or any(rule.ours.startswith("head.pooler") for rule in family.rules):
        if given.pool == "mean":
            raise UsageError(f"a checkpoint of {family.variant} has no mean pooling; leave pool out", "pool")
        return
    if given.pool is None:
        raise UsageError(
            "the checkpoint does not carry its pooling; give pool cls if the model classifies its class token", "pool"
        )
    if given.pool == "mean":
        raise UsageError(
            f"variant {family.variant} classifies its class token; a model with mean pooling cannot be imported", "pool"
        )


def _with_constants(
    recipe: Variant, family: CheckpointFamily, given: ImportOptions
) -> tuple[Variant, dict[str, float]]:
    """Variant with the constants of this checkpoint, and these constants by name."""
    named = recipe.feedforward_options
    own: dict[str, float] = {name: float(named[name]) for name in _WORDS if name in named}
    said = {name: value for name, value in (("eta", given.eta), ("lam", given.lam)) if value is not None}
    for name, value in said.items():
        if name not in own:
            raise UsageError(f"variant {recipe.name!r} has no {_WORDS[name]}")
        if value <= 0:
            raise UsageError(f"{_WORDS[name]} must be above zero, not {value}")
    for name in family.required_constants:
        if name not in said:
            raise UsageError(
                f"checkpoints of {recipe.name} do not store {_WORDS[name]}, and published ones differ in it; "
                f"give --{_WORDS[name]} (see the file name: lmd0.5 or lmd5.0)"
            )
    constants = {**own, **said}
    used = {_WORDS[name]: value for name, value in constants.items()}
    return recipe.model_copy(update={"feedforward_options": {**named, **constants}}), used


def _moments(shape: Shape, given: ImportOptions) -> tuple[Numbers, Numbers]:
    if not isinstance(shape, ImageShape):
        if given.mean is not None or given.std is not None:
            raise UsageError("mean and std apply to images, but this is a text model")
        return (), ()
    if (given.mean is None) != (given.std is None):
        raise UsageError("give both mean and std, or neither")
    if given.mean is not None and given.std is not None:
        return given.mean, given.std
    if shape.channels != len(IMAGENET[0]):
        raise UsageError(
            f"ImageNet's mean and std do not apply to images of {shape.channels} channels; give mean and std"
        )
    return IMAGENET

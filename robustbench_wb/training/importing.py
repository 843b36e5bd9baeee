"""From a checkpoint of another implementation to one of ours, ready for ``run --checkpoint``."""

import argparse
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from robustbench_wb.errors import CheckpointError, UsageError
from robustbench_wb.folders import write_atomic
from robustbench_wb.models.build import build
from robustbench_wb.models.catalogue import VARIANTS
from robustbench_wb.models.references.load import find_family, load_reference
from robustbench_wb.models.references.mapping import Family
from robustbench_wb.models.references.shapes import infer_shape
from robustbench_wb.models.shape import ImageShape, Shape
from robustbench_wb.models.variant import Variant
from robustbench_wb.models.weights import weights_digest
from robustbench_wb.training.checkpoint import load_tensors, looks_pickled, separate

Numbers = tuple[float, ...]

IMAGENET: tuple[Numbers, Numbers] = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and standard deviation with which the references normalise images."""

_WORDS = {"eta": "eta", "lam": "lambda"}

_SEED = 0
"""For the weights that a checkpoint may lack."""


@dataclass(frozen=True)
class Given:
    """What a user adds to a checkpoint, because it is not in it. None: the default, or read off the tensors."""

    eta: float | None = None
    lam: float | None = None
    mean: Numbers | None = None
    std: Numbers | None = None
    classes: int | None = None
    image: tuple[int, int] | None = None
    """Height and width in pixels."""


@dataclass(frozen=True)
class Imported:
    """What was written, and what was assumed."""

    variant: str
    size: str
    modality: str
    shape: Shape
    parameters: int
    constants: dict[str, float]
    """eta and lambda as used (empty for variants without): they are in the written file, not in the one read."""
    mean: Numbers
    std: Numbers
    unused: tuple[str, ...]
    """Names in the file that mean nothing here."""
    fresh: tuple[str, ...]
    """Weights that the file lacks, drawn at random: train them before you believe a number."""
    note: str
    weights: str
    """Digest of the weights."""


def import_checkpoint(source: Path, output: Path, variant: str, size: str, given: Given) -> Imported:
    """Read ``source``, a checkpoint of the implementation that ``variant`` follows, and write ``output``.

    ``source`` is a safetensors file or a torch file of tensors; ``output`` a safetensors file with the weights under
    our names, with mean, std, eta and lambda.

    Raises:
        UsageError: something must be said that is not, or does not apply.
        CheckpointError: the file cannot be read or is refused, a weight is missing, unknown or of another shape, or
            ``output`` cannot be written.
    """
    recipe = VARIANTS.get(variant)
    recipe.size(size)  # raises for an unknown size, before a large file is read
    state = read_state(source)
    family = find_family(variant, state)
    recipe, constants = _with_constants(recipe, family, given)
    shape = infer_shape(family, state, given.classes, given.image)
    mean, std = _moments(shape, given)
    model = build(recipe, size, shape, mean, std, _SEED)
    loaded = load_reference(model, variant, state)
    tensors = separate(model.state_dict())
    try:
        write_atomic(output, lambda temporary: save_file(tensors, temporary))
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"checkpoint {output} cannot be written: {error}") from error
    return Imported(
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


def read_state(path: Path) -> Mapping[str, Any]:
    """What a checkpoint file holds: tensors by name, perhaps nested. No code of the file is run.

    Raises:
        CheckpointError: the file is missing, of neither format, or holds more than tensors and plain values.
    """
    try:
        return load_tensors(path)
    except CheckpointError:
        if not looks_pickled(path):
            raise
    try:
        # Training scripts save their parsed options beside the weights; such an object is a bag of values.
        with torch.serialization.safe_globals([argparse.Namespace]):
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise CheckpointError(
            f"{path} is refused: it holds more than tensors and plain values, and loading it could run code; "
            "save its state_dict alone, or convert it to safetensors"
        ) from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path} is not a readable torch file: {error}") from error
    if not isinstance(state, Mapping):
        raise CheckpointError(f"{path} holds a {type(state).__name__}, not weights by name")
    return state


def _with_constants(recipe: Variant, family: Family, given: Given) -> tuple[Variant, dict[str, float]]:
    """The variant with the constants of this checkpoint, and those constants."""
    named = recipe.feedforward_options
    own: dict[str, float] = {name: float(named[name]) for name in _WORDS if name in named}
    said = {name: value for name, value in (("eta", given.eta), ("lam", given.lam)) if value is not None}
    for name, value in said.items():
        if name not in own:
            raise UsageError(f"variant {recipe.name!r} has no {_WORDS[name]}")
        if value <= 0:
            raise UsageError(f"{_WORDS[name]} must be above zero, not {value}")
    for name in family.asked:
        if name not in said:
            raise UsageError(
                f"no {recipe.name} checkpoint carries its {_WORDS[name]}, and published ones differ in it; "
                f"give --{_WORDS[name]} (their file names tell, like lmd0.5 or lmd5.0)"
            )
    constants = {**own, **said}
    used = {_WORDS[name]: value for name, value in constants.items()}
    return recipe.model_copy(update={"feedforward_options": {**named, **constants}}), used


def _moments(shape: Shape, given: Given) -> tuple[Numbers, Numbers]:
    if not isinstance(shape, ImageShape):
        if given.mean is not None or given.std is not None:
            raise UsageError("mean and std are for images; this is a text model")
        return (), ()
    if (given.mean is None) != (given.std is None):
        raise UsageError("mean and std belong together; give both or neither")
    if given.mean is not None and given.std is not None:
        return given.mean, given.std
    if shape.channels != len(IMAGENET[0]):
        raise UsageError(f"images of {shape.channels} channels are not normalised as ImageNet's; give mean and std")
    return IMAGENET

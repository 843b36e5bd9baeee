"""Construction of models from variants, and the code digest of a variant."""

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from robustbench_wb.errors import UsageError
from robustbench_wb.models.assemble import ModelParts, assemble
from robustbench_wb.models.backbone import Transformer
from robustbench_wb.models.catalogue import ATTENTIONS, EMBEDDINGS, FEEDFORWARDS, HEADS, RESIDUALS
from robustbench_wb.models.data_built_variant import DataBuiltVariant
from robustbench_wb.models.live_code import own_sources
from robustbench_wb.models.rms_norm import use_rms_norms
from robustbench_wb.models.rms_norm_variant import RmsNormVariant
from robustbench_wb.models.segmentation_shape import SegmentationShape
from robustbench_wb.models.shape import ImageShape, Shape, TextShape
from robustbench_wb.models.sphere_norm import use_sphere_norms
from robustbench_wb.models.variant import Options, Variant
from robustbench_wb.registry import Registry, suggest_names
from robustbench_wb.source import PACKAGE_ROOT, code_digest
from robustbench_wb.spec import digest


class _Choice(NamedTuple):
    """Mechanism chosen for one socket: its registry, its name there, and its options."""

    registry: Registry[Any]
    name: str
    options: Options


def build(
    variant: Variant,
    size: str,
    shape: Shape,
    *,
    seed: int,
    mean: Sequence[float] = (),
    std: Sequence[float] = (),
) -> Transformer:
    """Build an untrained model on the CPU in float32.

    Equal arguments give equal weights. torch's global generators keep their state. ``mean`` and ``std`` hold one value
    per channel, for images in [0, 1]; for text both are empty.

    Raises:
        UnknownNameError: the variant has no such size, or the registry has no such mechanism.
        UsageError: the patch size does not divide the image, or an option, ``mean`` or ``std`` does not fit.
    """
    channels = shape.channels if isinstance(shape, ImageShape) else 0
    if len(mean) != channels or len(std) != channels or min(std, default=1.0) <= 0:
        raise UsageError(f"mean and std need {channels} numbers each, std above zero; got {mean} and {std}")
    return _make(variant, size, shape, mean=mean, std=std, seed=seed, device="cpu")


def skeleton(variant: Variant, size: str, shape: Shape) -> Transformer:
    """Build a model on torch's meta device (shapes and names, no memory), to count its parameters.

    Raises:
        UnknownNameError: the variant has no such size, or the registry has no such mechanism.
        UsageError: the patch size does not divide the image, or an option does not fit.
    """
    channels = shape.channels if isinstance(shape, ImageShape) else 0
    return _make(variant, size, shape, mean=[0.0] * channels, std=[1.0] * channels, seed=0, device="meta")


def _make(
    variant: Variant,
    size: str,
    shape: Shape,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    seed: int,
    device: str,
) -> Transformer:
    chosen = variant.size(size)
    if isinstance(shape, ImageShape) and (shape.height % shape.patch or shape.width % shape.patch):
        raise UsageError(f"patch {shape.patch} does not divide an image of {shape.height} x {shape.width} pixels")
    parts = _parts(variant, shape)
    with torch.random.fork_rng(devices=[]), torch.device(device):
        # torch.manual_seed would also reseed accelerators, which the fork does not cover.
        torch.default_generator.manual_seed(seed)
        model = assemble(parts, chosen, shape, mean=mean, std=std)
        if isinstance(variant, RmsNormVariant):
            use_rms_norms(model)
        if isinstance(variant, DataBuiltVariant):
            use_sphere_norms(model)
        return model


def _sockets(variant: Variant, shape: Shape) -> dict[str, _Choice]:
    """Return the mechanism in each socket of a model for inputs and outputs of ``shape``.

    Raises:
        UsageError: the variant is for image classification only, and the shape is another one.
    """
    grid, tokens = _sizes_of_data(variant, shape)
    embedding = _Choice(EMBEDDINGS, variant.embedding, variant.embedding_options)
    if isinstance(shape, TextShape):
        embedding = _Choice(EMBEDDINGS, variant.text_embedding, variant.text_embedding_options)
    return {
        "attention": _Choice(ATTENTIONS, variant.attention, variant.attention_options | grid),
        "residual": _Choice(RESIDUALS, variant.residual, variant.residual_options),
        "feedforward": _Choice(FEEDFORWARDS, variant.feedforward, variant.feedforward_options),
        "embedding": embedding,
        "head": _head(variant, shape, tokens),
    }


def _sizes_of_data(variant: Variant, shape: Shape) -> tuple[Options, Options]:
    """Options of the attention and of the head that a variant built from data takes from the shape; none for others."""
    if not isinstance(variant, DataBuiltVariant):
        return {}, {}
    if isinstance(shape, SegmentationShape) or not isinstance(shape, ImageShape):
        raise UsageError(f"variant {variant.name!r} is for image classification only")
    rows, columns = shape.height // shape.patch, shape.width // shape.patch
    return {"classes": shape.classes, "rows": rows, "columns": columns}, {"tokens": rows * columns}


def _head(variant: Variant, shape: Shape, sizes: Options) -> _Choice:
    """Return the variant's own head, unless the task prescribes the pooling or has labels of pixels."""
    if isinstance(shape, SegmentationShape):
        squares, rows = shape.patch // shape.stride, shape.height // shape.patch
        return _Choice(HEADS, "patch-decoder", {"rows": rows, "squares": squares, "stride": shape.stride})
    if shape.causal:
        return _Choice(HEADS, variant.language_head, variant.language_head_options)
    if isinstance(shape, TextShape) and shape.documents == 2:
        return _Choice(HEADS, "pair", {"pool": shape.pool or "cls"})
    if isinstance(shape, TextShape) and shape.pool == "mean":
        return _Choice(HEADS, "mean", {})
    return _Choice(HEADS, variant.head, variant.head_options | sizes)


def _parts(variant: Variant, shape: Shape) -> ModelParts:
    sockets = _sockets(variant, shape)
    return ModelParts(
        attention=_maker(sockets["attention"]),
        residual=_maker(sockets["residual"]),
        feedforward=_maker(sockets["feedforward"]),
        embedding=_maker(sockets["embedding"]),
        head=_maker(sockets["head"]),
        position=ATTENTIONS.get(variant.attention).position,
        post=variant.norm == "post",
        norm_eps=variant.norm_eps,
        initialisation=variant.initialisation,
    )


def _maker(choice: _Choice) -> Callable[..., Any]:
    """Return the constructor of the chosen mechanism with its options bound.

    Raises:
        UsageError: the mechanism has no such option.
    """
    registry, name, options = choice
    mechanism = registry.get(name)
    known = [key for key, value in inspect.signature(mechanism).parameters.items() if value.default is not value.empty]
    for option in options:
        if option not in known:
            tail = suggest_names(option, known) if known else "it has no options"
            raise UsageError(f"{registry.kind} {name!r} has no option {option!r}; {tail}")
    return partial(mechanism, **options)


def variant_code_digest(variant: Variant, size: str, shape: Shape) -> str:
    """SHA-256 (hex) of everything that defines a variant's function: settings, mechanisms, and the code behind them.

    Left out are texts (summary, source, notes), other sizes, and mechanisms and options that a model of this shape does
    not use.

    Raises:
        UnknownNameError: the variant has no such size, or the registry has no such mechanism.
        RegistryError: the source of a plug-in cannot be found.
    """
    sockets = _sockets(variant, shape)
    common = ["assemble", "backbone", *(["rms_norm"] if isinstance(variant, RmsNormVariant) else [])]
    common += ["sphere_norm"] if isinstance(variant, DataBuiltVariant) else []
    modules: dict[Path, list[str]] = {PACKAGE_ROOT: [f"robustbench_wb.models.{name}" for name in common]}
    for registry, name, _ in sockets.values():
        module, root = registry.source(name)
        modules.setdefault(root, []).append(module)
    code = sorted(code_digest(*names, root=root) for root, names in modules.items())
    recipe = {socket: {"name": name, "options": options} for socket, (_, name, options) in sockets.items()}
    rest: dict[str, object] = {
        "norm": variant.norm,
        "norm_eps": variant.norm_eps,
        "initialisation": variant.initialisation,
    }
    # Modules of other packages that a plug-in imports.
    own = own_sources(name for root, names in modules.items() if root != PACKAGE_ROOT for name in names)
    rest |= {"own": own} if own else {}
    return digest({"sockets": recipe, **rest, "size": variant.size(size), "code": code})

"""From a variant, a size and a shape to a model; and the identity of the code behind a variant."""

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from robustbench_wb.errors import UsageError
from robustbench_wb.models.assemble import Parts, assemble
from robustbench_wb.models.backbone import Transformer
from robustbench_wb.models.catalogue import ATTENTIONS, EMBEDDINGS, FEEDFORWARDS, HEADS, RESIDUALS
from robustbench_wb.models.shape import ImageShape, Shape, TextShape
from robustbench_wb.models.variant import Options, Variant
from robustbench_wb.registry import Registry, suggest
from robustbench_wb.source import PACKAGE_ROOT, code_digest
from robustbench_wb.spec import digest


def build(
    variant: Variant, size: str, shape: Shape, mean: Sequence[float], std: Sequence[float], seed: int
) -> Transformer:
    """A model on the CPU in float32; the same arguments give the same weights, and no global generator moves.

    ``mean`` and ``std`` are per channel, of images in [0, 1]; for text both are empty.

    Raises:
        UnknownNameError: no such size or mechanism.
        UsageError: the patch does not divide the image, or an option or the normalisation does not fit.
    """
    channels = shape.channels if isinstance(shape, ImageShape) else 0
    if len(mean) != channels or len(std) != channels or min(std, default=1.0) <= 0:
        raise UsageError(f"mean and std need {channels} numbers each, std above zero; got {mean} and {std}")
    return _make(variant, size, shape, (mean, std), seed, "cpu")


def skeleton(variant: Variant, size: str, shape: Shape) -> Transformer:
    """The model on the meta device: shapes and names without memory, for counting parameters.

    Raises:
        UnknownNameError: no such size or mechanism.
        UsageError: as for ``build``.
    """
    channels = shape.channels if isinstance(shape, ImageShape) else 0
    return _make(variant, size, shape, ([0.0] * channels, [1.0] * channels), 0, "meta")


def _make(
    variant: Variant,
    size: str,
    shape: Shape,
    moments: tuple[Sequence[float], Sequence[float]],
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
        return assemble(parts, chosen, shape, moments)


def _sockets(variant: Variant, shape: Shape) -> dict[str, tuple[Registry[Any], str, Options]]:
    """What sits in each socket of a model for inputs and answers of this shape."""
    image = isinstance(shape, ImageShape)
    return {
        "attention": (ATTENTIONS, variant.attention, variant.attention_options),
        "residual": (RESIDUALS, variant.residual, variant.residual_options),
        "feedforward": (FEEDFORWARDS, variant.feedforward, variant.feedforward_options),
        "embedding": (EMBEDDINGS, variant.embedding, variant.embedding_options)
        if image
        else (EMBEDDINGS, variant.text_embedding, variant.text_embedding_options),
        "head": (HEADS, *_head(variant, shape)),
    }


def _head(variant: Variant, shape: Shape) -> tuple[str, Options]:
    """The variant's own head, unless the task says what to look at."""
    if shape.causal:
        return variant.language_head, variant.language_head_options
    if isinstance(shape, TextShape) and shape.documents == 2:
        return "pair", {"pool": shape.pool or "cls"}
    if isinstance(shape, TextShape) and shape.pool == "mean":
        return "mean", {}
    return variant.head, variant.head_options


def _parts(variant: Variant, shape: Shape) -> Parts:
    makers = {socket: _maker(*chosen) for socket, chosen in _sockets(variant, shape).items()}
    return Parts(
        **makers,
        position=ATTENTIONS.get(variant.attention).position,
        post=variant.norm == "post",
        norm_eps=variant.norm_eps,
        initialisation=variant.initialisation,
    )


def _maker(registry: Registry[Any], name: str, options: Options) -> Callable[..., Any]:
    """The named mechanism with its options bound.

    Raises:
        UsageError: it has no such option.
    """
    mechanism = registry.get(name)
    known = [key for key, value in inspect.signature(mechanism).parameters.items() if value.default is not value.empty]
    for option in options:
        if option not in known:
            tail = suggest(option, known) if known else "it has none"
            raise UsageError(f"{registry.kind} {name!r} has no option {option!r}; {tail}")
    return partial(mechanism, **options)


def variant_code_digest(variant: Variant, size: str, shape: Shape) -> str:
    """SHA-256 (hex) of what a variant of one size computes: its recipe, and the code of its sockets and the backbone.

    Prose (summary, source, notes) does not count, nor do other sizes, nor mechanisms and options that a model of this
    shape does not use.

    Raises:
        UnknownNameError: no such size or mechanism.
        RegistryError: a plug-in's source cannot be found.
    """
    sockets = _sockets(variant, shape)
    modules: dict[Path, list[str]] = {PACKAGE_ROOT: [f"robustbench_wb.models.{m}" for m in ("assemble", "backbone")]}
    for registry, name, _ in sockets.values():
        module, root = registry.source(name)
        modules.setdefault(root, []).append(module)
    code = sorted(code_digest(*names, root=root) for root, names in modules.items())
    recipe = {socket: {"name": name, "options": options} for socket, (_, name, options) in sockets.items()}
    rest = {"norm": variant.norm, "norm_eps": variant.norm_eps, "initialisation": variant.initialisation}
    return digest({"sockets": recipe, **rest, "size": variant.size(size), "code": code})

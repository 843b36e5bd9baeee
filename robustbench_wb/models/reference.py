"""Checkpoints of the reference CRATE implementation: its names for weights, and ours."""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from robustbench_wb.errors import CheckpointError
from robustbench_wb.models.backbone import ImageClassifier

_POSITIONS = "embedding.positions.table"  # theirs has a leading axis of one
_OUTSIDE = {
    "pos_embedding": _POSITIONS,
    "cls_token": "embedding.cls",
    "to_patch_embedding.1.weight": "embedding.project.0.weight",
    "to_patch_embedding.1.bias": "embedding.project.0.bias",
    "to_patch_embedding.2.weight": "embedding.project.1.weight",
    "to_patch_embedding.2.bias": "embedding.project.1.bias",
    "to_patch_embedding.3.weight": "embedding.project.2.weight",
    "to_patch_embedding.3.bias": "embedding.project.2.bias",
    "mlp_head.0.weight": "head.norm.weight",
    "mlp_head.0.bias": "head.norm.bias",
    "mlp_head.1.weight": "head.linear.weight",
    "mlp_head.1.bias": "head.linear.bias",
}
_LAYER = {
    "0.norm.weight": "norm.weight",
    "0.norm.bias": "norm.bias",
    "0.fn.qkv.weight": "attention.subspaces.weight",
    "0.fn.to_out.0.weight": "attention.out.weight",
    "0.fn.to_out.0.bias": "attention.out.bias",
    "1.norm.weight": "feedforward.norm.weight",
    "1.norm.bias": "feedforward.norm.bias",
    "1.fn.weight": "feedforward.dictionary",
}


def _names(depth: int) -> dict[str, str]:
    """Reference name to ours, for a model of ``depth`` layers."""
    layers = {
        f"transformer.layers.{i}.{theirs}": f"backbone.blocks.{i}.{ours}"
        for i in range(depth)
        for theirs, ours in _LAYER.items()
    }
    return {**_OUTSIDE, **layers}


def _depth(names: Mapping[str, Any], prefix: str) -> int:
    found = (re.match(rf"{re.escape(prefix)}\.(\d+)\.", name) for name in names)
    return 1 + max((int(match[1]) for match in found if match), default=-1)


def from_reference(variant_name: str, state: Mapping[str, Any]) -> dict[str, Tensor]:
    """Our names for reference weights, bare or under ``state_dict`` or ``model``; ``module.`` is stripped.

    The reference keeps mean, std, eta and lambda outside its checkpoints, so they are not in the result.

    Raises:
        CheckpointError: the variant has no reference, or a weight is missing, unknown or not a tensor.
    """
    if variant_name != "crate":
        raise CheckpointError(f"no reference checkpoints are known for variant {variant_name!r}; known: crate")
    nested = next((state[key] for key in ("state_dict", "model") if isinstance(state.get(key), Mapping)), state)
    given = {str(name).removeprefix("module."): value for name, value in nested.items()}
    names = _names(_depth(given, "transformer.layers"))
    missing, extra = sorted(names.keys() - given.keys()), sorted(given.keys() - names.keys())
    if missing or extra:
        problems = [f"{what} {', '.join(keys[:3])}{' ...' if len(keys) > 3 else ''}" for what, keys in
                    (("misses", missing), ("has unknown", extra)) if keys]  # fmt: skip
        raise CheckpointError(f"the reference checkpoint {' and '.join(problems)}")
    for name, value in given.items():
        if not isinstance(value, Tensor):
            raise CheckpointError(f"{name} in the reference checkpoint is a {type(value).__name__}, not a tensor")
    return {ours: given[theirs].squeeze(0) if ours == _POSITIONS else given[theirs] for theirs, ours in names.items()}


def to_reference(variant_name: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of ``from_reference``, without prefix or nesting; mean and std are left out.

    Raises:
        CheckpointError: the variant has no reference, or a weight is missing or unknown.
    """
    if variant_name != "crate":
        raise CheckpointError(f"no reference checkpoints are known for variant {variant_name!r}; known: crate")
    given = {name: value for name, value in state.items() if name not in ("mean", "std")}
    names = _names(_depth(given, "backbone.blocks"))
    different = sorted(set(names.values()) ^ given.keys())
    if different:
        raise CheckpointError(f"not the weights of a crate: {different[0]} is missing or unknown")
    return {theirs: given[ours][None] if ours == _POSITIONS else given[ours] for theirs, ours in names.items()}


def load_reference(model: ImageClassifier, variant_name: str, state: Mapping[str, Any]) -> None:
    """Load a reference checkpoint into a model of the same shape; its own mean and std stay.

    Raises:
        CheckpointError: as for ``from_reference``, or a depth or shape differs.
    """
    weights = from_reference(variant_name, state)
    try:
        model.load_state_dict({**weights, "mean": model.mean, "std": model.std}, strict=True)
    except RuntimeError as error:
        raise CheckpointError(f"the reference checkpoint does not fit this model: {error}") from error

"""Rules from the weight names of other implementations ("theirs") to the names here ("ours"), as data."""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from robustbench_wb.errors import CheckpointError

Modality = Literal["image", "text", "causal", "autoencoder"]


@dataclass(frozen=True)
class WeightConversion:
    """Conversion between one tensor of ours and the corresponding tensors of theirs.

    ``join`` converts theirs to ours; ``split`` converts ours to theirs and also receives the number of image channels.
    ``axes`` is the required number of axes of each of their tensors; None skips the check.
    """

    join: Callable[[Sequence[Tensor]], Tensor]
    split: Callable[[Tensor, int], list[Tensor]]
    axes: int | None = None


def _to_kernel(weight: Tensor, channels: int) -> Tensor:
    patch = math.isqrt(weight.shape[1] // channels)
    return weight.view(-1, patch, patch, channels).permute(0, 3, 1, 2).contiguous()


SAME = WeightConversion(lambda theirs: theirs[0], lambda ours, _: [ours])
LEADING = WeightConversion(lambda theirs: theirs[0].flatten(0, 1), lambda ours, _: [ours[None]], axes=3)
"""Conversion of a tensor that has an extra leading axis of size 1 in theirs."""
KERNEL = WeightConversion(
    lambda theirs: theirs[0].permute(0, 2, 3, 1).flatten(1), lambda ours, channels: [_to_kernel(ours, channels)], axes=4
)
"""Conversion of a patch convolution (d, C, p, p) in theirs to a linear map in ours, with the channel fastest."""
STACKED = WeightConversion(lambda theirs: torch.stack(list(theirs)).flatten(0, 1), lambda ours, _: list(ours.chunk(3)))
"""Conversion of separate query, key and value weights in theirs to one stacked weight in ours."""
FIRST_SEGMENT = WeightConversion(
    lambda theirs: theirs[0] + theirs[1][:1], lambda ours, _: [ours, ours.new_zeros(2, ours.shape[1])], axes=2
)
"""Conversion of positions and segment embeddings in theirs to positions in ours.

Tasks here have one segment, whose row is added to the positions.
"""


@dataclass(frozen=True)
class WeightRule:
    """Rule for one weight: our name, their names, and the conversion. ``{i}`` in names stands for the layer index."""

    ours: str
    theirs: tuple[str, ...]
    form: WeightConversion = SAME

    def at(self, layer: int) -> "WeightRule":
        """Return the rule for layer number ``layer``."""
        return WeightRule(self.ours.format(i=layer), tuple(name.format(i=layer) for name in self.theirs), self.form)


def rules(names: Mapping[str, str], ours: str = "", theirs: str = "") -> tuple[WeightRule, ...]:
    """Return rules of form ``SAME`` from our names to their names, with a prefix on each side."""
    return tuple(WeightRule(f"{ours}{own}", (f"{theirs}{other}",)) for own, other in names.items())


def pairs(names: Mapping[str, str], ours: str = "", theirs: str = "") -> tuple[WeightRule, ...]:
    """Return rules for modules with a weight and a bias, with a prefix on each side."""
    return rules(
        {f"{own}.{part}": f"{other}.{part}" for own, other in names.items() for part in ("weight", "bias")},
        ours,
        theirs,
    )


@dataclass(frozen=True, kw_only=True)
class CheckpointFamily:
    """Checkpoint format of one implementation.

    Attributes:
        variant: name of the corresponding variant.
        modality: kind of model.
        rules: one rule per weight; rules with ``{i}`` apply to every layer.
        prefixes: prefixes to remove from their names, in this order.
        renames: suffixes of names in older files, and their current form.
        unused: patterns of their names that have no counterpart here.
        copies: names under which some files store a second copy of another weight.
        optional: our names of weights that a file may lack; the model then keeps its initial weights.
        required_constants: constants that differ between published checkpoints but are not stored in them; users give
            them.
        note: remark for users who import such a checkpoint.
    """

    variant: str
    modality: Modality
    rules: tuple[WeightRule, ...]
    prefixes: tuple[str, ...] = ("module.", "_orig_mod.")
    renames: Mapping[str, str] = field(default_factory=dict)
    unused: tuple[str, ...] = ()
    copies: Mapping[str, str] = field(default_factory=dict)
    optional: tuple[str, ...] = ()
    required_constants: tuple[str, ...] = ()
    note: str = ""

    def for_depth(self, depth: int) -> list[WeightRule]:
        """Return the rules of a model with ``depth`` layers."""
        return [
            rule.at(layer) for rule in self.rules for layer in (range(depth) if "{i}" in rule.ours else range(1))
        ]  # fmt: skip

    def outside(self) -> list[WeightRule]:
        """Return the rules for weights outside the layers."""
        return [rule for rule in self.rules if "{i}" not in rule.ours]

    def unwrap(self, state: Mapping[str, object]) -> dict[str, object]:
        """Return the weights by name, from the top level, ``state_dict`` or ``model``, without prefixes.

        Raises:
            CheckpointError: two names are equal after their prefixes are removed.
        """
        inner = (state.get(key) for key in ("state_dict", "model"))
        nested = next((value for value in inner if isinstance(value, Mapping)), state)
        given: dict[str, object] = {}
        for name, value in nested.items():
            short = self._short(str(name))
            if short in given:
                raise CheckpointError(f"the reference checkpoint has {short} twice, once as {name}")
            given[short] = value
        return given

    def _short(self, name: str) -> str:
        for prefix in self.prefixes:
            name = name.removeprefix(prefix)
        for old, new in self.renames.items():
            name = f"{name.removesuffix(old)}{new}" if name.endswith(old) else name
        return name

    def is_unused(self, name: str) -> bool:
        """Whether a name is known but has no counterpart here."""
        return name in self.copies or any(re.fullmatch(pattern, name) for pattern in self.unused)


def join(rule: WeightRule, given: Mapping[str, object]) -> Tensor:
    """Convert their tensors of one rule, which ``given`` must hold, to ours.

    Raises:
        CheckpointError: a value is not a floating-point tensor, or has the wrong number of axes.
    """
    parts: list[Tensor] = []
    for name in rule.theirs:
        value = given[name]
        if not isinstance(value, Tensor) or not value.is_floating_point():
            kind = str(value.dtype) if isinstance(value, Tensor) else type(value).__name__
            raise CheckpointError(f"{name} in the reference checkpoint is a {kind}, not a floating-point tensor")
        if rule.form.axes is not None and value.ndim != rule.form.axes:
            raise CheckpointError(
                f"{name} in the reference checkpoint has shape {tuple(value.shape)}; expected {rule.form.axes} axes"
            )
        parts.append(value)
    try:
        return rule.form.join(parts)
    except RuntimeError:
        raise CheckpointError(f"{describe(rule, given)} in the reference checkpoint do not fit together") from None


def describe(rule: WeightRule, given: Mapping[str, object]) -> str:
    """Return the names and shapes of their tensors, for an error message."""
    shapes = {name: tuple(value.shape) for name in rule.theirs if isinstance(value := given[name], Tensor)}
    return " and ".join(f"{name} {shape}" for name, shape in shapes.items())


def list_names(names: Iterable[str]) -> str:
    """Return the first three names and the number of others, for an error message."""
    names = sorted(names)
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")

"""What a family of foreign checkpoints is: rules from their names to ours, as data."""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from robustbench_wb.errors import CheckpointError

Modality = Literal["image", "text", "causal", "autoencoder"]


@dataclass(frozen=True)
class Form:
    """How one tensor of ours and theirs (one or several) follow from each other.

    ``split`` is also told the channels of an image. ``axes`` is how many axes each of theirs must have, if it matters.
    """

    join: Callable[[Sequence[Tensor]], Tensor]
    split: Callable[[Tensor, int], list[Tensor]]
    axes: int | None = None


def _to_kernel(weight: Tensor, channels: int) -> Tensor:
    patch = math.isqrt(weight.shape[1] // channels)
    return weight.view(-1, patch, patch, channels).permute(0, 3, 1, 2).contiguous()


SAME = Form(lambda theirs: theirs[0], lambda ours, _: [ours])
LEADING = Form(lambda theirs: theirs[0].flatten(0, 1), lambda ours, _: [ours[None]], axes=3)
"""Theirs has a leading axis of one."""
KERNEL = Form(
    lambda theirs: theirs[0].permute(0, 2, 3, 1).flatten(1), lambda ours, channels: [_to_kernel(ours, channels)], axes=4
)
"""Theirs is a convolution with the patch as its stride, (d, C, p, p); ours a linear map with the channel fastest."""
STACKED = Form(lambda theirs: torch.cat(list(theirs)), lambda ours, _: list(ours.chunk(3)))
"""Theirs are query, key and value apart."""
FIRST_SEGMENT = Form(
    lambda theirs: theirs[0] + theirs[1][:1], lambda ours, _: [ours, ours.new_zeros(2, ours.shape[1])], axes=2
)
"""Theirs are positions and segments; tasks here have one segment, whose row goes into the positions."""


@dataclass(frozen=True)
class Rule:
    """One weight: our name, their names, the form. ``{i}`` in both stands for a layer."""

    ours: str
    theirs: tuple[str, ...]
    form: Form = SAME

    def at(self, layer: int) -> "Rule":
        """The rule for one layer."""
        return Rule(self.ours.format(i=layer), tuple(name.format(i=layer) for name in self.theirs), self.form)


def rules(names: Mapping[str, str], ours: str = "", theirs: str = "") -> tuple[Rule, ...]:
    """Rules of form :data:`SAME` from our name to their name, with a prefix on each side."""
    return tuple(Rule(f"{ours}{own}", (f"{theirs}{other}",)) for own, other in names.items())


def pairs(names: Mapping[str, str], ours: str = "", theirs: str = "") -> tuple[Rule, ...]:
    """Rules for modules that have a weight and a bias."""
    return rules(
        {f"{own}.{part}": f"{other}.{part}" for own, other in names.items() for part in ("weight", "bias")},
        ours,
        theirs,
    )


@dataclass(frozen=True)
class Family:
    """Checkpoints of one implementation.

    Attributes:
        variant: the variant they are of.
        modality: what kind of model they are of.
        rules: for every weight; those with ``{i}`` hold for every layer.
        prefixes: taken off their names, one after the other.
        renames: ends of names that older files have, and what they are now.
        unused: patterns of names that such files may have and that mean nothing here.
        copies: names that some files have as a second copy of another weight.
        fresh: our names that a file may lack altogether; they then stay as they were built.
        asked: constants that differ between published files and are in none: the user has to know them.
        note: what an importer must know.
    """

    variant: str
    modality: Modality
    rules: tuple[Rule, ...]
    prefixes: tuple[str, ...] = ("module.", "_orig_mod.")
    renames: Mapping[str, str] = field(default_factory=dict)
    unused: tuple[str, ...] = ()
    copies: Mapping[str, str] = field(default_factory=dict)
    fresh: tuple[str, ...] = ()
    asked: tuple[str, ...] = ()
    note: str = ""

    def for_depth(self, depth: int) -> list[Rule]:
        """The rules of a model with that many layers."""
        return [
            rule.at(layer) for rule in self.rules for layer in (range(depth) if "{i}" in rule.ours else range(1))
        ]  # fmt: skip

    def outside(self) -> list[Rule]:
        """The rules for what is in no layer."""
        return [rule for rule in self.rules if "{i}" not in rule.ours]

    def unwrap(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """The weights by name: taken out of ``state_dict`` or ``model``, without prefixes.

        Raises:
            CheckpointError: two names become one.
        """
        nested = next((state[key] for key in ("state_dict", "model") if isinstance(state.get(key), Mapping)), state)
        given: dict[str, Any] = {}
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
        """Whether a name is known and means nothing here."""
        return name in self.copies or any(re.fullmatch(pattern, name) for pattern in self.unused)


def join(rule: Rule, given: Mapping[str, Any]) -> Tensor:
    """Our tensor, from theirs, which must be there.

    Raises:
        CheckpointError: one is not a tensor of floating-point numbers, or has another number of axes.
    """
    parts: list[Tensor] = []
    for name in rule.theirs:
        value = given[name]
        if not isinstance(value, Tensor) or not value.is_floating_point():
            kind = str(value.dtype) if isinstance(value, Tensor) else type(value).__name__
            raise CheckpointError(f"{name} in the reference checkpoint is a {kind}, not a tensor of real numbers")
        if rule.form.axes is not None and value.ndim != rule.form.axes:
            raise CheckpointError(
                f"{name} in the reference checkpoint has shape {tuple(value.shape)}, not {rule.form.axes} axes"
            )
        parts.append(value)
    try:
        return rule.form.join(parts)
    except RuntimeError:
        raise CheckpointError(f"{describe(rule, given)} in the reference checkpoint do not fit together") from None


def describe(rule: Rule, given: Mapping[str, Any]) -> str:
    """Their names with their shapes, for a message."""
    return " and ".join(f"{name} {tuple(given[name].shape)}" for name in rule.theirs)


def listed(names: Iterable[str]) -> str:
    """A few names, for a message."""
    names = sorted(names)
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")

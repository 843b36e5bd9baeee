"""Loading of checkpoints of other implementations, and the inverse."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from robustbench_wb.errors import CheckpointError
from robustbench_wb.models.autoencoder import MaskedAutoencoder
from robustbench_wb.models.backbone import ImageClassifier
from robustbench_wb.models.references.bert import BERT, CRATE_BERT
from robustbench_wb.models.references.crate import CRATE
from robustbench_wb.models.references.crate_alpha import CRATE_ALPHA
from robustbench_wb.models.references.crate_gpt import CRATE_GPT
from robustbench_wb.models.references.crate_mae import AUTOENCODER, ENCODER
from robustbench_wb.models.references.mapping import CheckpointFamily, Modality, WeightRule, describe, join, list_names
from robustbench_wb.models.references.vit import VIT

FAMILIES = (CRATE, CRATE_GPT, CRATE_ALPHA, ENCODER, AUTOENCODER, CRATE_BERT, VIT, BERT)


@dataclass(frozen=True)
class LoadReport:
    """Result of loading a checkpoint of another implementation."""

    unused: tuple[str, ...]
    """Names in the checkpoint that have no counterpart here."""
    fresh: tuple[str, ...]
    """Our names of optional weights that the checkpoint lacks; the model keeps its initial weights there."""


def load_reference(model: nn.Module, variant: str, state: Mapping[str, object]) -> LoadReport:
    """Load a checkpoint of the implementation that ``variant`` follows, or of transformers or timm, into ``model``.

    ``state`` maps names to tensors, at the top level or under ``state_dict`` or ``model``, with or without the prefix
    ``module.``. All weights must be present with the shapes that ``model`` has, and no unknown ones. Such checkpoints
    do not contain mean, std, eta and lambda; the model keeps its own.

    Raises:
        CheckpointError: no reference is known for the variant, or a weight is missing, unknown, not a tensor, or has
            another shape. The message names the weight, and the model is unchanged.
    """
    family = _family(variant, _modality(model))
    given = family.unwrap(state)
    own = model.state_dict()
    by_name = _rules(family, own)
    fresh = {name for name in family.optional if name in by_name}
    if any(name in given for ours in fresh for name in by_name[ours].theirs):
        fresh = set()
    wanted = {name for ours, rule in by_name.items() if ours not in fresh for name in rule.theirs}
    _refuse_other_names(family, given, wanted)
    weights = {ours: _fitting(rule, given, own[ours]) for ours, rule in by_name.items() if ours not in fresh}
    for copy, original in family.copies.items():
        if copy in given and not _same(given[copy], given[original]):
            raise CheckpointError(
                f"{copy} in the reference checkpoint differs from {original}, but this model ties them"
            )
    model.load_state_dict({**own, **weights})
    return LoadReport(tuple(sorted(given.keys() - wanted)), tuple(sorted(fresh)))


def to_reference(model: nn.Module, variant: str) -> dict[str, Tensor]:
    """Return the model's weights under the reference's names, without prefix; inverse of ``load_reference``.

    Raises:
        CheckpointError: no reference is known for the variant.
    """
    own = model.state_dict()
    channels = len(own["mean"]) if "mean" in own else 0
    found: dict[str, Tensor] = {}
    for ours, rule in _rules(_family(variant, _modality(model)), own).items():
        found |= dict(zip(rule.theirs, rule.form.split(own[ours], channels), strict=True))
    return found


def find_family(variant: str, state: Mapping[str, object]) -> CheckpointFamily:
    """Return the family (classifier or language model) of a variant that shares most names with a checkpoint.

    Raises:
        CheckpointError: no reference checkpoints are known for the variant.
    """
    families = [family for family in FAMILIES if family.variant == variant and family.modality != "autoencoder"]
    if not families:
        raise CheckpointError(f"no reference checkpoints are known for variant {variant!r}; known: {_known()}")

    def shared(family: CheckpointFamily) -> int:
        return len(family.unwrap(state).keys() & {name for rule in family.outside() for name in rule.theirs})

    return max(families, key=shared)


def _known() -> str:
    return ", ".join(dict.fromkeys(family.variant for family in FAMILIES))


def _modality(model: nn.Module) -> Modality:
    if isinstance(model, MaskedAutoencoder):
        return "autoencoder"
    if isinstance(model, ImageClassifier):
        return "image"
    return "causal" if getattr(getattr(model, "embedding", None), "causal", False) else "text"


def _family(variant: str, modality: Modality) -> CheckpointFamily:
    for family in FAMILIES:
        if (family.variant, family.modality) == (variant, modality):
            return family
    raise CheckpointError(f"no {modality} reference checkpoints are known for variant {variant!r}; known: {_known()}")


def _rules(family: CheckpointFamily, own: Iterable[str]) -> dict[str, WeightRule]:
    """Rules of a model's weights, by our name."""
    weights = {name for name in own if name not in ("mean", "std") and not name.endswith("_extra_state")}
    layers = [int(match[1]) for name in weights if (match := re.search(r"\.(\d+)\.", name))]
    by_name = {rule.ours: rule for rule in family.for_depth(1 + max(layers, default=-1)) if rule.ours in weights}
    unknown = weights - by_name.keys()
    if unknown:
        raise CheckpointError(f"the reference of {family.variant!r} has no counterpart of {list_names(unknown)}")
    return by_name


def _refuse_other_names(family: CheckpointFamily, given: Mapping[str, object], wanted: set[str]) -> None:
    missing = wanted - given.keys()
    extra = {name for name in given.keys() - wanted if not family.is_unused(name)}
    problems = [f"{what} {list_names(names)}" for what, names in (("lacks", missing), ("has unknown", extra)) if names]
    if problems:
        raise CheckpointError(f"the reference checkpoint {' and '.join(problems)}")


def _fitting(rule: WeightRule, given: Mapping[str, object], own: Tensor) -> Tensor:
    tensor = join(rule, given)
    if tensor.shape != own.shape:
        raise CheckpointError(
            f"{describe(rule, given)} in the reference checkpoint gives shape {tuple(tensor.shape)}; "
            f"this model needs {tuple(own.shape)}"
        )
    return tensor


def _same(one: object, other: object) -> bool:
    if not isinstance(one, Tensor) or not isinstance(other, Tensor):
        return False
    return one.dtype == other.dtype and torch.equal(one, other)

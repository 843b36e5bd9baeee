"""Search for adversarial examples in less precision than float32, with every outcome that counts decided in float32.

The attacked model computes in bfloat16 (autocast) or TF32 while a stressor searches. What the search found is then
asked in float32, radius by radius. Samples whose error float32 does not confirm, and samples whose search failed, are
searched again in float32. So are all samples that held at the headline radius, over the whole ladder: at that radius,
no sample counts as robust that a search in float32 alone would break.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from robustbench_wb.engine.request import SearchPrecision
from robustbench_wb.errors import UsageError
from robustbench_wb.float_precision import allow_tf32, read_precision, write_precision
from robustbench_wb.spec import parse_exact
from robustbench_wb.stressors.attacks.distances import DISTANCE
from robustbench_wb.stressors.attacks.torchattacks import TorchAttack
from robustbench_wb.stressors.model_access import ModelAccess
from robustbench_wb.stressors.sample_batch import PerturbedBatch, SampleBatch
from robustbench_wb.stressors.stressor import Stressor
from robustbench_wb.stressors.threat_models import KINDS, threat_model

_TF32_CAPABILITY: Final = 8
"""First generation of NVIDIA devices with TF32 (Ampere)."""


def refuse_search_precision(precision: SearchPrecision, device: torch.device) -> None:
    """Refuse a precision that a device does not have.

    Raises:
        UsageError: the device computes in float32 whatever is asked.
    """
    if precision == "tf32" and not (
        device.type == "cuda" and torch.cuda.get_device_capability(device)[0] >= _TF32_CAPABILITY
    ):
        raise UsageError(
            f"search_precision tf32 needs an NVIDIA GPU of compute capability 8.0 or higher, and the device is "
            f"{device.type}; use float32 or bfloat16",
            "search_precision",
        )
    if precision == "bfloat16" and device.type not in ("cpu", "cuda"):
        raise UsageError(f"search_precision bfloat16 needs cpu or cuda; use float32 on {device}", "search_precision")


@dataclass(frozen=True, kw_only=True)
class SearchPlan:
    """Precision in which the cells of a step are searched."""

    precision: SearchPrecision = "float32"
    headline: str | None = None
    """Strength at which samples that held are searched again in float32; None: the step does not have it."""

    @property
    def numerics(self) -> str:
        """What ``numerics`` of the cells says of the search; empty for float32."""
        if self.precision == "float32":
            return ""
        confirmed = "" if self.headline is None else f";confirmed-at={self.headline}".removesuffix("-at=")
        return f";{self.precision}-search{confirmed}"


def search_plan(
    precision: SearchPrecision, rungs: Sequence[Stressor], headline: Mapping[str, str], *, causal: bool
) -> SearchPlan:
    """Plan of the search of a step, in float32 for stressors that do not search evaluated samples, for attacks of
    torchattacks, whose samples share the draws of a batch, and in language modelling.

    Args:
        precision: the precision that was asked for.
        rungs: strengths of the step.
        headline: see ``headline_strengths``.
        causal: whether the task is language modelling, which has no right or wrong to confirm.
    """
    first = rungs[0]
    if precision == "float32" or causal or isinstance(first, TorchAttack):
        return SearchPlan()
    if first.kind is None or not first.adversarial():
        return SearchPlan()
    threat = threat_model(first.signature)
    strength = None if threat is None else headline.get(threat.name)
    return SearchPlan(precision=precision, headline=strength if strength in [rung.strength for rung in rungs] else None)


def headline_strengths(stressors: Iterable[Stressor]) -> dict[str, str]:
    """Strength of the headline number of each threat model: the largest at which its strongest kind of attack is run.

    It is the strength by which ``robustbench_wb.analysis.headline.headline_columns`` ranks.
    """
    best: dict[str, tuple[int, Fraction, str]] = {}
    for stressor in stressors:
        threat = threat_model(stressor.signature)
        if threat is not None:
            size = parse_exact(stressor.strength) if stressor.strength else Fraction(0)
            own = (KINDS.index(threat.kind), size, stressor.strength)
            best[threat.name] = max(best.get(threat.name, own), own)
    return {name: strength for name, (_, _, strength) in best.items()}


Search = Callable[[SampleBatch, ModelAccess], list[PerturbedBatch]]
"""Search for errors of some samples at all rungs of a step."""
AreWrong = Callable[[SampleBatch, PerturbedBatch], NDArray[np.bool_]]
"""Whether the model, in float32, misclassifies each perturbed sample, (N,)."""


def search_twice(
    plan: SearchPlan,
    rungs: Sequence[Stressor],
    batch: SampleBatch,
    *,
    access: ModelAccess,
    search: Search,
    ask: AreWrong,
) -> list[PerturbedBatch]:
    """Search in the precision of the plan, confirm, and search again in float32 where it counts.

    Passes of both searches, and of the questions in float32, are counted. The evidence has the number of samples that
    were ``searched_again`` and, among them, that were ``unconfirmed``.

    Returns:
        One perturbed batch per rung, like ``search``.
    """
    with lowered(plan.precision, access.model, access.surrogate):
        quick = search(batch, access.silent())
    quick, broken, unconfirmed = _confirmed(batch, quick, ask)
    again = unconfirmed.copy()
    for stressor, wrong in zip(rungs, broken, strict=True):
        again |= ~wrong if stressor.strength == plan.headline else False
    access.advance(int((~again).sum()))
    counts = {"searched_again": int(again.sum()), "unconfirmed": int(unconfirmed.sum())}
    whole = search(batch.select(again), access) if again.any() else [None] * len(quick)
    return [
        replace(found, evidence={**found.evidence, **counts})
        if exact is None
        else _merged(found, exact, again=again, kept=wrong, counts=counts)
        for found, exact, wrong in zip(quick, whole, broken, strict=True)
    ]


def _confirmed(
    batch: SampleBatch, quick: Sequence[PerturbedBatch], ask: AreWrong
) -> tuple[list[PerturbedBatch], list[NDArray[np.bool_]], NDArray[np.bool_]]:
    """Ask in float32 for every sample at every rung up to its first error, whatever the quick search says of it.

    Returns:
        The batches with the answers and their forward passes; at each rung, the samples with an error there or at a
        lower rung; and the samples whose search failed or claimed an error that is none.
    """
    wrong, unconfirmed = np.zeros(len(batch.ids), np.bool_), np.zeros(len(batch.ids), np.bool_)
    answered, broken = [], []
    for found in quick:
        asked = ~wrong
        if asked.any():
            wrong = wrong.copy()
            wrong[asked] = ask(batch.select(asked), found.select(asked))
        for claimed in (found.broken, found.failed):
            unconfirmed |= False if claimed is None else claimed & ~wrong
        broken.append(wrong)
        answered.append(
            replace(
                found,
                forwards=found.forwards + asked.astype(np.int32),
                broken=None if found.broken is None else wrong,
            )
        )
    return answered, broken, unconfirmed


def _merged(
    quick: PerturbedBatch,
    exact: PerturbedBatch,
    *,
    again: NDArray[np.bool_],
    kept: NDArray[np.bool_],
    counts: Mapping[str, int],
) -> PerturbedBatch:
    """Put the outcome of the search in float32 in its place, except where only the quick search found an error.

    Args:
        quick: outcome of all samples, (N,).
        exact: outcome of the samples that were searched again, (M,).
        again: which these are, (N,).
        kept: samples with an error by the quick search, (N,).
        counts: further evidence.
    """
    rows = np.flatnonzero(again)
    taken = ~kept[rows] if exact.broken is None else exact.broken | ~kept[rows]
    places = rows[taken]
    forwards, backwards = quick.forwards.copy(), quick.backwards.copy()
    forwards[rows] += exact.forwards
    backwards[rows] += exact.backwards
    evidence = Counter(quick.evidence)
    # A distance is no count: the search in float32 replaces it.
    distances = {name: value for name, value in exact.evidence.items() if name.startswith(DISTANCE)}
    evidence.update({name: value for name, value in exact.evidence.items() if name not in distances})
    texts = None if quick.texts is None else list(quick.texts)
    if texts is not None and exact.texts is not None:
        for place, source in zip(places.tolist(), np.flatnonzero(taken).tolist(), strict=True):
            texts[place] = exact.texts[source]
    return replace(
        quick,
        inputs=_put(quick.inputs, exact.inputs, places=places, taken=taken),
        vectors=None
        if quick.vectors is None or exact.vectors is None
        else _put(quick.vectors, exact.vectors, places=places, taken=taken),
        forwards=forwards,
        backwards=backwards,
        broken=_put_flags(quick.broken, exact.broken, places=places, taken=taken),
        failed=_put_flags(quick.failed, exact.failed, places=places, taken=taken),
        texts=texts,
        evidence={**evidence, **distances, **counts},
    )


def _put(into: Tensor, values: Tensor, *, places: NDArray[np.int64], taken: NDArray[np.bool_]) -> Tensor:
    """The rows of ``into``, with those at ``places`` replaced by the ``taken`` rows of ``values``."""
    device = into.device
    return into.index_copy(0, torch.from_numpy(places).to(device), values[torch.from_numpy(taken).to(device)])


def _put_flags(
    into: NDArray[np.bool_] | None,
    values: NDArray[np.bool_] | None,
    *,
    places: NDArray[np.int64],
    taken: NDArray[np.bool_],
) -> NDArray[np.bool_] | None:
    if into is None or values is None:
        return into
    found = into.copy()
    found[places] = values[taken]
    return found


@contextmanager
def lowered(precision: SearchPrecision, *models: nn.Module | None) -> Iterator[None]:
    """Let models compute in a precision in this block; their outputs and input gradients are float32 all the same.

    With bfloat16, only the models compute in it: steps and projections of the attack stay in float32. TF32 is a setting
    of the process, which holds for the attack's own matrix products, too.
    """
    before = read_precision(torch)
    own: list[tuple[nn.Module, Any]] = [(model, type(model)) for model in models if model is not None]
    try:
        if precision == "tf32":
            allow_tf32(torch)
        else:
            for model, kind in own:
                model.__class__ = _bfloat16_class(kind)
        yield
    finally:
        for model, kind in own:
            model.__class__ = kind
        write_precision(torch, before)


@cache
def _bfloat16_class(own: type[nn.Module]) -> Any:
    """Subclass of the same name whose calls run in bfloat16 autocast and return float32."""

    def call(self: nn.Module, *given: object, **named: object) -> object:
        kind = next((one.device.type for one in given if isinstance(one, Tensor)), "cpu")
        with torch.autocast(kind, torch.bfloat16):
            found = own.__call__(self, *given, **named)
        return found.float() if isinstance(found, Tensor) and found.is_floating_point() else found

    members = {"__call__": call, "__module__": own.__module__, "__qualname__": own.__qualname__, "__doc__": own.__doc__}
    make: Any = type(own)  # classes of modules may have a metaclass
    return make(own.__name__, (own,), members)

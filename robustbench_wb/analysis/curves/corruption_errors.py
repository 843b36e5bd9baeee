"""Errors under the common corruptions, unnormalised and relative to a reference (Hendrycks & Dietterich 2019)."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np

from robustbench_wb.analysis.curves.alexnet import CLEAN_ERROR, COMMON, ERRORS
from robustbench_wb.analysis.curves.strength_curves import CLEAN, aligned_records
from robustbench_wb.errors import UsageError
from robustbench_wb.records.record import Record, State
from robustbench_wb.records.score_row import PanelKey, ScoreRow
from robustbench_wb.spec import Spec
from robustbench_wb.stats.intervals import bootstrap_interval

SEVERITIES: Final = ("1", "2", "3", "4", "5")
STORED: Final = "stored-"
"""Prefix of corruptions whose images were read from published files."""


class ReferenceErrors(NamedTuple):
    """Errors of a reference model, by which other errors are divided."""

    name: str
    clean: float
    errors: Mapping[str, Sequence[float]]
    """Errors by corruption, one per severity."""
    needed: tuple[str, ...]
    """Corruptions that a mean must cover."""


ALEXNET: Final = ReferenceErrors(name="AlexNet", clean=CLEAN_ERROR, errors=ERRORS, needed=COMMON)
"""Published errors of AlexNet on ImageNet-C."""


class RelativeErrors(Spec):
    """Errors relative to those of a reference, in percent; None where the reference's sum is not above 0."""

    reference: str
    ce: dict[str, float | None]
    """Corruption error CE_c = sum_s E_sc / sum_s R_sc, for each corruption that both models have."""
    relative: dict[str, float | None]
    """Relative CE_c = sum_s (E_sc - E_clean) / sum_s (R_sc - R_clean), for each corruption that both models have."""
    mean: float | None
    """Mean CE over common corruptions, which is the mCE if the reference is AlexNet. None if one of the CEs is None, or
    if the reference is AlexNet and one of the 15 corruptions is missing."""
    relative_mean: float | None
    """Mean relative CE over common corruptions; None like ``mean``."""


class CorruptionErrors(Spec):
    """Errors of one model in one panel."""

    clean: ScoreRow
    stored: bool
    """Whether the images are published files, rather than corrupted on the fly: a similar, but different benchmark."""
    errors: dict[str, tuple[float, ...]]
    """Errors at severities 1 to 5, by corruption; corruptions with a missing or failed severity are left out."""
    mean: float
    """Mean error over severities and common corruptions (``common``), unnormalised."""
    low: float | None
    """Low end of the 95 % percentile bootstrap interval of ``mean`` over test samples; None if a record is missing."""
    high: float | None
    """High end of the 95 % percentile bootstrap interval over test samples; None if a record is missing."""
    normalised: tuple[RelativeErrors, ...] = ()
    """Errors relative to each requested reference."""

    @property
    def common(self) -> tuple[str, ...]:
        """Measured corruptions among the 15 common ones, which enter means."""
        return tuple(name for name in COMMON if name in self.errors)


def corruption_errors(
    rows: Sequence[ScoreRow], records: Mapping[str, Record], baseline: str | None = None, alexnet: bool = False
) -> list[CorruptionErrors]:
    """Errors of every model and panel with a clean row and a common corruption at all five severities.

    Args:
        rows: rows of any models and perturbations.
        records: records by key; a missing record only costs the interval.
        baseline: variant, with or without its size, whose errors in the same panel serve as a reference.
        alexnet: whether the published errors of AlexNet serve as a reference.

    Raises:
        UsageError: the baseline is not in the rows; or AlexNet is requested and the rows are not about ImageNet's 1000
            classes under the corruptions of ImageNet-C.
    """
    cleans = {(row.panel, row.subject): row for row in rows if row.stressor == CLEAN and row.status != "error"}
    groups: dict[tuple[PanelKey, tuple[str, ...], bool], list[ScoreRow]] = {}
    for row in rows:
        if _corruption(row) in ERRORS and row.status != "error" and (row.panel, row.subject) in cleans:
            groups.setdefault((row.panel, row.subject, _is_stored(row)), []).append(row)
    pairs = []
    for (panel, subject, _), members in groups.items():
        measured = _errors(cleans[panel, subject], members, records)
        if measured is not None:
            pairs.append((members, measured))
    every = [found for _, found in pairs]
    if (baseline is not None or alexnet) and not every:
        raise UsageError("no model has a common corruption at severities 1 to 5, so there is nothing to normalise")
    result = []
    for members, found in pairs:
        references = [_baseline(baseline, found, every)] if baseline is not None else []
        if alexnet:
            _require_imagenet_c(members)
            references.append(ALEXNET)
        normalised = tuple(_normalised(found, reference) for reference in references)
        result.append(found.model_copy(update={"normalised": normalised}))
    return result


def _corruption(row: ScoreRow) -> str:
    """Name of the corruption of a row in ``ERRORS``; published folders write ``gaussian_noise``."""
    return row.stressor.removeprefix(STORED).replace("_", "-")


def _is_stored(row: ScoreRow) -> bool:
    return row.stressor.startswith(STORED)


def _errors(clean: ScoreRow, rows: Sequence[ScoreRow], records: Mapping[str, Record]) -> CorruptionErrors | None:
    """Errors of one model; None without a common corruption at all severities."""
    ladders: dict[str, dict[str, ScoreRow]] = {}
    for row in rows:
        ladders.setdefault(_corruption(row), {})[row.strength] = row
    whole = {name: [found[s] for s in SEVERITIES] for name, found in ladders.items() if set(SEVERITIES) <= set(found)}
    common = [row for name in COMMON for row in whole.get(name, [])]
    if not common:
        return None
    kept = aligned_records(common, records)
    wrong = None if kept is None else np.mean([record.states != State.ROBUST for record in kept], 0)
    low, high = (None, None) if wrong is None else bootstrap_interval(wrong)
    return CorruptionErrors(
        clean=clean,
        stored=_is_stored(rows[0]),
        errors={name: tuple(map(_error, whole[name])) for name in ERRORS if name in whole},
        mean=float(np.mean([_error(row) for row in common])),
        low=low,
        high=high,
    )


def _error(row: ScoreRow) -> float:
    return 1 - (row.accuracy or 0.0)


def _baseline(name: str, subject: CorruptionErrors, every: Sequence[CorruptionErrors]) -> ReferenceErrors:
    """Errors of a variant in the panel of ``subject``; of several models, the one with equal recipe and seed.

    Raises:
        UsageError: no model fits, or several do.
    """
    peers = [one for one in every if (one.clean.panel, one.stored) == (subject.clean.panel, subject.stored)]
    found = [one for one in peers if name in (one.clean.variant, f"{one.clean.variant}-{one.clean.size}")]
    alike = [one for one in found if one.clean.subject[2:] == subject.clean.subject[2:]]
    chosen = alike if len(alike) == 1 else found
    if len(chosen) != 1:
        have = ", ".join(dict.fromkeys(one.clean.variant for one in peers))
        what = f"{len(found)} models named {name!r}" if found else f"no baseline {name!r}"
        raise UsageError(f"task {subject.clean.task!r} has {what} with all severities of a corruption; it has: {have}")
    errors = chosen[0].errors
    needed = tuple(corruption for corruption in subject.common if corruption in errors)
    return ReferenceErrors(name=name, clean=_error(chosen[0].clean), errors=errors, needed=needed)


def _require_imagenet_c(rows: Sequence[ScoreRow]) -> None:
    """Reject rows that AlexNet's errors do not apply to.

    Raises:
        UsageError: a row is not about ImageNet's 1000 classes under the corruptions of ImageNet-C.
    """
    for row in rows:
        if row.classes != 1000:
            raise UsageError(f"AlexNet's errors are for ImageNet's 1000 classes; task {row.task!r} has {row.classes}")
        calibrations = [part for part in row.signature.split(";") if part.startswith("calibration=")]
        meant = calibrations == ["calibration=224"] if calibrations else row.side >= 120
        if not meant:
            raise UsageError(
                f"AlexNet's errors are for the corruptions of ImageNet-C (calibration=224); {row.stressor} of task "
                f"{row.task!r} has {calibrations[0] if calibrations else f'images of {row.side} pixels'}"
            )


def _normalised(subject: CorruptionErrors, reference: ReferenceErrors) -> RelativeErrors:
    ce, relative = {}, {}
    for name in (name for name in subject.errors if name in reference.errors):
        own, others = subject.errors[name], reference.errors[name]
        ce[name] = _percent(sum(own), sum(others))
        rise = sum(own) - len(own) * _error(subject.clean)
        relative[name] = _percent(rise, sum(others) - len(others) * reference.clean)
    means = (_mean(ce, reference.needed), _mean(relative, reference.needed))
    return RelativeErrors(reference=reference.name, ce=ce, relative=relative, mean=means[0], relative_mean=means[1])


def _percent(part: float, whole: float) -> float | None:
    return 100 * part / whole if whole > 0 else None


def _mean(values: Mapping[str, float | None], needed: Sequence[str]) -> float | None:
    """Mean of the needed values; None if one is missing."""
    found = [value for name in needed if (value := values.get(name)) is not None]
    return float(np.mean(found)) if needed and len(found) == len(needed) else None

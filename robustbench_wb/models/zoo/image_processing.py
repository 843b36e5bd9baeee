"""Attention and residuals modified by image-processing ideas, and the controls a referee would ask for.

Names are ``<attention>-<residual>``, a part that is as in ``vit`` left out.
"""

from robustbench_wb.models.variant import Options, Variant
from robustbench_wb.models.zoo.baselines import VIT_SIZES

_FILTERING = "Abdullaev, Tkachenko, Nguyen 2025, arXiv 2506.10371"
_SOURCE = f"{_FILTERING}; the steps of Romano & Elad 2015, arXiv 1502.06220"
_UNKNOWN_KERNEL = "The printed equation could not be had."
_UNKNOWN_STEP = "Which member of the family the authors print is unknown. The attention half only."


def _bilateral(name: str, summary: str, attention: str, options: Options, notes: str) -> Variant:
    """An arm of the attention axis, with the standard residual."""
    return Variant(
        name=name,
        summary=summary,
        attention=attention,
        attention_options=options,
        sizes=VIT_SIZES,
        status="reconstruction",
        source=_FILTERING,
        notes=f"{_UNKNOWN_KERNEL} {notes}",
    )


BILATERAL = _bilateral(
    "bilateral",
    "Bilateral self-attention: no token-position cross terms",
    "bilateral",
    {"kernel": "tied"},
    "Kernel 'tied' adds no parameter, 'untied' 2 d^2 a layer.",
)
BILATERAL_UNTIED = _bilateral(
    "bilateral-untied",
    "Bilateral self-attention, position with projections of its own in every layer",
    "bilateral",
    {"kernel": "untied"},
    "Adds 2 d^2 parameters a layer; tupe is the same with one pair of projections for all layers.",
)
BILATERAL_GAUSSIAN = _bilateral(
    "bilateral-gaussian",
    "Bilateral self-attention, position as a Gaussian of distance",
    "gaussian",
    {"near": 1.0, "far": 16.0},
    "It knows only distances: not where in an image a patch lies, nor in which direction.",
)


def _boosting(base: Variant | None, name: str, summary: str, options: Options, residual: str = "boosting") -> Variant:
    """An arm of the residual axis: on softmax attention, or on that of ``base``."""
    return Variant(
        name=name,
        summary=summary,
        attention=base.attention if base else "softmax",
        attention_options=base.attention_options if base else {},
        residual=residual,
        residual_options=options,
        sizes=VIT_SIZES,
        status="reconstruction",
        source=_SOURCE,
        notes=f"{base.notes} {_UNKNOWN_STEP}" if base else _UNKNOWN_STEP,
    )


# x <- a x + b x0 + t F(c x + d x0); the literal SOS step, F(x0 + x) - x:
_SOS: Options = {"a": -1.0, "b": 0.0, "c": 1.0, "d": 1.0, "t": 1.0}
# SOS with strengthening rho and step tau, both 1/2: tau F(x0 + rho x) - (tau rho + tau - 1) x.
_RHO_TAU: Options = {"a": 0.25, "b": 0.0, "c": 0.5, "d": 1.0, "t": 0.5}
# The standard residual with a tenth of the way back to x0: x + F(x) + 0.1 (x0 - x).
_PULL: Options = {"a": 0.9, "b": 0.1, "c": 1.0, "d": 0.0, "t": 1.0}
# L2 boosting, also called twicing: x + F(x0 - x).
_L2: Options = {"a": 1.0, "b": 0.0, "c": -1.0, "d": 1.0, "t": 1.0}

BOOSTING = _boosting(None, "boosting", "Boosting residual: strengthen, operate, subtract", _SOS)
BOOSTING_RHO_TAU = _boosting(None, "boosting-rho-tau", "Boosting residual with rho = tau = 1/2", _RHO_TAU)
BOOSTING_PULL = _boosting(None, "boosting-pull", "Standard residual with a pull towards the embedding", _PULL)
BOOSTING_L2 = _boosting(None, "boosting-l2", "L2 boosting: attention operates on x0 - x", _L2)
BOOSTING_LEARNED = _boosting(
    None, "boosting-learned", "Boosting residual, its coefficients learned per layer", {}, residual="boosting-learned"
)

BILATERAL_BOOSTING = _boosting(
    BILATERAL, "bilateral-boosting", "Bilateral self-attention with a boosting residual", _SOS
)
BILATERAL_BOOSTING_RHO_TAU = _boosting(
    BILATERAL, "bilateral-boosting-rho-tau", "Bilateral self-attention, boosting with rho = tau = 1/2", _RHO_TAU
)
BILATERAL_UNTIED_BOOSTING = _boosting(
    BILATERAL_UNTIED, "bilateral-untied-boosting", "Untied bilateral self-attention with a boosting residual", _SOS
)
BILATERAL_UNTIED_BOOSTING_RHO_TAU = _boosting(
    BILATERAL_UNTIED,
    "bilateral-untied-boosting-rho-tau",
    "Untied bilateral self-attention, boosting with rho = tau = 1/2",
    _RHO_TAU,
)


def _control(name: str, summary: str, source: str, notes: str) -> Variant:
    """A published way of giving attention its positions, with all else as in ``vit``."""
    return Variant(
        name=name, summary=summary, attention=name, sizes=VIT_SIZES, status="confirmed", source=source, notes=notes
    )


TUPE = _control(
    "tupe",
    "TUPE-A: untied absolute positions, shared by all layers",
    "Ke, He, Liu 2021, arXiv 2006.15595, and its public implementation",
    "The norm of positions has no parameters and the projections no biases; the class token's numbers are free.",
)
RELATIVE_BIAS = _control(
    "relative-bias",
    "A learned bias per relative offset, head and layer",
    "Liu et al. 2021, arXiv 2103.14030; buckets of Raffel et al. 2020, arXiv 1910.10683",
    "Exact offsets below 16, log-spaced buckets beyond; the class token is neutral.",
)
ROPE = _control(
    "rope",
    "Rotary positions, axial in images",
    "Su et al. 2021, arXiv 2104.09864; axial form of Heo et al. 2024, arXiv 2403.13298",
    "Base 10000 in texts and 100 in images; the class token is not turned.",
)
ALIBI = _control(
    "alibi",
    "Linear biases of distance; Euclidean in images",
    "Press et al. 2022, arXiv 2108.12409; Euclidean form of Fuller et al. 2023, arXiv 2311.00566",
    "Nothing about positions is learned; the class token is neutral.",
)

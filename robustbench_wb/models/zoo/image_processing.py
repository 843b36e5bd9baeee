"""Attention and residual variants based on image processing, and their controls.

Names are ``<attention>-<residual>``; a part that equals ``vit`` is omitted.
"""

from robustbench_wb.models.variant import Options, Variant
from robustbench_wb.models.zoo.baselines import VIT_SIZES

_FILTERING = "Abdullaev, Tkachenko, Nguyen 2025, arXiv 2506.10371"
_SOURCE = f"{_FILTERING}; the steps of Romano & Elad 2015, arXiv 1502.06220"
_UNKNOWN_KERNEL = "The printed equation was not available."
_UNKNOWN_STEP = "The member of the family that the authors print is unknown. Applies to the attention half only."


def _bilateral(*, name: str, summary: str, attention: str, options: Options, notes: str) -> Variant:
    """Variant with bilateral attention and the standard residual."""
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
    name="bilateral",
    summary="Bilateral self-attention: no token-position cross terms",
    attention="bilateral",
    options={"kernel": "tied"},
    notes="Kernel 'tied' adds no parameters, 'untied' 2 d^2 per layer.",
)
BILATERAL_UNTIED = _bilateral(
    name="bilateral-untied",
    summary="Bilateral self-attention with separate position projections in every layer",
    attention="bilateral",
    options={"kernel": "untied"},
    notes="Adds 2 d^2 parameters per layer; tupe has one pair of projections for all layers instead.",
)
BILATERAL_GAUSSIAN = _bilateral(
    name="bilateral-gaussian",
    summary="Bilateral self-attention with a Gaussian position kernel",
    attention="gaussian",
    options={"near": 1.0, "far": 16.0},
    notes="It depends on distances only, not on the location of a patch in the image or on direction.",
)


def _boosting(
    *, name: str, summary: str, options: Options, base: Variant | None = None, residual: str = "boosting"
) -> Variant:
    """Variant with a boosting residual, on the attention of ``base`` (softmax attention if None)."""
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
# SOS with strengthening rho = 1/2 and step tau = 1/2: tau F(x0 + rho x) - (tau rho + tau - 1) x.
_RHO_TAU: Options = {"a": 0.25, "b": 0.0, "c": 0.5, "d": 1.0, "t": 0.5}
# The standard residual with a pull of 1/10 towards x0: x + F(x) + 0.1 (x0 - x).
_PULL: Options = {"a": 0.9, "b": 0.1, "c": 1.0, "d": 0.0, "t": 1.0}
# L2 boosting, also called twicing: x + F(x0 - x).
_L2: Options = {"a": 1.0, "b": 0.0, "c": -1.0, "d": 1.0, "t": 1.0}

BOOSTING = _boosting(name="boosting", summary="Boosting residual: strengthen, operate, subtract", options=_SOS)
BOOSTING_RHO_TAU = _boosting(
    name="boosting-rho-tau", summary="Boosting residual with rho = tau = 1/2", options=_RHO_TAU
)
BOOSTING_PULL = _boosting(
    name="boosting-pull", summary="Standard residual with a pull towards the embedding", options=_PULL
)
BOOSTING_L2 = _boosting(name="boosting-l2", summary="L2 boosting: attention operates on x0 - x", options=_L2)
BOOSTING_LEARNED = _boosting(
    name="boosting-learned",
    summary="Boosting residual with coefficients learned per layer",
    options={},
    residual="boosting-learned",
)

BOOSTING_CARRIED = Variant(
    name="boosting-carried",
    summary="Residual of attention carried from layer to layer",
    attention="carried-residual",
    sizes=VIT_SIZES,
    status="reconstruction",
    source=f"{_FILTERING}; the iteration of Osher et al. 2005, doi 10.1137/040605412",
    notes="Speculative: no source prints this step. The residual acts inside attention; the skip is the standard one.",
)

BILATERAL_BOOSTING = _boosting(
    base=BILATERAL, name="bilateral-boosting", summary="Bilateral self-attention with a boosting residual", options=_SOS
)
BILATERAL_BOOSTING_RHO_TAU = _boosting(
    base=BILATERAL,
    name="bilateral-boosting-rho-tau",
    summary="Bilateral self-attention, boosting with rho = tau = 1/2",
    options=_RHO_TAU,
)
BILATERAL_UNTIED_BOOSTING = _boosting(
    base=BILATERAL_UNTIED,
    name="bilateral-untied-boosting",
    summary="Untied bilateral self-attention with a boosting residual",
    options=_SOS,
)
BILATERAL_UNTIED_BOOSTING_RHO_TAU = _boosting(
    base=BILATERAL_UNTIED,
    name="bilateral-untied-boosting-rho-tau",
    summary="Untied bilateral self-attention, boosting with rho = tau = 1/2",
    options=_RHO_TAU,
)


def _control(*, name: str, summary: str, source: str, notes: str) -> Variant:
    """Control variant: ``vit`` with another published position encoding."""
    return Variant(
        name=name, summary=summary, attention=name, sizes=VIT_SIZES, status="confirmed", source=source, notes=notes
    )


TUPE = _control(
    name="tupe",
    summary="TUPE-A: untied absolute positions, shared by all layers",
    source="Ke, He, Liu 2021, arXiv 2006.15595, and its public implementation",
    notes="The position norm has no parameters, projections no biases; logits of the class token are free numbers.",
)
RELATIVE_BIAS = _control(
    name="relative-bias",
    summary="Learned bias per relative offset, head and layer",
    source="Liu et al. 2021, arXiv 2103.14030; buckets of Raffel et al. 2020, arXiv 1910.10683",
    notes="Exact offsets below 16, log-spaced buckets beyond; pairs with the class token have bias 0.",
)
ROPE = _control(
    name="rope",
    summary="Rotary position embedding, axial in images",
    source="Su et al. 2021, arXiv 2104.09864; axial form of Heo et al. 2024, arXiv 2403.13298",
    notes="Base 10000 in texts and 100 in images; the class token is not rotated.",
)
ALIBI = _control(
    name="alibi",
    summary="Linear distance biases; Euclidean distance in images",
    source="Press et al. 2022, arXiv 2108.12409; Euclidean form of Fuller et al. 2023, arXiv 2311.00566",
    notes="Nothing about positions is learned; pairs with the class token have bias 0.",
)

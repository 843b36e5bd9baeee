"""Attention and residuals modified by image-processing ideas, and the controls a referee would ask for."""

from robustbench_wb.models.variant import Variant
from robustbench_wb.models.zoo.baselines import VIT_SIZES

_FILTERING = "Abdullaev, Tkachenko, Nguyen 2025, arXiv 2506.10371"

BILATERAL = Variant(
    name="bilateral",
    summary="Bilateral self-attention: no token-position cross terms",
    attention="bilateral",
    attention_options={"kernel": "tied"},
    sizes=VIT_SIZES,
    status="reconstruction",
    source=_FILTERING,
    notes="The printed equation could not be had. Kernel 'tied' adds no parameter, 'untied' 2 d^2 a layer.",
)

# The literal SOS step of Romano & Elad 2015: x <- F(x0 + x) - x.
_SOS: dict[str, bool | int | float | str] = {"a": -1.0, "b": 0.0, "c": 1.0, "d": 1.0, "t": 1.0}

BOOSTING = Variant(
    name="boosting",
    summary="Boosting residual: strengthen, operate, subtract",
    attention="softmax",
    residual="boosting",
    residual_options=_SOS,
    sizes=VIT_SIZES,
    status="reconstruction",
    source=f"{_FILTERING}; the step of Romano & Elad 2015, arXiv 1502.06220",
    notes="Which member of the family the authors print is unknown. The attention half only.",
)

BILATERAL_BOOSTING = BILATERAL.model_copy(
    update={
        "name": "bilateral-boosting",
        "summary": "Bilateral self-attention with a boosting residual",
        "residual": BOOSTING.residual,
        "residual_options": _SOS,
        "source": BOOSTING.source,
        "notes": f"{BILATERAL.notes} {BOOSTING.notes}",
    }
)

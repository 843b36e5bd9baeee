"""The built-in variants, as data. docs/variants.md has their formulas and what is reconstructed."""

from robustbench_wb.models.variant import Size, Variant

# Widths, depths and heads of DeiT (Touvron et al. 2021, table 1); nano is for smoke runs.
_VIT_SIZES = {
    "nano": Size(width=64, depth=4, heads=4),
    "tiny": Size(width=192, depth=12, heads=3),
    "small": Size(width=384, depth=12, heads=6),
    "base": Size(width=768, depth=12, heads=12),
}
_FILTERING = "Abdullaev, Tkachenko, Nguyen 2025, arXiv 2506.10371"

VIT = Variant(
    name="vit",
    summary="Vision Transformer with DeiT's sizes",
    attention="softmax",
    sizes=_VIT_SIZES,
    status="confirmed",
    source="Dosovitskiy et al. 2021, arXiv 2010.11929, eq. 1-4; sizes of arXiv 2012.12877",
)

CRATE = Variant(
    name="crate",
    summary="White-box transformer: MSSA compresses, ISTA sparsifies",
    attention="subspace",
    feedforward="ista",
    feedforward_options={"eta": 0.1, "lam": 0.1},
    embedding="crate-patch",
    norm_eps=1e-5,
    initialisation="torch",
    sizes={
        "nano": Size(width=64, depth=4, heads=4),
        "tiny": Size(width=384, depth=12, heads=6),
        "small": Size(width=576, depth=12, heads=12),
        "base": Size(width=768, depth=12, heads=12),
        "large": Size(width=1024, depth=24, heads=16),
    },
    status="confirmed",
    source="Yu et al. 2023, arXiv 2306.01129, and the behaviour of its public implementation",
    notes="The code's out-projection, step 0.1 and layer norms differ from the paper; the code is followed.",
)

BILATERAL = Variant(
    name="bilateral",
    summary="Bilateral self-attention: no token-position cross terms",
    attention="bilateral",
    attention_options={"kernel": "tied"},
    position="separate",
    sizes=_VIT_SIZES,
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
    sizes=_VIT_SIZES,
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

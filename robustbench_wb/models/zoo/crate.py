"""The white-box transformer CRATE and its relatives."""

from robustbench_wb.models.variant import Size, Variant

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

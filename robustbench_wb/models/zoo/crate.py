"""White-box transformer CRATE and its relatives."""

from robustbench_wb.models.variant import Size, Variant

_SIZES = {
    "nano": Size(width=64, depth=4, heads=4),
    "tiny": Size(width=384, depth=12, heads=6),
    "small": Size(width=576, depth=12, heads=12),
    "base": Size(width=768, depth=12, heads=12),
    "large": Size(width=1024, depth=24, heads=16),
}

CRATE = Variant(
    name="crate",
    summary="White-box transformer: MSSA compresses, ISTA sparsifies",
    attention="subspace",
    feedforward="ista",
    feedforward_options={"eta": 0.1, "lam": 0.1},
    embedding="crate-patch",
    # CRATE-GPT predicts words from the last stream without a final norm.
    language_head_options={"norm": False},
    norm_eps=1e-5,
    initialisation="torch",
    sizes=_SIZES,
    status="confirmed",
    source="Yu et al. 2023, arXiv 2306.01129, and the behaviour of its public implementation",
    notes="Output map, step size 0.1 and layer norms follow the public code, which differs from the paper.",
)

CRATE_ALPHA = Variant(
    name="crate-alpha",
    summary="Scaled CRATE: an overcomplete dictionary, and a skip on both halves",
    attention="subspace",
    attention_options={"bias": False},
    feedforward="odl",
    feedforward_options={"eta": 0.1, "lam": 0.1},
    # Final norm of the torch port; the JAX original has 1e-6 here too.
    head_options={"eps": 1e-5},
    norm_eps=1e-6,
    sizes={
        "nano": _SIZES["nano"],
        "tiny": Size(width=192, depth=12, heads=3),
        "small": _SIZES["small"],
        "base": _SIZES["base"],
        "large": _SIZES["large"],
        "huge": Size(width=1280, depth=32, heads=16),
    },
    status="confirmed",
    source="Yang et al. 2024, arXiv 2405.20299, and the behaviour of its public implementations",
    notes="The skip around the dictionary and its separate decoder follow the public code, not the derivation.",
)

CRATE_MAE = Variant(
    name="crate-mae",
    summary="CRATE as the encoder of a masked autoencoder: fixed positions, no norms around patches",
    attention="subspace",
    feedforward="ista",
    feedforward_options={"eta": 0.1, "lam": 0.5},
    embedding="sincos-patch",
    head_options={"eps": 1e-6},
    norm_eps=1e-5,
    sizes=_SIZES,
    status="confirmed",
    source="Pai et al. 2024, arXiv 2404.02446, and the behaviour of its public implementation",
    notes="Published weights exist for lambda 0.5 and 5.0, which only file names distinguish; imports keep it.",
)

CRATE_BERT = Variant(
    name="crate-bert",
    summary="CRATE as a text encoder with BERT's embeddings and pooler",
    attention="subspace",
    attention_options={"bias": False},
    feedforward="ista",
    feedforward_options={"eta": 0.1, "lam": 0.1},
    text_embedding_options={"norm": True},
    head="pooler",
    norm_eps=1e-12,
    sizes=_SIZES,
    status="confirmed",
    source="Yu et al. 2023, arXiv 2311.13110, section on language; layer of its port to transformers",
    notes="No dropout and no segment embedding: tasks have one segment, whose embedding is part of the positions.",
)

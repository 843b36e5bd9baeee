"""Baseline variants: ViT, a ViT of newer parts, and BERT."""

from robustbench_wb.models.rms_norm_variant import RmsNormVariant
from robustbench_wb.models.variant import Size, Variant

# Widths, depths and heads of DeiT (Touvron et al. 2021, table 1); nano is for smoke runs.
VIT_SIZES = {
    "nano": Size(width=64, depth=4, heads=4),
    "tiny": Size(width=192, depth=12, heads=3),
    "small": Size(width=384, depth=12, heads=6),
    "base": Size(width=768, depth=12, heads=12),
}

VIT = Variant(
    name="vit",
    summary="Vision Transformer with DeiT's sizes",
    attention="softmax",
    sizes=VIT_SIZES,
    status="confirmed",
    source="Dosovitskiy et al. 2021, arXiv 2010.11929, eq. 1-4; sizes of arXiv 2012.12877",
)

VIT_MODERN = RmsNormVariant(
    name="vit-modern",
    summary="ViT with register tokens, SwiGLU and RMS norms",
    attention="softmax",
    feedforward="swiglu",
    embedding="register-patch",
    embedding_options={"registers": 4},
    sizes=VIT_SIZES,
    status="confirmed",
    source="arXiv 2309.16588 (registers), 2002.05202 (SwiGLU), 1910.07467 (RMS norm); two of three in arXiv 2411.14402",
    notes="Each part is published; the combination was chosen here. Texts have no registers.",
)

BERT = Variant(
    name="bert",
    summary="BERT in the sizes of its published miniatures",
    attention="softmax",
    feedforward_options={"post": True},
    text_embedding_options={"norm": True},
    head="pooler",
    norm="post",
    norm_eps=1e-12,
    sizes={
        "nano": Size(width=128, depth=2, heads=2),
        "mini": Size(width=256, depth=4, heads=4),
        "small": Size(width=512, depth=4, heads=8),
        "medium": Size(width=512, depth=8, heads=8),
        "base": Size(width=768, depth=12, heads=12),
    },
    status="confirmed",
    source="Devlin et al. 2019, arXiv 1810.04805; sizes of Turc et al. 2019, arXiv 1908.08962 (nano is tiny there)",
    notes="No dropout and no segment embedding: tasks have one segment, whose embedding is part of the positions.",
)

"""Attention variants from the general literature: normalisations other than softmax, and differences of attentions."""

from robustbench_wb.models.variant import Options, Variant
from robustbench_wb.models.zoo.baselines import VIT_SIZES


def _attention(*, name: str, summary: str, source: str, notes: str, options: Options | None = None) -> Variant:
    """Variant that replaces the softmax attention of ``vit``."""
    return Variant(
        name=name,
        summary=summary,
        attention=name,
        attention_options=options or {},
        sizes=VIT_SIZES,
        status="confirmed",
        source=source,
        notes=notes,
    )


DIFFERENTIAL = _attention(
    name="differential",
    summary="Differential attention: one attention map minus another",
    source="Ye et al. 2024, arXiv 2410.05258, and its public implementation",
    notes="Keeps the heads of vit and halves their queries and keys; the paper halves the number of heads instead.",
)
DOUBLY_STOCHASTIC = _attention(
    name="doubly-stochastic",
    summary="Sinkhorn attention: rows and columns sum to 1",
    source="Sander, Ablin, Blondel, Peyre 2022, arXiv 2110.11773, and its public implementation",
    notes="Three steps, rows first and last, as in the published vision model. No causal form exists.",
    options={"iterations": 3},
)
SIGMOID = _attention(
    name="sigmoid",
    summary="Sigmoid attention: weights of a query do not compete",
    source="Ramapuram et al. 2024, arXiv 2409.04431",
    notes="The shift is -log of the number of keys of each query. No LayerScale and no norm of queries and keys.",
)
LINEAR = _attention(
    name="linear",
    summary="Linear attention with the feature map elu + 1",
    source="Katharopoulos et al. 2020, arXiv 2006.16236, and its public implementation",
    notes="Cost grows with the length of the sequence, not with its square.",
)
COSINE = _attention(
    name="cosine",
    summary="Cosine attention with a learned sharpness per head",
    source="Liu et al. 2022, arXiv 2111.09883, and its public implementation",
    notes="Without the position bias and the post-norm of Swin V2.",
)

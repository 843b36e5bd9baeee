"""White-box variants beside CRATE: attention only, attention by token statistics, and ReduNet."""

from robustbench_wb.models.data_built_variant import DataBuiltVariant
from robustbench_wb.models.variant import Size, Variant
from robustbench_wb.models.zoo.baselines import VIT_SIZES

ATTENTION_ONLY = Variant(
    name="attention-only",
    summary="Subspace attention and skips, no feed-forward half",
    attention="subspace",
    feedforward="none",
    sizes=VIT_SIZES,
    status="reconstruction",
    source="Wang, Lu, Yu, Pai, Qu, Ma 2025, arXiv 2506.03790; the attention of Yu et al. 2023, arXiv 2306.01129",
    notes="Its equations and code were not available: the attention is that of CRATE's code, with a free output map.",
)

TOST = Variant(
    name="tost",
    summary="Token statistics attention: second moments instead of pairs of tokens",
    attention="token-statistics",
    sizes=VIT_SIZES,
    status="confirmed",
    source="Wu et al. 2024, arXiv 2412.17810, and the behaviour of its public implementation",
    notes="Patches, positions, norms and MLP are those of vit; the published vision model has those of XCiT.",
)

REDUNET = DataBuiltVariant(
    name="redunet",
    summary="ReduNet: layers built from the training data, each a step of rate reduction",
    attention="rate-reduction",
    feedforward="none",
    embedding="lifted-patch",
    head="nearest-subspace",
    norm="post",
    sizes={"nano": Size(width=24, depth=6, heads=1), "tiny": Size(width=48, depth=12, heads=1)},
    status="confirmed",
    source="Chan, Yu, You, Qi, Wright & Ma 2022, arXiv 2105.10446 (JMLR), and its public implementation",
    notes="Tokens are patches and not pixels; the sizes, and training through the nearest subspace, were chosen here.",
)

"""Every name the room knows. One line adds a mechanism; nothing is imported before it is asked for."""

from typing import TYPE_CHECKING

from robustbench_wb.models.variant import Variant
from robustbench_wb.registry import Registry

if TYPE_CHECKING:
    from robustbench_wb.models.sockets import Attention, Embedding, FeedForward, Head, Residual

_HERE = "robustbench_wb.models"

VARIANTS: Registry[Variant] = Registry("variant")
VARIANTS.add("vit", f"{_HERE}.zoo.baselines:VIT", "Vision Transformer: softmax attention, residual, MLP")
VARIANTS.add("bert", f"{_HERE}.zoo.baselines:BERT", "BERT: softmax attention, norms last, pooled class token")
VARIANTS.add("crate", f"{_HERE}.zoo.crate:CRATE", "White-box transformer: subspace attention and an ISTA step")
VARIANTS.add("crate-alpha", f"{_HERE}.zoo.crate:CRATE_ALPHA", "CRATE scaled: overcomplete dictionary, two skips")
VARIANTS.add("crate-mae", f"{_HERE}.zoo.crate:CRATE_MAE", "Encoder of CRATE's masked autoencoder: fixed positions")
VARIANTS.add("crate-bert", f"{_HERE}.zoo.crate:CRATE_BERT", "CRATE as a text encoder: no biases, pooled class token")
VARIANTS.add(
    "bilateral", f"{_HERE}.zoo.image_processing:BILATERAL", "Content and position compared apart, in every layer"
)
VARIANTS.add("boosting", f"{_HERE}.zoo.image_processing:BOOSTING", "Attention residual as an SOS boosting step")
VARIANTS.add(
    "bilateral-boosting", f"{_HERE}.zoo.image_processing:BILATERAL_BOOSTING", "Bilateral attention, boosting residual"
)

ATTENTIONS: "Registry[type[Attention]]" = Registry("attention")
ATTENTIONS.add("softmax", f"{_HERE}.attention.softmax:SoftmaxAttention", "Scaled dot product")
ATTENTIONS.add("subspace", f"{_HERE}.attention.subspace:SubspaceAttention", "MSSA: one matrix is query, key, value")
ATTENTIONS.add("bilateral", f"{_HERE}.attention.bilateral:BilateralAttention", "Content plus position logits")

RESIDUALS: "Registry[type[Residual]]" = Registry("residual")
RESIDUALS.add("standard", f"{_HERE}.residual:StandardResidual", "x + F(x)")
RESIDUALS.add("boosting", f"{_HERE}.residual:BoostingResidual", "a x + b x0 + t F(c x + d x0)")

FEEDFORWARDS: "Registry[type[FeedForward]]" = Registry("feedforward")
FEEDFORWARDS.add("mlp", f"{_HERE}.feedforward:Mlp", "Two linear maps and a GELU, with a skip")
FEEDFORWARDS.add("ista", f"{_HERE}.feedforward:Ista", "One proximal step towards a sparse code, no skip")
FEEDFORWARDS.add("odl", f"{_HERE}.odl:OvercompleteDictionary", "Two steps in a wide dictionary, with a skip")

EMBEDDINGS: "Registry[type[Embedding]]" = Registry("embedding")
EMBEDDINGS.add("patch", f"{_HERE}.embeddings:PatchEmbedding", "Linear map of square patches")
EMBEDDINGS.add("crate-patch", f"{_HERE}.embeddings:CratePatchEmbedding", "The same between two layer norms")
EMBEDDINGS.add("sincos-patch", f"{_HERE}.sincos:SincosPatchEmbedding", "Patches with fixed positions")
EMBEDDINGS.add("token", f"{_HERE}.embeddings:TokenEmbedding", "Word table of token ids; knows padding")

HEADS: "Registry[type[Head]]" = Registry("head")
HEADS.add("cls", f"{_HERE}.heads:ClsHead", "Layer norm and linear map of the class token")
HEADS.add("pooler", f"{_HERE}.heads:PoolerHead", "Two maps of the class token, a tanh between them")
HEADS.add("tied", f"{_HERE}.heads:TiedHead", "Next tokens through the word table")

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
_IMAGING = f"{_HERE}.zoo.image_processing"
VARIANTS.add("bilateral", f"{_IMAGING}:BILATERAL", "Content and position compared apart, in every layer")
VARIANTS.add("bilateral-untied", f"{_IMAGING}:BILATERAL_UNTIED", "Bilateral, position with projections of its own")
VARIANTS.add("bilateral-gaussian", f"{_IMAGING}:BILATERAL_GAUSSIAN", "Bilateral, position as a Gaussian of distance")
VARIANTS.add("boosting", f"{_IMAGING}:BOOSTING", "Attention residual as an SOS boosting step")
VARIANTS.add("boosting-rho-tau", f"{_IMAGING}:BOOSTING_RHO_TAU", "Boosting at half strength and half step")
VARIANTS.add("boosting-pull", f"{_IMAGING}:BOOSTING_PULL", "Standard residual pulled towards the embedding")
VARIANTS.add("boosting-l2", f"{_IMAGING}:BOOSTING_L2", "Attention sees what the stream lacks of the embedding")
VARIANTS.add("boosting-learned", f"{_IMAGING}:BOOSTING_LEARNED", "Boosting with learned coefficients, from standard")
VARIANTS.add("bilateral-boosting", f"{_IMAGING}:BILATERAL_BOOSTING", "Bilateral attention, boosting residual")
VARIANTS.add("bilateral-boosting-rho-tau", f"{_IMAGING}:BILATERAL_BOOSTING_RHO_TAU", "Both, half strength and step")
VARIANTS.add(
    "bilateral-untied-boosting", f"{_IMAGING}:BILATERAL_UNTIED_BOOSTING", "Bilateral untied, boosting residual"
)
VARIANTS.add(
    "bilateral-untied-boosting-rho-tau",
    f"{_IMAGING}:BILATERAL_UNTIED_BOOSTING_RHO_TAU",
    "Bilateral untied, boosting at half strength and half step",
)
VARIANTS.add("tupe", f"{_IMAGING}:TUPE", "Control: untied positions shared by all layers")
VARIANTS.add("relative-bias", f"{_IMAGING}:RELATIVE_BIAS", "Control: a learned bias per relative offset")
VARIANTS.add("rope", f"{_IMAGING}:ROPE", "Control: rotary positions")
VARIANTS.add("alibi", f"{_IMAGING}:ALIBI", "Control: a constant slope of distance per head")
VARIANTS.add("twicing", f"{_HERE}.zoo.robust:TWICING", "A V + A (V - A V)")
VARIANTS.add("neutreno", f"{_HERE}.zoo.robust:NEUTRENO", "Values pulled towards those of the first layer")
VARIANTS.add("elliptical", f"{_HERE}.zoo.robust:ELLIPTICAL", "Features that change between layers count more")
VARIANTS.add("rpc", f"{_HERE}.zoo.robust:RPC", "Outliers of the keys are split off")
VARIANTS.add("robust-kde-huber", f"{_HERE}.zoo.robust:ROBUST_KDE_HUBER", "Robust density estimate, Huber's loss")
VARIANTS.add("robust-kde-hampel", f"{_HERE}.zoo.robust:ROBUST_KDE_HAMPEL", "Robust density estimate, Hampel's loss")
VARIANTS.add("median-of-means", f"{_HERE}.zoo.robust:MEDIAN_OF_MEANS", "Key subset of median likelihood")

ATTENTIONS: "Registry[type[Attention]]" = Registry("attention")
ATTENTIONS.add("softmax", f"{_HERE}.attention.softmax:SoftmaxAttention", "Scaled dot product")
ATTENTIONS.add("subspace", f"{_HERE}.attention.subspace:SubspaceAttention", "MSSA: one matrix is query, key, value")
ATTENTIONS.add("bilateral", f"{_HERE}.attention.bilateral:BilateralAttention", "Content plus position logits")
ATTENTIONS.add("gaussian", f"{_HERE}.attention.gaussian:GaussianBilateralAttention", "Gaussian of distance as a bias")
ATTENTIONS.add("tupe", f"{_HERE}.attention.tupe:TupeAttention", "Position logits shared by all layers")
ATTENTIONS.add("relative-bias", f"{_HERE}.attention.relative:RelativeBiasAttention", "A learned bias per offset")
ATTENTIONS.add("rope", f"{_HERE}.attention.rope:RopeAttention", "Queries and keys turned by where they are")
ATTENTIONS.add("alibi", f"{_HERE}.attention.alibi:AlibiAttention", "Minus a slope times distance as a bias")
ATTENTIONS.add("twicing", f"{_HERE}.attention.twicing:TwicingAttention", "A V + A (V - A V)")
ATTENTIONS.add("neutreno", f"{_HERE}.attention.neutreno:NeutrenoAttention", "A V + lam (V_0 - V)")
ATTENTIONS.add("elliptical", f"{_HERE}.attention.elliptical:EllipticalAttention", "Weighted features in q k")
ATTENTIONS.add("rpc", f"{_HERE}.attention.rpc:RpcAttention", "Low-rank part of the keys, by iteration")
ATTENTIONS.add("robust-kde", f"{_HERE}.attention.robust_kde:RobustKdeAttention", "Keys weighted by how usual they are")
ATTENTIONS.add("median-of-means", f"{_HERE}.attention.median_of_means:MedianOfMeansAttention", "Median key subset")

RESIDUALS: "Registry[type[Residual]]" = Registry("residual")
RESIDUALS.add("standard", f"{_HERE}.residual:StandardResidual", "x + F(x)")
RESIDUALS.add("boosting", f"{_HERE}.residual:BoostingResidual", "a x + b x0 + t F(c x + d x0)")
RESIDUALS.add(
    "boosting-learned", f"{_HERE}.learned_boosting:LearnedBoostingResidual", "a x + b x0 + F(c x + d x0), learned"
)

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
HEADS.add("mean", f"{_HERE}.heads:MeanHead", "Layer norm and linear map of the mean over real tokens")
HEADS.add("pair", f"{_HERE}.heads:PairHead", "Two documents compared")
HEADS.add("tied", f"{_HERE}.heads:TiedHead", "Next tokens through the word table")

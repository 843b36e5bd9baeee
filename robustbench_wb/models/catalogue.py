"""Registries of variants and mechanisms. One line registers a name; targets are imported on first use."""

from typing import TYPE_CHECKING, Final

from robustbench_wb.registry import Registry

CHANGES_NO_NUMBER: Final = "it only lists names; what they point at is digested instead"

if TYPE_CHECKING:
    from robustbench_wb.models.sockets import Attention, Embedding, FeedForward, Head, Residual
    from robustbench_wb.models.variant import Variant

_HERE = "robustbench_wb.models"

VARIANTS: "Registry[Variant]" = Registry("variant")
VARIANTS.add("vit", f"{_HERE}.zoo.baselines:VIT", "Vision Transformer: softmax attention, residual, MLP")
VARIANTS.add("vit-modern", f"{_HERE}.zoo.baselines:VIT_MODERN", "ViT with register tokens, SwiGLU and RMS norms")
VARIANTS.add("bert", f"{_HERE}.zoo.baselines:BERT", "BERT: softmax attention, post-norm, pooled class token")
VARIANTS.add("crate", f"{_HERE}.zoo.crate:CRATE", "White-box transformer: subspace attention and an ISTA step")
VARIANTS.add("crate-alpha", f"{_HERE}.zoo.crate:CRATE_ALPHA", "Scaled CRATE: overcomplete dictionary, two skips")
VARIANTS.add("crate-mae", f"{_HERE}.zoo.crate:CRATE_MAE", "Encoder of CRATE's masked autoencoder: fixed positions")
VARIANTS.add("crate-bert", f"{_HERE}.zoo.crate:CRATE_BERT", "CRATE as a text encoder: no biases, pooled class token")
VARIANTS.add("attention-only", f"{_HERE}.zoo.white_box:ATTENTION_ONLY", "Subspace attention and skips, no MLP")
VARIANTS.add("tost", f"{_HERE}.zoo.white_box:TOST", "Token statistics attention, linear in the number of tokens")
VARIANTS.add("redunet", f"{_HERE}.zoo.white_box:REDUNET", "ReduNet: layers built from the training data, images only")
_IMAGING = f"{_HERE}.zoo.image_processing"
VARIANTS.add("bilateral", f"{_IMAGING}:BILATERAL", "Separate content and position logits in every layer")
VARIANTS.add("bilateral-untied", f"{_IMAGING}:BILATERAL_UNTIED", "Bilateral with separate position projections")
VARIANTS.add("bilateral-gaussian", f"{_IMAGING}:BILATERAL_GAUSSIAN", "Bilateral with a Gaussian position kernel")
VARIANTS.add("boosting", f"{_IMAGING}:BOOSTING", "Attention residual as an SOS boosting step")
VARIANTS.add("boosting-rho-tau", f"{_IMAGING}:BOOSTING_RHO_TAU", "SOS boosting step with rho = tau = 1/2")
VARIANTS.add("boosting-pull", f"{_IMAGING}:BOOSTING_PULL", "Standard residual with a pull towards the embedding")
VARIANTS.add("boosting-l2", f"{_IMAGING}:BOOSTING_L2", "L2 boosting: attention operates on x0 - x")
VARIANTS.add("boosting-learned", f"{_IMAGING}:BOOSTING_LEARNED", "Boosting residual with learned coefficients")
VARIANTS.add("boosting-carried", f"{_IMAGING}:BOOSTING_CARRIED", "Residual of attention carried to the next layer")
VARIANTS.add("bilateral-boosting", f"{_IMAGING}:BILATERAL_BOOSTING", "Bilateral attention, boosting residual")
VARIANTS.add(
    "bilateral-boosting-rho-tau", f"{_IMAGING}:BILATERAL_BOOSTING_RHO_TAU", "Bilateral, boosting rho = tau = 1/2"
)
VARIANTS.add(
    "bilateral-untied-boosting",
    f"{_IMAGING}:BILATERAL_UNTIED_BOOSTING",
    "Untied bilateral attention, boosting residual",
)
VARIANTS.add(
    "bilateral-untied-boosting-rho-tau",
    f"{_IMAGING}:BILATERAL_UNTIED_BOOSTING_RHO_TAU",
    "Untied bilateral attention, boosting with rho = tau = 1/2",
)
VARIANTS.add("tupe", f"{_IMAGING}:TUPE", "Control: untied positions shared by all layers")
VARIANTS.add("relative-bias", f"{_IMAGING}:RELATIVE_BIAS", "Control: learned relative position bias")
VARIANTS.add("rope", f"{_IMAGING}:ROPE", "Control: rotary position embedding")
VARIANTS.add("alibi", f"{_IMAGING}:ALIBI", "Control: linear distance bias, one constant slope per head")
VARIANTS.add("twicing", f"{_HERE}.zoo.robust:TWICING", "Twicing attention: A V + A (V - A V)")
VARIANTS.add("neutreno", f"{_HERE}.zoo.robust:NEUTRENO", "NeuTRENO: values pulled towards the first layer's")
VARIANTS.add("twicing-neutreno", f"{_HERE}.zoo.robust:TWICING_NEUTRENO", "Twicing with the pull of NeuTRENO")
VARIANTS.add("elliptical", f"{_HERE}.zoo.robust:ELLIPTICAL", "Elliptical attention: features weighted by change")
VARIANTS.add("rpc", f"{_HERE}.zoo.robust:RPC", "Robust principal components: outliers of keys removed")
VARIANTS.add("robust-kde-huber", f"{_HERE}.zoo.robust:ROBUST_KDE_HUBER", "Robust density attention, Huber loss")
VARIANTS.add("robust-kde-hampel", f"{_HERE}.zoo.robust:ROBUST_KDE_HAMPEL", "Robust density attention, Hampel loss")
VARIANTS.add("median-of-means", f"{_HERE}.zoo.robust:MEDIAN_OF_MEANS", "Attention over the median key subset")
_ATTENTIONS = f"{_HERE}.zoo.attentions"
VARIANTS.add("differential", f"{_ATTENTIONS}:DIFFERENTIAL", "One attention map minus another")
VARIANTS.add("doubly-stochastic", f"{_ATTENTIONS}:DOUBLY_STOCHASTIC", "Sinkhorn attention, not for language models")
VARIANTS.add("sigmoid", f"{_ATTENTIONS}:SIGMOID", "Sigmoid instead of softmax")
VARIANTS.add("linear", f"{_ATTENTIONS}:LINEAR", "Linear attention: no pairs of tokens")
VARIANTS.add("cosine", f"{_ATTENTIONS}:COSINE", "Cosines of queries and keys, learned sharpness")

ATTENTIONS: "Registry[type[Attention]]" = Registry("attention")
ATTENTIONS.add("softmax", f"{_HERE}.attention.softmax:SoftmaxAttention", "Scaled dot-product attention")
ATTENTIONS.add("subspace", f"{_HERE}.attention.subspace:SubspaceAttention", "MSSA: query = key = value")
ATTENTIONS.add("bilateral", f"{_HERE}.attention.bilateral:BilateralAttention", "Content plus position logits")
ATTENTIONS.add("gaussian", f"{_HERE}.attention.gaussian:GaussianBilateralAttention", "Gaussian position kernel")
ATTENTIONS.add("tupe", f"{_HERE}.attention.tupe:TupeAttention", "Position logits shared by all layers")
ATTENTIONS.add("relative-bias", f"{_HERE}.attention.relative:RelativeBiasAttention", "Learned bias per offset")
ATTENTIONS.add("rope", f"{_HERE}.attention.rope:RopeAttention", "Rotary position embedding")
ATTENTIONS.add("alibi", f"{_HERE}.attention.alibi:AlibiAttention", "Bias of minus slope times distance")
ATTENTIONS.add("twicing", f"{_HERE}.attention.twicing:TwicingAttention", "A V + A (V - A V)")
ATTENTIONS.add("neutreno", f"{_HERE}.attention.neutreno:NeutrenoAttention", "A V + lam (V_0 - V)")
ATTENTIONS.add(
    "twicing-neutreno",
    f"{_HERE}.attention.twicing_neutreno:TwicingNeutrenoAttention",
    "(2 A - A^2) V + lam (V_0 - V)",
)
ATTENTIONS.add(
    "carried-residual",
    f"{_HERE}.attention.carried_residual:CarriedResidualAttention",
    "A (V + r), r <- r + V_0 - A (V + r)",
)
ATTENTIONS.add("elliptical", f"{_HERE}.attention.elliptical:EllipticalAttention", "Weighted features in q k^T")
ATTENTIONS.add("rpc", f"{_HERE}.attention.rpc:RpcAttention", "Robust principal components of the keys")
ATTENTIONS.add("robust-kde", f"{_HERE}.attention.robust_kde:RobustKdeAttention", "Keys with robust density weights")
ATTENTIONS.add("median-of-means", f"{_HERE}.attention.median_of_means:MedianOfMeansAttention", "Median key subset")
ATTENTIONS.add("differential", f"{_HERE}.attention.differential:DifferentialAttention", "(A_1 - lam A_2) V")
ATTENTIONS.add(
    "doubly-stochastic", f"{_HERE}.attention.doubly_stochastic:DoublyStochasticAttention", "Sinkhorn normalisation"
)
ATTENTIONS.add("sigmoid", f"{_HERE}.attention.sigmoid:SigmoidAttention", "sigmoid(Q K^T / sqrt(p) - log n) V")
ATTENTIONS.add("linear", f"{_HERE}.attention.linear:LinearAttention", "f(Q) f(K)^T V, normalised")
ATTENTIONS.add("cosine", f"{_HERE}.attention.cosine:CosineAttention", "softmax(g cos(Q, K)) V")
ATTENTIONS.add(
    "token-statistics", f"{_HERE}.attention.token_statistics:TokenStatisticsAttention", "Second moments of tokens"
)
ATTENTIONS.add("rate-reduction", f"{_HERE}.attention.rate_reduction:RateReduction", "Step of rate reduction")

RESIDUALS: "Registry[type[Residual]]" = Registry("residual")
RESIDUALS.add("standard", f"{_HERE}.residual:StandardResidual", "x + F(x)")
RESIDUALS.add("boosting", f"{_HERE}.residual:BoostingResidual", "a x + b x0 + t F(c x + d x0)")
RESIDUALS.add(
    "boosting-learned", f"{_HERE}.learned_boosting:LearnedBoostingResidual", "a x + b x0 + F(c x + d x0), learned"
)

FEEDFORWARDS: "Registry[type[FeedForward]]" = Registry("feedforward")
FEEDFORWARDS.add("mlp", f"{_HERE}.feedforward:Mlp", "Two linear maps with a GELU, and a skip")
FEEDFORWARDS.add("ista", f"{_HERE}.feedforward:Ista", "One ISTA step towards a sparse code, no skip")
FEEDFORWARDS.add(
    "odl",
    f"{_HERE}.overcomplete_dictionary:OvercompleteDictionary",
    "Two ISTA steps in an overcomplete dictionary, and a skip",
)
FEEDFORWARDS.add("swiglu", f"{_HERE}.swiglu:SwiGlu", "Gated linear maps with a SiLU, and a skip")
FEEDFORWARDS.add("none", f"{_HERE}.no_feedforward:NoFeedForward", "The stream unchanged")

EMBEDDINGS: "Registry[type[Embedding]]" = Registry("embedding")
EMBEDDINGS.add("patch", f"{_HERE}.embeddings:PatchEmbedding", "Linear map of square patches")
EMBEDDINGS.add(
    "crate-patch", f"{_HERE}.embeddings:CratePatchEmbedding", "Linear map of patches between two layer norms"
)
EMBEDDINGS.add(
    "sincos-patch", f"{_HERE}.sincos:SincosPatchEmbedding", "Linear map of patches, fixed sine and cosine positions"
)
EMBEDDINGS.add(
    "register-patch", f"{_HERE}.registers:RegisterPatchEmbedding", "Linear map of patches, and register tokens"
)
EMBEDDINGS.add("lifted-patch", f"{_HERE}.lifting:LiftedPatchEmbedding", "Random filters of patches on the unit sphere")
EMBEDDINGS.add("token", f"{_HERE}.embeddings:TokenEmbedding", "Word embeddings of token ids; masks padding")

HEADS: "Registry[type[Head]]" = Registry("head")
HEADS.add("cls", f"{_HERE}.heads:ClsHead", "Layer norm and linear map of the class token")
HEADS.add("pooler", f"{_HERE}.heads:PoolerHead", "BERT pooler: two linear maps of the class token, tanh between")
HEADS.add("mean", f"{_HERE}.heads:MeanHead", "Layer norm and linear map of the mean over real tokens")
HEADS.add("pair", f"{_HERE}.heads:PairHead", "Comparison of two documents")
HEADS.add("tied", f"{_HERE}.heads:TiedHead", "Next-token logits, tied to the word embeddings")
HEADS.add("patch-decoder", f"{_HERE}.patch_decoder:PatchDecoder", "Logits of every pixel from its patch token")
HEADS.add("nearest-subspace", f"{_HERE}.nearest_subspace:NearestSubspaceHead", "Nearest subspace of a class")

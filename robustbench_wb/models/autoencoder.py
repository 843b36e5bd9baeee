"""CRATE-MAE, the masked autoencoder of CRATE (Pai et al. 2024, arXiv 2404.02446, as implemented)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from robustbench_wb import rng
from robustbench_wb.errors import UsageError
from robustbench_wb.models.assemble import xavier
from robustbench_wb.models.attention.subspace import SubspaceAttention
from robustbench_wb.models.backbone import ImageClassifier
from robustbench_wb.models.build import build
from robustbench_wb.models.embeddings import PatchEmbedding, patchify
from robustbench_wb.models.heads import ClsHead
from robustbench_wb.models.shape import ImageShape
from robustbench_wb.models.sockets import Context, LayerConfig
from robustbench_wb.models.variant import Variant
from robustbench_wb.models.zoo.crate import CRATE_MAE


class DecoderBlock(nn.Module):
    """Decoder block that inverts an encoder layer: ``y = A LN(x)``, then ``x <- y - MSSA(LN(y))``.

    The minus sign reverses the compression step.
    """

    def __init__(self, config: LayerConfig) -> None:
        super().__init__()
        self.code_norm = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.dictionary = nn.Parameter(torch.empty(config.width, config.width))
        nn.init.kaiming_uniform_(self.dictionary)
        self.norm = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.attention = SubspaceAttention(config)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """Map the stream (B, N, d) to the next stream (B, N, d)."""
        y = self.code_norm(x) @ self.dictionary.T
        expanded: Tensor = y - self.attention(self.norm(y), context)
        return expanded


class MaskedAutoencoder(nn.Module):
    """Masked autoencoder: predicts the values of all patches from images in [0, 1] with some patches hidden.

    Unlike in He et al. 2022, the encoder receives all positions: a hidden patch is replaced by the mask token, with its
    position. ``embedding``, ``backbone``, ``norm``, ``mean`` and ``std`` can be copied into a classifier
    (``give_encoder``).
    """

    mean: Tensor
    std: Tensor

    def __init__(self, encoder: ImageClassifier, decoder: Sequence[DecoderBlock], patch_values: int) -> None:
        super().__init__()
        embedding, head = encoder.embedding, encoder.head
        if not isinstance(embedding, PatchEmbedding) or not isinstance(head, ClsHead):
            raise UsageError("a masked autoencoder needs an encoder with a patch embedding and a class-token head")
        width = embedding.cls.shape[-1]
        self.register_buffer("mean", encoder.mean)
        self.register_buffer("std", encoder.std)
        self.embedding, self.backbone, self.norm = embedding, encoder.backbone, head.norm
        self.mask_token = nn.Parameter(torch.empty(1, 1, width).normal_(std=0.02))
        self.decoder = nn.ModuleList(decoder)
        self.decoder_norm = nn.LayerNorm(width, eps=self.norm.eps)
        self.predict = nn.Linear(width, patch_values)

    def targets(self, images: Tensor) -> Tensor:
        """Return the normalised patch values (B, N, patch * patch * C); the channel index varies fastest."""
        return patchify((images - self.mean[:, None, None]) / self.std[:, None, None], self.embedding.patch)

    def encode(self, images: Tensor, hidden: Tensor | None = None) -> tuple[Tensor, Context]:
        """Return the layer-normalised last encoder stream (B, 1 + N, d) and its context.

        ``hidden`` is bool (B, N), True for hidden patches; None shows all patches.
        """
        patches: Tensor = self.embedding.project(self.targets(images))
        if hidden is not None:
            patches = torch.where(hidden[..., None], self.mask_token.to(patches.dtype), patches)
        stream, context = self.embedding.join(patches)
        latent: Tensor = self.norm(self.backbone(stream, context))
        return latent, context

    def forward(self, images: Tensor, hidden: Tensor | None = None) -> Tensor:
        """Predict patch values (B, N, patch * patch * C) from images (B, C, H, W).

        ``hidden`` is bool (B, N), True for hidden patches; None shows all patches.
        """
        x, context = self.encode(images, hidden)
        for block in self.decoder:
            x = block(x, context)
        values: Tensor = self.predict(self.decoder_norm(x))[:, 1:]
        return values

    def loss(self, images: Tensor, hidden: Tensor, normalise: bool = False) -> Tensor:
        """Return the mean squared error over the values of the hidden patches.

        With ``normalise`` the target of each patch is scaled to mean 0 and variance 1.

        Raises:
            UsageError: no patch is hidden, so the mean is undefined.
        """
        if not bool(hidden.any()):
            raise UsageError("a masked autoencoder learns from hidden patches, but no patch is hidden")
        target = self.targets(images)
        if normalise:
            variance = target.var(dim=-1, keepdim=True)
            target = (target - target.mean(dim=-1, keepdim=True)) / (variance + 1e-6).sqrt()
        error = ((self(images, hidden) - target) ** 2).mean(dim=-1)
        mean: Tensor = error[hidden].mean()
        return mean


def random_patch_mask(ids: Tensor, patches: int, ratio: float, *, seed: int, step: int = 0) -> Tensor:
    """Choose the patches to hide: bool (len(ids), patches), True for all but ``int(patches (1 - ratio))`` per image.

    The choice depends on the seed, the sample id and the step, not on the batch.

    Raises:
        UsageError: the ratio is not between 0 and 1, or hides no patch.
    """
    shown = int(patches * (1 - ratio)) if 0 < ratio < 1 else patches
    if shown == patches:
        raise UsageError(
            f"a mask ratio of {ratio} hides none of {patches} patches; give a larger ratio between 0 and 1"
        )
    order = rng.uniform(ids, (patches,), seed=seed, label="mae-mask", step=step).argsort(dim=1, stable=True)
    ranks = order.argsort(dim=1)
    return ranks >= shown


def build_autoencoder(
    size: str,
    shape: ImageShape,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    seed: int,
    variant: Variant = CRATE_MAE,
) -> MaskedAutoencoder:
    """Build an untrained autoencoder whose decoder has as many layers as its encoder.

    Arguments are those of ``build``; ``shape.classes`` is ignored.

    Raises:
        UnknownNameError: the variant has no such size, or the registry has no such mechanism.
        UsageError: an argument does not fit, or the variant has no patch embedding with a class token.
    """
    encoder = build(variant, size, shape, mean=mean, std=std, seed=seed)
    if not isinstance(encoder, ImageClassifier):
        raise UsageError("a masked autoencoder needs an image shape")
    sizes = variant.size(size)
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(rng.stream_key(seed, "decoder-init"))
        configs = [
            LayerConfig(
                layer=i,
                depth=sizes.depth,
                width=sizes.width,
                heads=sizes.heads,
                dim_head=sizes.dim_head,
                norm_eps=variant.norm_eps,
            )
            for i in range(sizes.depth)
        ]
        model = MaskedAutoencoder(encoder, [DecoderBlock(config) for config in configs], shape.patch_values)
        model.decoder.apply(xavier)
        model.predict.apply(xavier)
    return model


def copy_encoder(autoencoder: MaskedAutoencoder, classifier: ImageClassifier) -> None:
    """Copy the trained encoder, its final norm, ``mean`` and ``std`` into a classifier, whose linear head is kept.

    Raises:
        UsageError: the classifier has another variant or size.
    """
    state = {name.replace("norm.", "head.norm.", 1) if name.startswith("norm.") else name: tensor
             for name, tensor in autoencoder.state_dict().items()
             if name.partition(".")[0] in ("mean", "std", "embedding", "backbone", "norm")}  # fmt: skip
    own = {name: tensor for name, tensor in classifier.state_dict().items() if name.startswith("head.linear.")}
    try:
        classifier.load_state_dict({**state, **own})
    except RuntimeError as error:
        raise UsageError(f"the encoder does not fit this classifier: {error}") from error

"""The masked autoencoder of CRATE (Pai et al. 2024, arXiv 2404.02446, as implemented)."""

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
from robustbench_wb.models.sockets import Context, Place
from robustbench_wb.models.variant import Variant
from robustbench_wb.models.zoo.crate import CRATE_MAE


class DecoderBlock(nn.Module):
    """A layer undone: ``y = A LN(x)``, then ``x <- y - MSSA(LN(y))``. The minus is the reverse of compression."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.code_norm = nn.LayerNorm(place.width, eps=place.norm_eps)
        self.dictionary = nn.Parameter(torch.empty(place.width, place.width))
        nn.init.kaiming_uniform_(self.dictionary)
        self.norm = nn.LayerNorm(place.width, eps=place.norm_eps)
        self.attention = SubspaceAttention(place)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """(B, N, d) to (B, N, d)."""
        y = self.code_norm(x) @ self.dictionary.T
        expanded: Tensor = y - self.attention(self.norm(y), context)
        return expanded


class MaskedAutoencoder(nn.Module):
    """Images in [0, 1], some patches hidden, to the values of all patches.

    Unlike in He et al. 2022 the encoder sees every place: a hidden patch is the mask token, with its position.
    ``embedding``, ``backbone``, ``norm`` and the moments are those of a classifier (:func:`give_encoder`).
    """

    mean: Tensor
    std: Tensor

    def __init__(self, encoder: ImageClassifier, decoder: Sequence[DecoderBlock], patch_values: int) -> None:
        super().__init__()
        embedding, head = encoder.embedding, encoder.head
        if not isinstance(embedding, PatchEmbedding) or not isinstance(head, ClsHead):
            raise UsageError("a masked autoencoder needs an encoder of patches with a class token")
        width = embedding.cls.shape[-1]
        self.register_buffer("mean", encoder.mean)
        self.register_buffer("std", encoder.std)
        self.embedding, self.backbone, self.norm = embedding, encoder.backbone, head.norm
        self.mask_token = nn.Parameter(torch.empty(1, 1, width).normal_(std=0.02))
        self.decoder = nn.ModuleList(decoder)
        self.decoder_norm = nn.LayerNorm(width, eps=self.norm.eps)
        self.predict = nn.Linear(width, patch_values)

    def targets(self, images: Tensor) -> Tensor:
        """The normalised values of the patches, (B, N, patch * patch * C), the channel fastest."""
        return patchify((images - self.mean[:, None, None]) / self.std[:, None, None], self.embedding.patch)

    def encode(self, images: Tensor, hidden: Tensor | None = None) -> tuple[Tensor, Context]:
        """The normed last stream of the encoder, (B, 1 + N, d), and its context; ``hidden`` as for ``forward``."""
        patches: Tensor = self.embedding.project(self.targets(images))
        if hidden is not None:
            patches = torch.where(hidden[..., None], self.mask_token.to(patches.dtype), patches)
        stream, context = self.embedding.join(patches)
        latent: Tensor = self.norm(self.backbone(stream, context))
        return latent, context

    def forward(self, images: Tensor, hidden: Tensor | None = None) -> Tensor:
        """Images (B, C, H, W) to patch values (B, N, patch * patch * C).

        ``hidden`` is bool (B, N), True for patches that are not shown; None shows all.
        """
        x, context = self.encode(images, hidden)
        for block in self.decoder:
            x = block(x, context)
        values: Tensor = self.predict(self.decoder_norm(x))[:, 1:]
        return values

    def loss(self, images: Tensor, hidden: Tensor, normalise: bool = False) -> Tensor:
        """Mean squared error over the values of the hidden patches; each patch's target has mean 0 and variance 1
        with ``normalise``.

        Raises:
            UsageError: nothing is hidden: the mean is over nothing.
        """
        if not bool(hidden.any()):
            raise UsageError("a masked autoencoder learns from hidden patches, and none is hidden")
        target = self.targets(images)
        if normalise:
            variance = target.var(dim=-1, keepdim=True)
            target = (target - target.mean(dim=-1, keepdim=True)) / (variance + 1e-6).sqrt()
        error = ((self(images, hidden) - target) ** 2).mean(dim=-1)
        mean: Tensor = error[hidden].mean()
        return mean


def hide(ids: Tensor, patches: int, ratio: float, seed: int, step: int = 0) -> Tensor:
    """Which patches to hide, bool (len(ids), patches): all but ``int(patches (1 - ratio))`` of each image.

    Which ones depends on the seed, the sample's id and the step, not on the batch.

    Raises:
        UsageError: the ratio is not between 0 and 1, or hides nothing.
    """
    shown = int(patches * (1 - ratio)) if 0 < ratio < 1 else patches
    if shown == patches:
        raise UsageError(f"a mask ratio of {ratio} hides none of {patches} patches; it must lie between 0 and 1")
    order = rng.uniform(ids, (patches,), seed, "mae-mask", step).argsort(dim=1, stable=True)
    ranks = order.argsort(dim=1)
    return ranks >= shown


def build_autoencoder(
    size: str,
    shape: ImageShape,
    mean: Sequence[float],
    std: Sequence[float],
    seed: int,
    variant: Variant = CRATE_MAE,
) -> MaskedAutoencoder:
    """An autoencoder whose decoder is as deep as its encoder; arguments and errors as for ``build``.

    ``shape.classes`` does not count.
    """
    encoder = build(variant, size, shape, mean, std, seed)
    if not isinstance(encoder, ImageClassifier):
        raise UsageError("a masked autoencoder is for images")
    sizes = variant.size(size)
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(rng.stream_key(seed, "decoder-init"))
        places = [
            Place(i, sizes.depth, sizes.width, sizes.heads, sizes.dim_head, variant.norm_eps)
            for i in range(sizes.depth)
        ]
        model = MaskedAutoencoder(encoder, [DecoderBlock(place) for place in places], shape.patch_values)
        model.decoder.apply(xavier)
        model.predict.apply(xavier)
    return model


def give_encoder(autoencoder: MaskedAutoencoder, classifier: ImageClassifier) -> None:
    """Copy a trained encoder, its last norm and the moments into a classifier; its linear head stays as it is.

    Raises:
        UsageError: the classifier is not of that variant and size.
    """
    state = {name.replace("norm.", "head.norm.", 1) if name.startswith("norm.") else name: tensor
             for name, tensor in autoencoder.state_dict().items()
             if name.partition(".")[0] in ("mean", "std", "embedding", "backbone", "norm")}  # fmt: skip
    own = {name: tensor for name, tensor in classifier.state_dict().items() if name.startswith("head.linear.")}
    try:
        classifier.load_state_dict({**state, **own})
    except RuntimeError as error:
        raise UsageError(f"the encoder does not fit this classifier: {error}") from error

"""Checkpoints of other implementations: names there and back, parity with timm and transformers, strictness."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from robustbench_wb.errors import CheckpointError, UsageError
from robustbench_wb.models.autoencoder import build_autoencoder
from robustbench_wb.models.build import build
from robustbench_wb.models.catalogue import VARIANTS
from robustbench_wb.models.references.infer_shape import infer_shape
from robustbench_wb.models.references.load import find_family, load_reference, to_reference
from robustbench_wb.models.shape import ImageShape, Shape, TextShape
from robustbench_wb.models.variant import Size
from tests.known import parts
from tests.models.foreign_models import bert_model, timm_model

IMAGE = ImageShape(channels=3, height=8, width=8, classes=5, patch=4)
TEXT = TextShape(vocabulary=13, length=7, classes=3)
CAUSAL = TextShape(vocabulary=13, length=7, classes=13, causal=True)
KINDS: list[tuple[str, Shape]] = [
    ("crate", IMAGE),
    ("crate", CAUSAL),
    ("crate-alpha", IMAGE),
    ("crate-mae", IMAGE),
    ("crate-bert", TEXT),
    ("vit", IMAGE),
    ("bert", TEXT),
]
each_kind = pytest.mark.parametrize(("variant", "shape"), KINDS, ids=lambda value: str(getattr(value, "causal", value)))


def make(variant: str, shape: Shape, seed: int = 0, **size: int) -> nn.Module:
    recipe = VARIANTS.get(variant)
    recipe = recipe.model_copy(update={"sizes": {"toy": Size(**{"width": 8, "depth": 2, "heads": 2, **size})}})
    moments = [0.5] * (3 if isinstance(shape, ImageShape) else 0)
    return build(recipe, "toy", shape, mean=moments, std=moments, seed=seed).double()


def inputs(shape: Shape) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    if isinstance(shape, ImageShape):
        return torch.rand(2, 3, shape.height, shape.width, dtype=torch.float64, generator=generator)
    return torch.randint(1, shape.vocabulary, (2, shape.length), generator=generator)


@torch.no_grad()
@each_kind
def test_names_go_there_and_back(variant: str, shape: Shape) -> None:
    model, other = make(variant, shape), make(variant, shape, seed=1)
    theirs = to_reference(model, variant)
    x = inputs(shape)
    assert not torch.equal(model(x), other(x))
    prefixed = {f"module.{name}": tensor for name, tensor in theirs.items()}
    for state in (theirs, prefixed, {"state_dict": prefixed, "epoch": 3}, {"model": theirs, "args": None}):
        other = make(variant, shape, seed=1)
        loaded = load_reference(other, variant, state)
        assert torch.equal(model(x), other(x))
        assert (loaded.unused, loaded.fresh) == ((), ())
        assert infer_shape(find_family(variant, state), state) == shape


@each_kind
def test_every_wrong_checkpoint_names_the_weight(variant: str, shape: Shape) -> None:
    model = make(variant, shape)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    theirs = {name: tensor + 1 for name, tensor in to_reference(model, variant).items()}

    def refused(state: dict[str, Any], words: str) -> None:
        with pytest.raises(CheckpointError) as caught:
            load_reference(model, variant, state)
        assert words in str(caught.value)

    for name, tensor in theirs.items():
        refused({other: value for other, value in theirs.items() if other != name}, name)
        refused({**theirs, name: torch.cat([tensor, tensor], dim=-1)}, name)
        refused({**theirs, name: "x"}, f"{name} in the reference checkpoint is a str")
        refused({**theirs, name: tensor.long()}, f"{name} in the reference checkpoint is a torch.int64")
    refused({**theirs, "surplus.weight": torch.zeros(1)}, "has unknown surplus.weight")
    first = next(iter(theirs))
    refused({**theirs, f"module.{first}": theirs[first]}, f"{first} twice")
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


@each_kind
def test_another_depth_names_a_layer(variant: str, shape: Shape) -> None:
    deeper = to_reference(make(variant, shape, depth=3), variant)
    with pytest.raises(CheckpointError, match=r"has unknown .*\.2\.") as caught:
        load_reference(make(variant, shape), variant, deeper)
    assert "\n" not in str(caught.value)
    with pytest.raises(CheckpointError, match=r"lacks .*\.2\."):
        load_reference(make(variant, shape, depth=3), variant, to_reference(make(variant, shape), variant))


def test_a_kernel_of_a_linear_map_is_not_a_convolution() -> None:
    model = make("vit", IMAGE)
    theirs = to_reference(model, "vit")
    assert theirs["patch_embed.proj.weight"].shape == (8, 3, 4, 4)
    with pytest.raises(CheckpointError, match=r"patch_embed.proj.weight .* expected 4 axes"):
        load_reference(model, "vit", {**theirs, "patch_embed.proj.weight": torch.zeros(8, 48)})


def test_autoencoder_names_go_there_and_back() -> None:
    variant = VARIANTS.get("crate-mae").model_copy(update={"sizes": {"toy": Size(width=8, depth=2, heads=2)}})
    one, other = (
        build_autoencoder("toy", IMAGE, mean=[0.5] * 3, std=[0.5] * 3, seed=seed, variant=variant) for seed in (0, 1)
    )
    theirs = to_reference(one, "crate-mae")
    assert len(theirs) == 4 + 2 * 8 + 2 * 8 + 6 + 1
    load_reference(other, "crate-mae", theirs)
    images = torch.rand(2, 3, 8, 8)
    assert torch.equal(one(images), other(images))
    classifier = make("crate-mae", IMAGE).float()
    head = parts(classifier).head.linear.weight.clone()
    loaded = load_reference(classifier, "crate-mae", theirs)
    assert loaded.fresh == ("head.linear.bias", "head.linear.weight")
    assert {"mask_token", "decoder_norm.weight", "decoder_blocks.1.layers.0.0.fn.weight"} <= set(loaded.unused)
    latent, _ = one.encode(images)
    want = parts(classifier).head.linear(latent[:, 0])
    assert torch.equal(parts(classifier).head.linear.weight, head)
    assert torch.allclose(classifier(images), want, rtol=0, atol=1e-6)
    with pytest.raises(UsageError, match="give the number of classes"):
        infer_shape(find_family("crate-mae", theirs), theirs)
    assert infer_shape(find_family("crate-mae", theirs), theirs, classes=5) == IMAGE


def test_a_second_copy_of_the_words_must_be_one() -> None:
    model = make("crate", CAUSAL)
    theirs = to_reference(model, "crate")
    more = {**theirs, "lm_head.weight": theirs["transformer.wte.weight"], "transformer.h.1.attn.bias": torch.ones(1)}
    assert load_reference(model, "crate", more).unused == ("lm_head.weight", "transformer.h.1.attn.bias")
    with pytest.raises(CheckpointError, match="lm_head"):
        load_reference(model, "crate", {**more, "lm_head.weight": torch.zeros(13, 8)})
    with pytest.raises(CheckpointError, match="lm_head"):
        load_reference(model, "crate", {**more, "lm_head.weight": "x"})


def test_what_has_no_reference() -> None:
    with pytest.raises(CheckpointError, match=r"variant 'boosting'; known: crate, crate-alpha"):
        find_family("boosting", {})
    with pytest.raises(CheckpointError, match="no text reference checkpoints are known for variant 'crate'"):
        load_reference(make("crate", TEXT), "crate", {})
    with pytest.raises(CheckpointError, match="no counterpart"):
        to_reference(make("crate-alpha", IMAGE), "crate")


def test_shapes_that_do_not_fit() -> None:
    theirs = to_reference(make("crate", ImageShape(channels=3, height=4, width=12, classes=5, patch=4)), "crate")
    family = find_family("crate", theirs)
    with pytest.raises(CheckpointError, match="3 patches do not form a square image"):
        infer_shape(family, theirs)
    assert infer_shape(family, theirs, image=(4, 12)) == ImageShape(channels=3, height=4, width=12, classes=5, patch=4)
    odd = {**theirs, "to_patch_embedding.2.weight": torch.zeros(8, 50)}
    with pytest.raises(CheckpointError, match="is not square, neither with 3 channels"):
        infer_shape(family, odd)
    with pytest.raises(CheckpointError, match="lacks pos_embedding"):
        infer_shape(family, {name: tensor for name, tensor in theirs.items() if name != "pos_embedding"})


def randomised(model: nn.Module, scale: float, seed: int = 0) -> nn.Module:
    """Weights large enough that every one of them matters."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator))
    return model


@pytest.mark.slow(5)
@torch.no_grad()
def test_vit_is_timm_s() -> None:
    theirs = randomised(timm_model("deit_tiny_patch16_224"), 0.05)
    shape = ImageShape(channels=3, height=224, width=224, classes=1000, patch=16)
    state = theirs.state_dict()
    assert infer_shape(find_family("vit", state), state) == shape
    ours = build(VARIANTS.get("vit"), "tiny", shape, mean=[0.0] * 3, std=[1.0] * 3, seed=0)
    assert load_reference(ours, "vit", state).unused == ()
    x = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    assert theirs(x).std() > 0.1
    assert (ours(x) - theirs(x)).abs().max() < 1e-5
    assert (ours.double()(x.double()) - theirs.double()(x.double())).abs().max() < 1e-10


BERT = {"vocab_size": 30, "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 4,
        "intermediate_size": 64, "max_position_embeddings": 12, "num_labels": 3}  # fmt: skip


@pytest.fixture
def ours() -> nn.Module:
    recipe = VARIANTS.get("bert").model_copy(update={"sizes": {"toy": Size(width=16, depth=3, heads=4)}})
    return build(recipe, "toy", TextShape(vocabulary=30, length=12, classes=3), seed=0)


@torch.no_grad()
@pytest.mark.parametrize("old_names", [False, True])
def test_bert_is_that_of_transformers(ours: nn.Module, old_names: bool) -> None:
    theirs = randomised(bert_model("BertForSequenceClassification", **BERT), 0.3)
    state = dict(theirs.state_dict())
    if old_names:
        state = {
            name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor
            for name, tensor in state.items()
        } | {"bert.embeddings.position_ids": torch.arange(12), "cls.predictions.bias": torch.zeros(30)}
    loaded = load_reference(ours, "bert", state)
    assert loaded.unused == (("cls.predictions.bias", "embeddings.position_ids") if old_names else ())
    ids = torch.tensor([[2, 7, 9, 4, 28, 3, 0, 0, 0], [2, 11, 29, 8, 5, 17, 23, 1, 3]])
    mask = (ids != 0).long()
    want = theirs(ids, attention_mask=mask).logits
    assert (want[0] - want[1]).abs().max() > 0.03
    assert (ours(ids) - want).abs().max() < 1e-5
    theirs.double()
    # Loaded again: positions and segments add up to something that single precision cannot hold.
    load_reference(ours.double(), "bert", theirs.state_dict())
    assert (ours(ids) - theirs(ids, attention_mask=mask).logits).abs().max() < 1e-10


@torch.no_grad()
def test_a_bert_without_classifier_keeps_ours(ours: nn.Module) -> None:
    theirs = randomised(bert_model("BertModel", **BERT), 0.3).double()
    ours.double()
    loaded = load_reference(ours, "bert", theirs.state_dict())
    assert loaded.fresh == ("head.linear.bias", "head.linear.weight")
    ids = torch.tensor([[2, 7, 9, 4, 3, 0]])
    pooled = theirs(ids, attention_mask=(ids != 0).long()).pooler_output
    assert (ours(ids) - parts(ours).head.linear(pooled)).abs().max() < 1e-10

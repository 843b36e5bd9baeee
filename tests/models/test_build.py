"""Building: sizes, counts, determinism, gradients, errors, identity, and how a mechanism is added."""

import ast
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest
import torch
from torch.autograd.gradcheck import GradcheckError

from robustbench_wb import source, syntax
from robustbench_wb.errors import RegistryError, UnknownNameError, UsageError
from robustbench_wb.models.backbone import ImageClassifier
from robustbench_wb.models.build import build, skeleton, variant_code_digest
from robustbench_wb.models.catalogue import ATTENTIONS, EMBEDDINGS, FEEDFORWARDS, HEADS, RESIDUALS, VARIANTS
from robustbench_wb.models.shape import ImageShape, Shape, TextShape
from robustbench_wb.models.sockets import Attention
from robustbench_wb.models.variant import Size, Variant
from robustbench_wb.models.weights import weights_digest
from robustbench_wb.models.zoo.baselines import VIT
from robustbench_wb.models.zoo.crate import CRATE
from robustbench_wb.models.zoo.image_processing import BILATERAL
from robustbench_wb.registry import Registry
from tests.known import parts

IMAGENET = ImageShape(channels=3, height=224, width=224, classes=1000, patch=16)
NAMES = VARIANTS.names()
# Finite differences see every path; these hold a part of their computation constant for the gradient, as published.
STOPPED = {"elliptical": "the metric m; test_robust_siblings.py compares with a written-out model that detaches it"}
Make = Callable[..., ImageClassifier]


@pytest.mark.parametrize(
    ("variant", "size", "published"),
    [
        ("crate", "tiny", 6_090_856),
        ("crate", "small", 13_116_328),
        ("crate", "base", 22_796_008),
        ("crate", "large", 77_641_192),
        ("vit", "tiny", 5_717_416),
        ("vit", "base", 86_567_656),
        ("boosting", "tiny", 5_717_416),
        ("bilateral", "tiny", 5_717_416 - 192),  # no row for CLS in the table
        ("bilateral-untied", "tiny", 5_717_416 - 192 + 12 * 2 * 192**2),
        ("bilateral-gaussian", "tiny", 5_717_416 - 197 * 192 + 12 * 3),  # no table, a bandwidth per head
        ("tupe", "tiny", 5_717_416 - 192 + 2 * 192**2 + 2 * 3),  # projections and reset once for all layers
        ("relative-bias", "tiny", 5_717_416 - 197 * 192 + 12 * 47**2 * 3),
        ("rope", "tiny", 5_717_416 - 197 * 192),
        ("alibi", "tiny", 5_717_416 - 197 * 192),
        ("boosting-learned", "tiny", 5_717_416 + 12 * 4),
        ("boosting-carried", "tiny", 5_717_416),
        ("differential", "tiny", 5_717_416 + 12 * (4 * 32 + 64)),  # four vectors and the gain of a norm
        ("doubly-stochastic", "tiny", 5_717_416),
        ("sigmoid", "tiny", 5_717_416),
        ("linear", "tiny", 5_717_416),
        ("cosine", "tiny", 5_717_416 + 12 * 3),
        ("attention-only", "tiny", 5_717_416 - 12 * (2 * 192**2 + 3 * 192) - 12 * (8 * 192**2 + 7 * 192)),
        ("tost", "tiny", 5_717_416 - 12 * (2 * 192**2 + 3 * 192) + 12 * 3),  # a temperature per head
        ("redunet", "nano", 6 * 1001 * 196 * 24**2 + 1000 * 10 * 196 * 24 + 1),  # filters; directions and their scale
        ("vit-modern", "tiny", 5_717_416 + 4 * 192 - 25 * 192 + 12 * 256),  # no biases of norms; 2 x 512 hidden units
    ],
)
def test_parameter_counts_are_the_published_ones(variant: str, size: str, published: int) -> None:
    model = skeleton(VARIANTS.get(variant), size, IMAGENET)
    assert sum(p.numel() for p in model.parameters()) == published


def test_untied_positions_cost_two_squares_a_layer() -> None:
    untied = BILATERAL.model_copy(update={"attention_options": {"kernel": "untied"}})
    tied, more = (sum(p.numel() for p in skeleton(v, "tiny", IMAGENET).parameters()) for v in (BILATERAL, untied))
    assert more - tied == 884_736


@pytest.mark.parametrize("name", NAMES)
def test_every_variant_builds_at_every_size(name: str) -> None:
    variant = VARIANTS.get(name)
    assert variant.name == name
    for size in variant.sizes:
        assert all(p.is_meta for p in skeleton(variant, size, IMAGENET).parameters())


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_same_weights_and_the_global_generator_stays(name: str, toy_shape: ImageShape) -> None:
    def digest(seed: int) -> str:
        return weights_digest(
            build(VARIANTS.get(name), "nano", toy_shape, mean=[0.5], std=[0.5], seed=seed).state_dict()
        )

    torch.manual_seed(11)
    before = torch.get_rng_state()
    first = digest(0)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    assert digest(0) == first
    assert digest(1) != first


def test_init_is_the_papers() -> None:
    shape = ImageShape(channels=3, height=32, width=32, classes=10, patch=4)
    vit = build(VIT, "nano", shape, mean=[0.5] * 3, std=[0.5] * 3, seed=0)
    linear = [m for m in vit.modules() if isinstance(m, torch.nn.Linear)]
    for m in linear:
        assert 0.98 < m.weight.abs().max() / (6 / (m.in_features + m.out_features)) ** 0.5 <= 1.0
        assert (m.bias == 0).all()
    assert parts(vit).embedding.positions.table.std().item() == pytest.approx(0.02, rel=0.1)
    crate = build(CRATE, "nano", shape, mean=[0.5] * 3, std=[0.5] * 3, seed=0)
    assert parts(crate).embedding.positions.table.std().item() == pytest.approx(1.0, rel=0.1)
    block = crate.backbone.blocks[0]
    assert 0.95 < parts(block).feedforward.dictionary.abs().max() / (6 / 64) ** 0.5 <= 1.0
    assert 0.95 < parts(block).attention.subspaces.weight.abs().max() * 8 <= 1.0
    assert parts(block).attention.out.bias.abs().max() > 0


@pytest.mark.no_cover
@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_those_of_finite_differences(name: str, toy: Make) -> None:
    def raises() -> AbstractContextManager[object]:
        return pytest.raises(GradcheckError) if name in STOPPED else nullcontext()

    model = toy(name)
    images = torch.rand((2, 1, 4, 6), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with raises():
        assert torch.autograd.gradcheck(model, (images.requires_grad_(),), fast_mode=False)
    names, values = zip(*model.named_parameters(), strict=True)
    frozen = images.detach()

    def of_weights(*weights: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(model, dict(zip(names, weights, strict=True)), (frozen,))

    with raises():
        assert torch.autograd.gradcheck(of_weights, values, fast_mode=True)
    model(frozen).sum().backward()
    idle = [n for n, p in model.named_parameters() if p.grad is None]
    assert not idle


@torch.no_grad()
@pytest.mark.parametrize("name", NAMES)
def test_how_a_batch_is_split_changes_nothing(name: str) -> None:
    shape = ImageShape(channels=3, height=16, width=16, classes=10, patch=4)
    model = build(VARIANTS.get(name), "nano", shape, mean=[0.5] * 3, std=[0.5] * 3, seed=0).eval()
    images = torch.rand(5, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    whole = model(images)
    assert whole.shape == (5, 10)
    for pieces in (images.split(1), images.split(2), images.split([4, 1])):
        assert (torch.cat([model(piece) for piece in pieces]) - whole).abs().max() < 1e-6


@torch.no_grad()
def test_normalisation_is_inside(toy_shape: ImageShape) -> None:
    plain = build(VIT, "nano", toy_shape, mean=[0.0], std=[1.0], seed=0)
    inside = build(VIT, "nano", toy_shape, mean=[0.4], std=[0.3], seed=0)
    images = torch.rand(2, 1, 4, 6)
    assert torch.equal(inside(images), plain((images - torch.tensor(0.4)) / torch.tensor(0.3)))
    assert inside.mean.shape == (1,)
    assert "mean" in inside.state_dict()


def test_what_does_not_fit_is_said(toy_shape: ImageShape) -> None:
    def attempt(variant: Variant = VIT, size: str = "nano", patch: int = 2, std: float = 0.5) -> None:
        build(variant, size, toy_shape.model_copy(update={"patch": patch}), mean=[0.5], std=[std], seed=0)

    with pytest.raises(UnknownNameError, match="did you mean small"):
        attempt(size="smal")
    with pytest.raises(UsageError, match="patch 5 does not divide"):
        attempt(patch=5)
    with pytest.raises(UsageError, match="1 numbers each, std above zero"):
        attempt(std=0.0)
    with pytest.raises(UsageError, match="no option 'kernal'; did you mean kernel"):
        attempt(BILATERAL.model_copy(update={"attention_options": {"kernal": "tied"}}))
    with pytest.raises(UsageError, match="no option 'config'; it has no options"):
        attempt(VIT.model_copy(update={"attention_options": {"config": 1}}))
    with pytest.raises(UnknownNameError, match="did you mean softmax"):
        attempt(VIT.model_copy(update={"attention": "softmaxx"}))
    with pytest.raises(ValueError, match="not a multiple"):
        Size(width=10, depth=1, heads=3)
    assert Size(width=10, depth=1, heads=3, dim_head=4).dim_head == 4
    assert Size(width=12, depth=1, heads=3) == Size(width=12, depth=1, heads=3, dim_head=4)


def code_of(variant: Variant, size: str = "nano", shape: Shape = IMAGENET) -> str:
    return variant_code_digest(variant, size, shape)


@pytest.mark.slow(3)
@pytest.mark.no_cover
def test_code_digest_sees_what_the_variant_uses_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {name: code_of(VARIANTS.get(name)) for name in NAMES}
    assert len(set(before.values())) == len(NAMES)

    def edited(part: str) -> set[str]:
        """The variants whose digest changes when ``part``'s code does."""
        original = syntax.canonical_ast

        def altered(node: object) -> str:
            text = original(node)
            return text + "edited" if part in text else text

        with monkeypatch.context() as patch:
            patch.setattr(source, "canonical_ast", altered)
            source.forget()
            changed = {
                name for name in NAMES if variant_code_digest(VARIANTS.get(name), "nano", IMAGENET) != before[name]
            }
        source.forget()
        return changed

    # A class definition's name appears as a bare field of its node, so each string picks out one file.
    gaussian = "bilateral-gaussian"
    assert edited("name='BilateralAttention'") == {n for n in NAMES if n.startswith("bilateral")} - {gaussian}
    assert edited("name='GaussianBilateralAttention'") == {gaussian}
    assert edited("name='LearnedBoostingResidual'") == {"boosting-learned"}
    assert edited("name='SubspaceAttention'") == {"crate", "crate-alpha", "crate-mae", "crate-bert", "attention-only"}
    assert edited("name='use_rms_norms'") == {"vit-modern"}
    assert edited("name='use_sphere_norms'") == edited("name='build_from_data'") == {"redunet"}
    assert edited("name='OvercompleteDictionary'") == {"crate-alpha"}
    assert edited("name='Backbone'") == set(NAMES)
    catalogue = ast.parse((source.PACKAGE_ROOT / "models" / "catalogue.py").read_bytes())
    assert "id='VARIANTS'" in syntax.canonical_ast(catalogue)
    assert edited("id='VARIANTS'") == set()


def test_code_digest_sees_the_recipe_but_not_its_prose() -> None:
    of = code_of
    assert of(VIT) == of(VIT.model_copy(update={"notes": "x", "summary": "y"}))
    assert of(CRATE) != of(CRATE.model_copy(update={"feedforward_options": {"eta": 0.1, "lam": 0.5}}))
    grown = VIT.model_copy(update={"sizes": {**VIT.sizes, "huge": Size(width=1280, depth=32, heads=16)}})
    assert of(VIT) == of(grown)
    assert of(VIT) != of(VIT, "small")
    text = TextShape(vocabulary=50, length=8, classes=2)
    assert of(VIT) == of(VIT.model_copy(update={"text_embedding_options": {"norm": True}}))  # images do not use it
    assert of(VIT, shape=text) != of(VIT.model_copy(update={"text_embedding_options": {"norm": True}}), shape=text)


NEUTRENO = """
import torch
from robustbench_wb.models.attention.base import attend, merge_heads, split_heads
from robustbench_wb.models.sockets import Attention, Context, LayerConfig

class FirstValues(Attention):
    '''Adds strength (V_0 - V_l) to the output.'''

    def __init__(self, config: LayerConfig, strength: float = 0.6) -> None:
        super().__init__()
        self.config, self.strength = config, strength
        self.qkv = torch.nn.Linear(config.width, 3 * config.heads * config.dim_head)
        self.out = torch.nn.Linear(config.heads * config.dim_head, config.width)

    def forward(self, x, context: Context):
        q, k, v = (split_heads(part, self.config.heads) for part in self.qkv(x).chunk(3, dim=-1))
        first = context.carry.setdefault("first values", v)
        return self.out(merge_heads(attend(q, k, v, context=context) + self.strength * (first - v)))
"""


def test_a_mechanism_is_one_file_and_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, toy: Make, attentions: Registry[type[Attention]]
) -> None:
    (tmp_path / "plugged_first_values.py").write_text(NEUTRENO)
    monkeypatch.syspath_prepend(str(tmp_path))
    attentions.add("first-values", "plugged_first_values:FirstValues", "a test's")
    variant = Variant(
        name="first-values",
        summary="",
        attention="first-values",
        attention_options={"strength": 0.5},
        sizes=VIT.sizes,
        status="confirmed",
        source="",
    )
    images = torch.rand(2, 1, 4, 6, dtype=torch.float64)
    model = toy(variant)
    vit, none = toy("vit"), toy(variant, attention_options={"strength": 0.0})
    assert torch.allclose(none(images), vit(images), atol=1e-12)
    assert (model(images) - vit(images)).abs().max() > 1e-4
    torch.testing.assert_close(torch.cat([model(i[None]) for i in images]), model(images))
    first = code_of(variant)
    (tmp_path / "plugged_first_values.py").write_text(NEUTRENO.replace("(first - v)", "(v - first)"))
    source.forget()
    assert code_of(variant) != first
    attentions.add("compiled", "math:sqrt", "has no source")
    if not str(getattr(sys.modules["math"], "__file__", "")).endswith(".py"):
        with pytest.raises(RegistryError, match="source file of plug-in math"):
            attentions.source("compiled")
    sys.modules.pop("plugged_first_values")


def test_a_module_elsewhere_that_a_plug_in_imports_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, attentions: Registry[type[Attention]]
) -> None:
    for folder, name in (("one", "plugged_far"), ("other", "plugged_near")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "__init__.py").touch()
        text = (
            "from other import plugged_near\nfrom robustbench_wb.models.attention.bilateral import BilateralAttention\n"
        )
        (tmp_path / folder / f"{name}.py").write_text(text if folder == "one" else "NUMBER = 1")
    monkeypatch.syspath_prepend(tmp_path)
    attentions.add("far", "one.plugged_far:BilateralAttention", "a test's")
    far = VIT.model_copy(update={"attention": "far"})
    before = code_of(far)
    (tmp_path / "other" / "plugged_near.py").write_text("NUMBER = 2")
    assert code_of(far) != before
    for name in ("one", "one.plugged_far", "other", "other.plugged_near"):
        sys.modules.pop(name)


def test_every_registered_mechanism_loads_and_none_is_unused() -> None:
    used = {v: VARIANTS.get(v) for v in NAMES}.values()
    for registry, fields in (
        (ATTENTIONS, ("attention",)),
        (RESIDUALS, ("residual",)),
        (FEEDFORWARDS, ("feedforward",)),
        (EMBEDDINGS, ("embedding", "text_embedding")),
        (HEADS, ("head", "language_head")),
    ):
        of_tasks = (
            {"mean", "pair", "patch-decoder"} if registry is HEADS else set()
        )  # asked for by a task, whatever the variant
        assert set(registry.names()) == {getattr(variant, field) for variant in used for field in fields} | of_tasks
        assert all(registry.get(name) for name in registry.names())


def test_names_and_recipes_need_no_torch() -> None:
    code = (
        "import sys; from robustbench_wb.models import catalogue, external, shape, variant, zoo; "
        "names = [catalogue.VARIANTS.get(n).digest() for n in catalogue.VARIANTS.names()]; "
        "print('torch' in sys.modules, len(set(names)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", str(len(NAMES))]

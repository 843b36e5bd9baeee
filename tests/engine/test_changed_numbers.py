"""Variants and recipes with changed numbers: their names, what is built and trained, and what is refused."""

from fractions import Fraction

import pytest

from robustbench_wb.engine.changed_numbers import find_changed_recipe, find_variant
from robustbench_wb.engine.plan import make_plan
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.errors import UsageError
from robustbench_wb.models.build import variant_code_digest
from robustbench_wb.models.catalogue import VARIANTS
from robustbench_wb.models.shape import ImageShape
from robustbench_wb.records.names import variant_name
from robustbench_wb.training.recipe import find_recipe
from tests.known import known
from tests.store.make import cell

SHAPE = ImageShape(channels=1, height=8, width=8, classes=10, patch=2)


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("crate;lambda=.050", "crate;lam=0.05"),
        ("crate; lam = 5e-2 ;eta=0.2", "crate;eta=0.2;lam=0.05"),
        ("crate;feedforward.lam=1", "crate;feedforward.lam=1.0"),
        ("bert;depth=1;heads=4", "bert;depth=1;heads=4"),
        ("vit;ratio=2", "vit;ratio=2"),
        ("crate", "crate"),
    ],
)
def test_numbers_have_one_spelling(reference: str, name: str) -> None:
    assert find_variant(reference, "nano")[0] == name


def test_a_number_changes_the_model_and_its_default_does_not() -> None:
    def code(reference: str) -> str:
        return variant_code_digest(find_variant(reference, "nano")[1], "nano", SHAPE)

    assert code("crate;lam=0.1") == variant_code_digest(VARIANTS.get("crate"), "nano", SHAPE)
    assert len({code("crate;lam=0.05"), code("crate;lam=0.1"), code("crate;eta=0.2"), code("crate;width=32")}) == 4
    size = find_variant("crate;width=32", "nano")[1].size("nano")
    assert (size.width, size.dim_head) == (32, 8)


def test_recipes_take_numbers_of_their_adversary() -> None:
    name, recipe = find_changed_recipe("trades;adversary.warmup=0.2;warmup=.3;eps=0.1;lr=1e-3", "digits", "smoke")
    assert name == "trades;adversary.warmup=0.2;eps=1/10;learning_rate=0.001;warmup=0.3"
    assert (recipe.warmup, recipe.learning_rate) == (0.3, 0.001)
    assert (known(recipe.adversary).warmup, known(recipe.adversary).eps) == (0.2, Fraction(1, 10))
    changed = find_changed_recipe("standard;epochs=2;flip=true", "digits", "smoke")[1]
    assert changed == find_recipe("standard", "digits", "smoke").model_copy(update={"epochs": 2, "flip": True})


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("crate;lamda=1", "has no number 'lamda'; did you mean lam?"),
        ("crate;lam=x", "lam must be a number, not 'x'"),
        ("crate;lam=nan", "lam must be finite"),
        ("crate;lam", "not of the form name=value"),
        ("crate;lam=1;lambda=2", "gives 'lam' twice"),
        ("vit;width=30", "30 is not a multiple of 4 heads"),
        ("vit;depth=0", "depth must be greater than 0, not 0"),
        ("vit;ratio=-1", "negative dimension"),
        ("vit;depth=1.5", "depth must be a whole number"),
        ("rpc;iterations=0", "needs iterations >= 1"),
        ("bert;post=maybe", "post must be true or false"),
        ("crate;norm=true", "write text_embedding.norm or language_head.norm"),
        ("crat;lam=1", "did you mean crate"),
    ],
)
def test_wrong_numbers_of_variants_are_refused(reference: str, reason: str) -> None:
    with pytest.raises(UsageError, match=r"variant|rpc") as refused:
        find_variant(reference, "nano")
    assert reason in str(refused.value)


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("standard;epoch=3", "did you mean epochs?"),
        ("standard;eps=8/255", "has no number 'eps'"),
        ("standard;epochs=0.5", "epochs must be a whole number, not '0.5'"),
        ("standard;lr=inf", "must be finite"),
        ("none;epochs=1", "trains nothing"),
        ("pgd-at;beta=2", "method pgd takes none"),
    ],
)
def test_wrong_numbers_of_recipes_are_refused(reference: str, reason: str) -> None:
    with pytest.raises(UsageError) as refused:
        find_changed_recipe(reference, "digits", "smoke")
    assert reason in str(refused.value)


def test_a_plan_has_a_model_for_each_number_once() -> None:
    variants = ("crate;lam=0.05", "crate;lambda=.05", "crate", "crate;lam=0.1")
    (task,) = make_plan(RunRequest(suite="clean", variants=variants, recipe="standard;epochs=1")).tasks
    assert [subject.name for subject in task.subjects] == ["crate;lam=0.05", "crate", "crate;lam=0.1"]
    assert {(subject.recipe_name, subject.recipe.epochs) for subject in task.subjects} == {("standard;epochs=1", 1)}
    assert variant_name(cell(variant="crate;lam=0.05", size="nano")) == "crate-nano;lam=0.05"

"""Numbers of stressors as people write them: spellings are read, and what cannot be meant is refused beforehand."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from robustbench_wb import PgdLinf, evaluate, run
from robustbench_wb.errors import UsageError
from robustbench_wb.stressors.given_signature import read_signature

Typed = Callable[..., tuple[str, str]]
HUGE = "9" * 400


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("fgsm-linf;eps=8./255", "fgsm-linf;eps=8/255"),
        ("fgsm-linf;eps=8 / 255", "fgsm-linf;eps=8/255"),
        ("fgsm-linf; eps = 8.0/255.", "fgsm-linf;eps=8/255"),
        ("fgsm-linf;eps=.03", "fgsm-linf;eps=3/100"),
        ("fgsm-linf;eps=3e-2", "fgsm-linf;eps=3/100"),
        ("fgsm-linf;eps=1", "fgsm-linf;eps=1"),
        ("torchattacks:FGSM;eps=8 / 255", "torchattacks:FGSM;eps=8/255;batch=128"),
        ("torchattacks:PGDL2;eps=8", "torchattacks:PGDL2;eps=8;batch=128"),
        ("embedding-fgsm-linf;eps=8", "embedding-fgsm-linf;eps=8"),
    ],
)
def test_a_spelling_is_read(written: str, meant: str) -> None:
    assert read_signature(written).signature == meant


@pytest.mark.parametrize(
    ("stressor", "words"),
    [
        ("pgd-linf;eps=8", "eps=8 is above 1, but pixels are in [0, 1]; for 8 of 255 grey levels, write 8/255"),
        ("quick-linf;eps=8.0", "write 8/255"),
        ("noise-linf;eps=256/255", "above 1"),
        ("torchattacks:PGD;eps=8", "write 8/255"),
        ("torchattacks:APGD;norm=Linf;eps=16", "write 16/255"),
        ("pgd-l2;eps=9", "larger than 8, the distance between a black and a white image of 1x8x8"),
        ("pgd-l1;eps=65", "larger than 64"),
        ("pgd-linf;eps=1e-400", "more than 18 digits"),
        ("pgd-linf;eps=1e999999999", "more than 18 digits"),
        (f"pgd-linf;eps={HUGE}", "more than 18 digits"),
        (f"pgd-linf;eps=8/255;steps={HUGE}", "steps="),
        (f"noise-linf;eps=8/255;draws=1{'0' * 20}", "draws="),
        ("pgd-linf;epsilon=8/255", "the parameter is called eps"),
        ("pgd-linf;eps=8/255;alpha=1/8", "the parameter is called step"),
        ("pgd-linf;eps=8/255;iterations=4", "the parameter is called steps"),
        ("pgd-linf;eps=2,5", "'2,5' is not a number"),
        ("pgd-linf;eps=8 / 0", "is not a number"),
    ],
)
def test_a_number_that_cannot_be_meant_is_refused_everywhere(
    stressor: str, words: str, typed: Typed, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    _, told = typed("run", "--variant", "vit", "--stressor", stressor, "--results", str(results), code=2)
    assert words in told
    assert told.count("\n") == 1
    assert len(told) < 300
    assert not results.exists()
    with pytest.raises(UsageError) as caught:
        run(variants="vit", stressors=stressor, results=str(results))
    assert words in str(caught.value)
    model, images = nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), np.zeros((2, 1, 8, 8), np.uint8)
    with pytest.raises(UsageError) as caught:
        evaluate(model, images, [0, 1], stressors=[stressor])
    assert words in str(caught.value)


def test_a_value_and_a_suite_are_held_to_the_same_range(typed: Typed, tmp_path: Path) -> None:
    model, images = nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), np.zeros((2, 1, 8, 8), np.uint8)
    for eps, words in (("8", "write 8/255"), (HUGE, "18 digits"), ("1e-400", "18 digits")):
        with pytest.raises(UsageError, match=words):
            evaluate(model, images, [0, 1], stressors=PgdLinf.model_validate({"eps": eps}))
    suite = tmp_path / "mine.toml"
    suite.write_text(
        'name = "mine"\nversion = 1\nsummary = "two radii"\n\n[[stressors]]\nuse = "fgsm-linf"\nstrengths = "radii"\n\n'
        '[strengths.radii]\ndefault = ["8 / 255", "16"]\n\n[scales.smoke]\nsize = "nano"\n'
    )
    _, told = typed("run", "--suite", str(suite), "--variant", "vit", code=2)
    assert "write 16/255" in told
    _, told = typed("run", "--suite", "adversarial", "--epsilon", "8", "--variant", "vit", code=2)
    assert "write 8/255" in told


@pytest.mark.parametrize(
    "options",
    [
        ("run", "--samples", HUGE),
        ("run", "--batch-size", HUGE),
        ("run", "--workers", "100000"),
        ("run", "--seed", str(1 << 63)),
        ("run", "--stressor", "fgsm-linf", "--epsilon", HUGE),
        ("verify", "--rerun", HUGE),
        ("verify", "--seed", HUGE),
        ("selfcheck", "--times", HUGE),
    ],
)
def test_counts_that_no_integer_holds_are_refused(options: tuple[str, ...], typed: Typed, tmp_path: Path) -> None:
    place = () if options[0] == "selfcheck" else ("--results", str(tmp_path / "none"))
    _, told = typed(*options, *place, code=2)
    assert "Traceback" not in told

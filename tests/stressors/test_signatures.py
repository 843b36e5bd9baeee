"""Signatures: the printed form of a stressor reads back to an equal stressor."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robustbench_wb.errors import UnknownNameError, UsageError
from robustbench_wb.stressors.catalogue import STRESSORS, parse_stressor, strength_axis

STRENGTHS = {None: "", "eps": ";eps=1", "rate": ";rate=1/10", "budget": ";budget=2", "severity": ";severity=3"}
STRENGTHS["length"] = ";length=64"
FRACTIONS = st.fractions(min_value=Fraction(1, 1000), max_value=2, max_denominator=1000)


@given(eps=FRACTIONS, step=FRACTIONS, steps=st.integers(1, 500), restarts=st.integers(1, 20))
def test_printed_and_read_back_is_the_same_value(eps: Fraction, step: Fraction, steps: int, restarts: int) -> None:
    signature = f"pgd-linf;eps={eps};steps={steps};step={step};restarts={restarts};loss=margin"
    stressor = parse_stressor(signature)
    assert stressor.signature == signature
    assert parse_stressor(stressor.signature) == stressor
    assert hash(parse_stressor(stressor.signature)) == hash(stressor)


def test_every_registered_stressor_has_its_own_name_and_signature() -> None:
    for entry in STRESSORS:
        if entry.name == "stored":
            continue  # needs a folder; see tests/stressors/corruptions/test_stored.py
        kind = STRESSORS.get(entry.name)
        assert kind.name == entry.name
        numbers = STRENGTHS[strength_axis(entry.name)] + (";module=stem" if entry.name.startswith("bpda") else "")
        assert parse_stressor(entry.name + numbers).signature.startswith(entry.name)


def test_decimals_and_fractions_are_different_signatures() -> None:
    assert parse_stressor("fgsm-linf;eps=0.031").signature != parse_stressor("fgsm-linf;eps=8/255").signature
    assert parse_stressor("fgsm-linf;eps=0.031").signature == "fgsm-linf;eps=31/1000"


def test_at_changes_the_strength_alone() -> None:
    attack = parse_stressor("pgd-l2;eps=1/2;steps=7")
    assert attack.at("1/4").signature == parse_stressor("pgd-l2;eps=1/4;steps=7").signature
    assert attack.strength == "1/2"


def test_provider_signature_reads_back() -> None:
    stressor = parse_stressor("torchattacks:PGD;steps=10;eps=8/255;alpha=2/255")
    assert stressor.signature == "torchattacks:PGD;alpha=2/255;eps=8/255;steps=10;batch=128"
    assert parse_stressor(stressor.signature) == stressor
    assert stressor.at("4/255").strength == "4/255"


@pytest.mark.parametrize(
    ("signature", "error", "words"),
    [
        ("pgd-linff;eps=8/255", UnknownNameError, "did you mean pgd-linf"),
        ("pgd-linf", UsageError, "eps"),
        ("pgd-linf;eps=-8/255", UsageError, "greater than 0"),
        ("pgd-linf;eps=0", UsageError, "greater than 0"),
        ("pgd-linf;eps=lots", UsageError, "'lots' is not a number"),
        ("pgd-linf;eps=8/0", UsageError, "not a number"),
        ("pgd-linf;eps=8/255;steps=0", UsageError, "steps"),
        ("pgd-linf;eps=8/255;steps=ten", UsageError, "steps"),
        ("pgd-linf;eps=8/255;stesp=10", UsageError, "no parameter 'stesp'"),
        ("pgd-linf;eps=8/255;eps=4/255", UsageError, "twice"),
        ("pgd-linf;eps", UsageError, "name=value"),
        ("clean;eps=1", UsageError, "no parameter 'eps'"),
        ("hotflip", UsageError, "budget"),
        ("hotflip;budget=0", UsageError, "greater than or equal to 1"),
        ("hotflip;budget=1/2", UsageError, "budget"),
        ("word-substitution;rate=3/2", UsageError, "less than or equal to 1"),
        ("character-edits;rate=0", UsageError, "greater than 0"),
        ("word-substitution;rate=1;queries=2", UsageError, "queries"),
        ("random-swap;rate=1;draws=0", UsageError, "draws"),
        ("embedding-fgsm-l2;eps=-1", UsageError, "greater than 0"),
        ("torchattacks:PDG;eps=8/255", UnknownNameError, "did you mean"),
        ("torchattacks:PGD;epsilon=8/255", UsageError, "has no parameter 'epsilon'"),
        ("torchattacks:PGD;eps=-1/255", UsageError, "greater than 0"),
        ("torchattacks:PGD;eps=8/255;batch=no", UsageError, "batch"),
        ("torchattacks:PGD;eps=8/255;batch=0", UsageError, "batch"),
        ("torchattacks:Attack;eps=8/255", UnknownNameError, "no attack"),
    ],
)
def test_bad_signatures_say_what_is_wrong(signature: str, error: type[UsageError], words: str) -> None:
    with pytest.raises(error) as caught:
        parse_stressor(signature)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_stressor_without_strength_refuses_one() -> None:
    with pytest.raises(UsageError, match="no strength"):
        parse_stressor("clean").at("1/2")

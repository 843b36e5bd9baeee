"""Text corruptions: effect on any text, amount of change, and dependence on text, id and seed only."""

import hashlib
import re
import subprocess
import sys
import unicodedata
from collections import Counter
from fractions import Fraction
from itertools import pairwise
from math import ceil, floor
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robustbench_wb.api import run as harness
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.errors import UsageError
from robustbench_wb.stressors.catalogue import STRESSORS, parse_stressor
from robustbench_wb.stressors.sample_batch import SampleBatch, TextSide
from robustbench_wb.stressors.text_corruptions.homoglyphs import LOOK_ALIKES
from robustbench_wb.stressors.text_corruptions.keyboard import NEIGHBOURS
from robustbench_wb.stressors.text_corruptions.ocr import CONFUSIONS
from robustbench_wb.stressors.text_corruptions.text_corruption import TextCorruption
from robustbench_wb.tasks.sentences import SENTENCES
from tests.stressors.attacked_batch import UnusedTokenizer, make_data

NAMES = [
    "keyboard-typos", "character-swap", "character-drop", "character-insert", "ocr", "homoglyphs", "case",
    "whitespace", "punctuation", "word-drop", "word-duplicate", "word-shuffle",
]  # fmt: skip
TRICKY = [
    "", " ", "\n\t ", "a", "I", "the of and", "word", "👩‍👩‍👧 😀😀 ok", "e\u0301a\u0308 n\u0303o", "שלום עולם",
    "مرحبا بالعالم", "机器学习模型很强大", "...", "a  b\tc\nd ", "ǆ ß ŉ ﬁ İ", "x²y_z9", "very very very very",
    "\u200bzero\u00adwidth",
]  # fmt: skip
TEXTS = st.one_of(st.text(max_size=60), st.sampled_from(TRICKY), st.text("ab .,1l0Orn\n", max_size=60))
PROSE = (
    "It was the best of times, it was the worst of times; it was the age of wisdom, it was the age of foolishness. "
    "However, 1,000 modern readers call this clever marvel of balanced clauses a vivid burn on illusions!\n"
)
PAGE = (Path(__file__).resolve().parents[3] / "docs" / "corruption-text.md").read_text(encoding="utf-8")


def corruption(name: str, severity: int = 5) -> TextCorruption:
    stressor = parse_stressor(f"{name};severity={severity}")
    assert isinstance(stressor, TextCorruption)
    return stressor


def test_every_text_corruption_is_tested_here() -> None:
    kinds = {entry.name: STRESSORS.get(entry.name) for entry in STRESSORS}
    assert {name for name, kind in kinds.items() if issubclass(kind, TextCorruption)} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
@given(text=TEXTS, sample=st.integers(0, 1 << 31), seed=st.integers(0, 5))
@settings(max_examples=40, deadline=None)
def test_any_text_is_corrupted_at_the_rate(name: str, text: str, sample: int, seed: int) -> None:
    found = [corruption(name, severity).perturb(text, sample, seed) for severity in range(1, 6)]
    units = {one[2] for one in found}
    assert len(units) == 1
    for severity, (perturbed, changed, total) in enumerate(found, 1):
        exact = corruption(name, severity).rate * total
        assert changed in (floor(exact), ceil(exact))
        assert (perturbed == text) <= (changed == 0)
        assert (changed == 0) <= (perturbed == text)
        assert corruption(name, severity).perturb(text, sample, seed) == (perturbed, changed, total)
    counts = [one[1] for one in found]
    assert counts == sorted(counts)


def differing(before: str, after: str) -> list[int]:
    assert len(before) == len(after)
    return [at for at, (a, b) in enumerate(zip(before, after, strict=True)) if a != b]


@pytest.mark.parametrize("severity", [1, 3, 5])
def test_the_count_is_what_a_reader_counts(severity: int) -> None:
    text = PROSE * 20
    for sample in range(5):
        for name in ("keyboard-typos", "homoglyphs", "case"):
            after, changed, _ = corruption(name, severity).perturb(text, sample, 0)
            assert len(differing(text, after)) == changed > 0
        after, changed, _ = corruption("character-swap", severity).perturb(text, sample, 0)
        assert len(differing(text, after)) == 2 * changed > 0
        after, changed, units = corruption("character-drop", severity).perturb(text, sample, 0)
        assert len(text) - len(after) == changed > 0
        assert units == sum(letter.isalpha() for letter in text)
        after, changed, _ = corruption("character-insert", severity).perturb(text, sample, 0)
        assert len(after) - len(text) == changed > 0
        after, changed, units = corruption("word-drop", severity).perturb(text, sample, 0)
        assert len(text.split()) - len(after.split()) == changed > 0
        assert units == len(text.split())
        after, changed, _ = corruption("word-duplicate", severity).perturb(text, sample, 0)
        assert len(after.split()) - len(text.split()) == changed > 0
        after, changed, _ = corruption("punctuation", severity).perturb(text, sample, 0)
        moved = [a != b for a, b in zip(text.split(), after.split(), strict=True)]
        assert sum(moved) == changed > 0


def test_spaces_are_dropped_and_added_alike() -> None:
    text = PROSE * 50
    after, changed, _ = corruption("whitespace").perturb(text, 0, 0)
    assert re.sub(r"\s", "", after) == re.sub(r"\s", "", text)
    joined = sum(one.isspace() for one in text) - sum(one.isspace() for one in after)
    # Dropped minus added: near zero, for words of one letter can only lose their space.
    assert abs(joined) < 0.2 * changed


def test_a_letter_is_swapped_with_its_neighbour_once() -> None:
    for sample in range(20):
        after, _, _ = corruption("character-swap").perturb(PROSE, sample, 0)
        places = differing(PROSE, after)
        for one, other in zip(places[::2], places[1::2], strict=True):
            assert other == one + 1
            assert after[one : other + 1] == PROSE[one : other + 1][::-1]


def test_shuffled_words_stay_near() -> None:
    text = " ".join(f"word{at}" for at in range(300)) + " end"
    offsets = set()
    for sample in range(30):
        after, changed, units = corruption("word-shuffle").perturb(text, sample, 0)
        old, new = text.split(), after.split()
        assert Counter(new) == Counter(old)
        moves = [at for at, (a, b) in enumerate(zip(old, new, strict=True)) if a != b]
        assert max(abs(new.index(word) - at) for at, word in enumerate(old)) == 2
        firsts = {at - at % 3 for at in (place - min(moves) % 3 for place in moves)}
        offsets.add(units)
        assert changed * 2 <= len(moves) <= changed * 3
        assert len(firsts) >= changed
    assert offsets == {99, 100}


def test_all_other_orders_of_three_words_are_alike_likely() -> None:
    shuffle = corruption("word-shuffle")
    found = Counter(shuffle.change("a  b\tc", number) for number in range(500))
    assert set(found.values()) == {100}
    assert set(found) == {"a  c\tb", "b  a\tc", "b  c\ta", "c  a\tb", "c  b\ta"}
    assert {shuffle.change("x x y", number) for number in range(9)} == {"x y x", "y x x"}


def rewritten(name: str, severity: int, text: str, sample: int) -> set[tuple[str, int]]:
    """The units that are rewritten, each with its random number, which no other unit has."""
    found: set[tuple[str, int]] = set()

    class Recorder(type(corruption(name))):  # type: ignore[misc]
        def change(self, unit: str, number: int) -> str:
            found.add((unit, number))
            return str(super().change(unit, number))

    assert Recorder(severity=severity).perturb(text, sample, 0)[1] == len(found)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_a_higher_severity_adds_to_a_lower_one(name: str) -> None:
    for sample in range(4):
        found = [rewritten(name, severity, PROSE * 3, sample=sample) for severity in range(1, 6)]
        assert found[0]
        assert all(lower < higher for lower, higher in pairwise(found))


@pytest.mark.parametrize("name", NAMES)
def test_short_texts_are_right_on_average(name: str) -> None:
    """A single word is mostly unchanged, or hit with the probability that the rate demands."""
    kind, text = corruption(name), "lob, mile oo"
    found = [kind.perturb(text, sample, 0)[1:] for sample in range(600)]
    changed, units = (sum(one[which] for one in found) for which in (0, 1))
    assert units > 150
    spread = (float(kind.rate) * (1 - float(kind.rate)) / units) ** 0.5
    assert abs(changed / units - float(kind.rate)) < 4 * spread


def test_every_number_is_drawn_alike_often() -> None:
    """Offsets, keys and choices come from one call: none of them may correlate with another."""
    text, places = "e" * 50, Counter[int]()
    letters: Counter[str] = Counter()
    for sample in range(2000):
        after, _, _ = corruption("keyboard-typos").perturb(text, sample, 0)
        for at in differing(text, after):
            places[at] += 1
            letters[after[at]] += 1
    assert sum(places.values()) == 2000 * 5
    for counts in (places, letters):
        mean = 10_000 / len(counts)
        assert sum((count - mean) ** 2 / mean for count in counts.values()) < len(counts) + 4 * (2 * len(counts)) ** 0.5
    assert len(places) == 50
    assert set(letters) == set(NEIGHBOURS["e"])


def batch_of(texts: list[str], ids: list[int]) -> SampleBatch:
    nothing = torch.zeros(len(ids), 4)
    text = TextSide(tokenizer=UnusedTokenizer(), texts=texts)
    return SampleBatch(inputs=nothing, labels=nothing, ids=torch.tensor(ids), seed=7, text=text)


@pytest.mark.parametrize("name", NAMES)
def test_order_and_batches_do_not_matter(name: str) -> None:
    texts, ids = [*TRICKY, PROSE, PROSE], list(range(len(TRICKY) + 2))
    whole = make_data(corruption(name), batch_of(texts, ids))
    assert whole.texts is not None
    back = make_data(corruption(name), batch_of(texts[::-1], ids[::-1]))
    assert back.texts is not None
    assert list(back.texts)[::-1] == list(whole.texts)
    alone = [make_data(corruption(name), batch_of([text], [row])) for text, row in zip(texts, ids, strict=True)]
    assert [one.texts[0] for one in alone if one.texts] == list(whole.texts)
    assert whole.texts[-1] != whole.texts[-2]
    assert (whole.changed <= whole.units).all()


DIGEST = """
import hashlib
from robustbench_wb.stressors.catalogue import parse_stressor
found = [parse_stressor(f"{name};severity=4").perturb(%r, 11, 3) for name in %r]
print(hashlib.sha256(repr(found).encode()).hexdigest())
"""


@pytest.mark.slow(2)
def test_another_process_writes_the_same() -> None:
    script = DIGEST % (PROSE, NAMES)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True)
    found = [corruption(name, 4).perturb(PROSE, 11, 3) for name in NAMES]
    assert done.stdout.strip() == hashlib.sha256(repr(found).encode()).hexdigest()


@pytest.mark.parametrize("name", NAMES)
def test_long_documents(name: str) -> None:
    """Time grows linearly with the length, even without a space: anything quadratic takes minutes here."""
    for text in (PROSE * 500, "学" * 100_000, " " * 100_000, "a" * 100_000):
        after, changed, units = corruption(name).perturb(text, 1, 0)
        exact = corruption(name).rate * units
        assert changed in (floor(exact), ceil(exact))
        assert (after != text) == (changed > 0)


def test_the_keyboard_is_the_one_on_the_desk() -> None:
    desk = (
        "q:wa w:qeas e:wrsd r:etdf t:ryfg y:tugh u:yihj i:uojk o:ipkl p:ol a:qwsz s:weadzx d:ersfxc f:rtdgcv g:tyfhvb "
        "h:yugjbn j:uihknm k:iojlm l:opk z:asx x:sdzc c:dfxv v:fgcb b:ghvn n:hjbm m:jkn"
    )
    assert {key: set(near) for key, near in NEIGHBOURS.items()} == {entry[0]: set(entry[2:]) for entry in desk.split()}


def test_look_alikes_are_letters_of_other_scripts_in_the_same_case() -> None:
    for letter, alike in LOOK_ALIKES.items():
        for other in alike:
            assert unicodedata.name(other).startswith(("CYRILLIC", "GREEK"))
            assert other.isupper() == letter.isupper() or other == "\u04cf"
            assert unicodedata.normalize("NFKC", other) == other


def test_confusions_go_both_ways() -> None:
    for unit, alike in CONFUSIONS.items():
        assert all(unit in CONFUSIONS[other] for other in alike)
    assert {"0", "rn", "l"} >= {CONFUSIONS["O"][0], CONFUSIONS["m"][0], CONFUSIONS["1"][0]}
    after, _, units = corruption("ocr").perturb("rn", 0, 0)
    assert units == 1
    assert after in ("rn", "m")


def test_severities_outside_are_refused() -> None:
    for severity in ("0", "6", "1/2", "x"):
        with pytest.raises(UsageError, match="severity"):
            parse_stressor(f"ocr;severity={severity}")


def words_changed(before: str, after: str, name: str) -> int:
    """Number of words that changed; for dropped or repeated words, the number of these."""
    old, new = before.split(), after.split()
    if name in ("word-drop", "word-duplicate"):
        return abs(len(old) - len(new))
    if name == "word-shuffle":
        return sum(a != b for a, b in zip(old, new, strict=True))
    return (Counter(old) - Counter(new)).total()


def table() -> dict[str, list[str]]:
    lines = (line.strip("|").split("|") for line in PAGE.splitlines() if line.startswith("| `"))
    return {cells[0].strip(" `"): [cell.strip() for cell in cells[1:]] for cells in lines}


@pytest.mark.parametrize("name", NAMES)
def test_the_page_says_what_the_code_does(name: str) -> None:
    *_, rates, shares = table()[name]
    assert [Fraction(rate) / 100 for rate in rates.split(", ")] == list(corruption(name).rates)
    texts = SENTENCES.load(None).test.texts[:300]
    words = sum(len(text.split()) for text in texts)
    for severity, share in enumerate(shares.split(", "), 1):
        kind = corruption(name, severity)
        hit = sum(words_changed(text, kind.perturb(text, row, 0)[0], name) for row, text in enumerate(texts))
        assert round(100 * hit / words) == int(share)


@pytest.mark.slow(4)
def test_the_suite_runs(tmp_path: Path) -> None:
    request = RunRequest(suite="corruption-text", variants=("bert",), recipe="none", samples=20, device="cpu")
    rows = harness.run(request, results=str(tmp_path)).rows
    assert len(rows) == 1 + 5 * len(NAMES)
    assert {row.status for row in rows} == {"ok"}
    clean, *others = rows
    for row in others:
        assert row.realised is not None
        assert row.realised == pytest.approx(float(corruption(row.stressor, int(row.strength)).rate), abs=0.06)
        # The task's tokenizer lower-cases.
        assert row.stressor != "case" or row.accuracy == clean.accuracy

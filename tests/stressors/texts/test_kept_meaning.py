"""Word attacks that keep the meaning: similarity by an encoder, synonyms, the random control, and whole runs."""

import dataclasses
import shutil
from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from robustbench_wb.api import run as harness
from robustbench_wb.api.verify import verify
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.errors import MeasurementError, UsageError
from robustbench_wb.models.providers import library
from robustbench_wb.models.providers.text_judges import load_encoder, load_scorer
from robustbench_wb.records.record import SAMPLES_VERSION, TEXTS_VERSION, State
from robustbench_wb.store.record_store import RecordStore
from robustbench_wb.stressors.catalogue import parse_stressor
from robustbench_wb.stressors.model_access import ModelAccess
from robustbench_wb.stressors.sample_batch import PerturbedBatch, SampleBatch
from robustbench_wb.stressors.text_attacks.kept_meaning import MeaningAttack
from robustbench_wb.stressors.text_attacks.substitution import RandomSwap, WordSubstitution
from robustbench_wb.stressors.text_attacks.synonyms import read_synonyms
from robustbench_wb.tasks.task import Dataset
from tests.known import a, known
from tests.stressors.attacked_batch import AttackedBatch, perturb
from tests.stressors.texts.conftest import save_bert

MakeBatch = Callable[..., AttackedBatch]
ATTACKS = ["word-substitution;rate=1/4;queries=30;candidates=6", "random-swap;rate=1/4;draws=15"]
SETS = """
# opinions
adjective: good fine decent
adjective: bad awful
verb: was seemed
noun: film movie fine
"""
WORDNET = {
    "data.noun": "  1 This software and database is being provided to you\n"
    "06613686 10 n 05 movie 0 film 0 picture 0 moving_picture 0 pic 0 004 @ 06619065 n 0000 | entertainment\n",
    "data.verb": "01002740 36 v 02 film 0 shoot 1 002 @ 01001294 v 0000 01 + 08 00 | make a film\n",
    "data.adj": "01123148 00 a 02 good 0 fine(p) 0 001 ! 01125429 a 0101 | having desirable qualities\n",
    "data.adv": "00011093 02 r 0a well 0 good 0 a 0 b 0 c 0 d 0 e 0 f 0 g 0 h 0 001 | in a good manner\n",
}


def meaning_attack(signature: str) -> MeaningAttack:
    """Attack of a signature, whose meaning may be bound."""
    found = parse_stressor(signature)
    assert isinstance(found, MeaningAttack)
    return found


def cosine(folder: Path, one: str, other: str) -> float:
    """Cosine of mean hidden states by the library alone: one text at a time, without padding, in float64."""
    transformers = library.load_library("transformers", "hf")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).double().eval()
    with torch.no_grad():
        means = [
            model(**tokenizer(text, truncation=True, max_length=32, return_tensors="pt")).last_hidden_state.mean(1)[0]
            for text in (one, other)
        ]
    return float(torch.nn.functional.cosine_similarity(means[0], means[1], dim=0))


def test_similarity_is_that_of_the_library_whatever_the_batch(hf_folder: Path, sentences: Dataset) -> None:
    texts = [*sentences.test.texts[:6], "the film", "", " ".join(["good film ,"] * 30)]
    encoder = load_encoder(f"hf:{hf_folder}")
    found = [encoder.embed(texts, device=torch.device("cpu"), batch_size=size) for size in (1, 4, 64)]
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=0, atol=1e-5)
    by_pairs = (found[0][0] * found[0]).sum(1).tolist()
    np.testing.assert_allclose(by_pairs, [cosine(hf_folder, texts[0], text) for text in texts], atol=1e-5)


@pytest.fixture(scope="module")
def language_model(tmp_path_factory: pytest.TempPathFactory, hf_folder: Path) -> Path:
    """An untrained GPT-2 with the tokenizer of the encoder."""
    transformers, folder = library.load_library("transformers", "hf"), tmp_path_factory.mktemp("lm")
    tokenizer = transformers.AutoTokenizer.from_pretrained(hf_folder)
    tokenizer.save_pretrained(folder)
    config = transformers.GPT2Config(
        vocab_size=len(tokenizer), n_positions=32, n_embd=16, n_layer=2, n_head=2, initializer_range=0.5
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        transformers.GPT2LMHeadModel(config).save_pretrained(folder)
    return folder


def test_perplexities_are_those_of_the_library(language_model: Path, sentences: Dataset) -> None:
    transformers = library.load_library("transformers", "hf")
    tokenizer = transformers.AutoTokenizer.from_pretrained(language_model)
    model = transformers.AutoModelForCausalLM.from_pretrained(language_model).eval()
    texts = [*sentences.test.texts[:10], "the film"]
    expected = []
    with torch.no_grad():
        for text in texts:
            ids = tokenizer(text, truncation=True, max_length=32, return_tensors="pt")["input_ids"]
            expected.append(float(model(ids, labels=ids).loss))
    found = load_scorer(f"hf:{language_model}").losses(texts, device=torch.device("cpu"))
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    attack = meaning_attack(f"random-swap;rate=1;perplexity=hf:{language_model}")
    assert not attack.is_constrained
    access = ModelAccess(model=nn.Linear(1, 1), batch_size=3)
    measured = attack.measures(texts, texts[::-1], access)
    np.testing.assert_allclose(measured[:, 1], np.subtract(expected[::-1], expected), rtol=1e-3, atol=1e-4)
    assert np.isnan(measured[:, 0]).all()


def test_the_key_covers_weights_and_synonyms_and_no_more(hf_folder: Path, tmp_path: Path, sentences: Dataset) -> None:
    copy, other = (save_bert(tmp_path / name, sentences, seed=seed) for name, seed in (("copy", 0), ("other", 1)))

    def code(signature: str) -> str:
        return parse_stressor(f"word-substitution;rate=1/4;{signature}").code()

    (tmp_path / "one.txt").write_text(SETS)
    (tmp_path / "two.txt").write_text(f"{SETS}noun: plot story\n")
    plain = parse_stressor("word-substitution;rate=1/4").code()
    assert code(f"encoder=hf:{hf_folder}") == code(f"encoder=hf:{copy}")
    different = [code(f"encoder=hf:{hf_folder}"), code(f"encoder=hf:{other}")]
    different += [code(f"synonyms={tmp_path}/{name}.txt") for name in ("one", "two")]
    assert len({plain, *different}) == 5


def test_an_encoder_without_a_pooling_layer_has_one_digest(tmp_path: Path, hf_folder: Path) -> None:
    transformers = library.load_library("transformers", "hf")
    transformers.AutoTokenizer.from_pretrained(hf_folder).save_pretrained(tmp_path)
    transformers.BertModel.from_pretrained(hf_folder, add_pooling_layer=False).save_pretrained(tmp_path)
    found = []
    for _ in range(2):
        load_encoder.cache_clear()
        before = torch.random.get_rng_state()
        found.append(load_encoder(f"hf:{tmp_path}").digest)
        assert torch.equal(torch.random.get_rng_state(), before)
    assert found[0] == found[1]


@pytest.mark.parametrize("signature", ATTACKS)
def test_a_bound_keeps_every_text_similar_and_costs_the_attack_its_successes(
    signature: str, hf_folder: Path, encoder: nn.Module, batch_of: MakeBatch
) -> None:
    exact = deepcopy(encoder).double()  # in float32, batches of another size can round two equal words apart
    batch, reference = batch_of(exact), f"hf:{hf_folder}"
    free = parse_stressor(f"{signature};encoder={reference}")
    bound = meaning_attack(f"{signature};encoder={reference};cosine=999/1000")
    loose, strict = perturb(free, batch), perturb(bound, batch)
    similar = [
        [cosine(hf_folder, old, new) for old, new in zip(batch.texts, known(one.texts), strict=True)]
        for one in (loose, strict)
    ]
    assert min(similar[0]) < 0.9 < 0.9989 < min(similar[1])
    assert known(strict.broken).sum() < known(loose.broken).sum()
    assert any(old != new for old, new in zip(batch.texts, known(strict.texts), strict=True))
    bound.verify(batch, strict, batch.access)
    found = bound.measures(batch.texts, known(strict.texts), batch.access)
    np.testing.assert_allclose(found[:, 0], similar[1], atol=1e-5)
    assert np.isnan(found[:, 1]).all()
    with pytest.raises(MeasurementError, match="lowered the cosine similarity to 0"):
        bound.verify(batch, loose, batch.access)
    again = perturb(bound, batch.in_batches_of(5))
    assert list(known(again.texts)) == list(known(strict.texts))
    np.testing.assert_array_equal(again.forwards, strict.forwards)


@pytest.mark.parametrize("signature", ATTACKS)
def test_random_words_do_not_depend_on_the_place_of_models_and_synonyms(
    signature: str, hf_folder: Path, encoder: nn.Module, batch_of: MakeBatch, tmp_path: Path
) -> None:
    batch = batch_of(encoder)
    shutil.copytree(hf_folder, tmp_path / "other" / "place")
    (tmp_path / "sets.txt").write_text(SETS)
    shutil.copy(tmp_path / "sets.txt", tmp_path / "other" / "same.txt")

    def texts(bounds: str) -> Sequence[str]:
        return known(perturb(meaning_attack(f"{signature}{bounds}"), batch).texts)

    plain = texts("")
    assert list(plain) != list(batch.texts)
    assert texts(f";encoder=hf:{hf_folder}") == plain  # which only measures
    for bound in ("encoder=hf:{};cosine=97/100", "encoder=hf:{};cosine=-1;synonyms={}"):
        first = texts(f";{bound.format(hf_folder, tmp_path / 'sets.txt')}")
        assert texts(f";{bound.format(tmp_path / 'other/place', tmp_path / 'other/same.txt')}") == first


def test_random_swaps_under_a_bound_are_those_of_the_draw_that_it_permits(
    hf_folder: Path, encoder: nn.Module, batch_of: MakeBatch
) -> None:
    batch = batch_of(encoder, 6)

    def written(bound: str, swaps: Sequence[dict[int, str]]) -> list[str]:
        attack = a(RandomSwap, parse_stressor(f"random-swap;rate=1;encoder=hf:{hf_folder};cosine={bound}"))
        return attack.written(attack.begin(batch, batch.access), [4, 1], swaps)

    swaps = [{2: "awful", 0: "movie"}, {1: "good"}]
    every = written("-1", swaps)
    assert every == a(RandomSwap, parse_stressor("random-swap;rate=1")).written(
        RandomSwap(rate="1").begin(batch, batch.access), [4, 1], swaps
    )
    assert written("1", swaps) == [batch.texts[4], batch.texts[1]]
    # One by one: the first swap alone, then the second with the first if that was kept.
    text = batch.texts[4]
    first = written("-1", [{2: "awful"}, {}])[0]
    similar = cosine(hf_folder, text, first)
    alone = cosine(hf_folder, text, written("-1", [{0: "movie"}, {}])[0])
    both = cosine(hf_folder, text, every[0])
    between = f"{min(similar, alone) - 1e-3:.6f}" if both < min(similar, alone) - 2e-3 else f"{similar + 1e-3:.6f}"
    expected = first if float(between) < similar else written("-1", [{0: "movie"}, {}])[0]
    assert written(between, [swaps[0], {}])[0] == expected


class Careless(WordSubstitution):
    """Attack that forgets its bound."""

    name = "careless"

    def apply(self, batch: SampleBatch, access: ModelAccess) -> PerturbedBatch:
        return dataclasses.replace(super().apply(batch, access), broken=None)

    def begin(self, batch: SampleBatch, access: ModelAccess) -> Any:
        return (
            self.model_copy(update={"cosine": None}).begin(batch, access)
            if self.cosine
            else super().begin(batch, access)
        )


def test_an_attack_that_forgets_its_bound_is_refused(hf_folder: Path, encoder: nn.Module, batch_of: MakeBatch) -> None:
    batch = batch_of(encoder)
    attack = Careless(rate="1/4", queries=20, encoder=f"hf:{hf_folder}", cosine="97/100")
    with pytest.raises(MeasurementError, match=r"careless.*lowered the cosine similarity"):
        attack.verify(batch, attack.apply(batch, batch.access), batch.access)


@pytest.mark.parametrize("signature", ATTACKS)
def test_words_become_their_synonyms_alone(
    signature: str, tmp_path: Path, encoder: nn.Module, batch_of: MakeBatch
) -> None:
    (tmp_path / "sets.txt").write_text(SETS)
    texts = ["the Film was good , the plot was bad .", "a bad story", "nothing here"]
    batch = batch_of(encoder, 3, texts=texts)
    attack = parse_stressor(f"{signature.replace('1/4', '1')};synonyms={tmp_path}/sets.txt")
    found = perturb(attack, batch)
    attack.verify(batch, found, batch.access)
    allowed = {
        "Film": {"movie", "fine"}, "was": {"seemed"}, "good": {"fine", "decent"}, "bad": {"awful"},
    }  # fmt: skip
    pairs = [
        pair
        for old, new in zip(texts, known(found.texts), strict=True)
        for pair in zip(old.split(), new.split(), strict=True)
    ]
    assert all(new == old or new in allowed[old] for old, new in pairs)
    assert any(new != old for old, new in pairs)
    assert known(found.texts)[2] == texts[2]
    swapped = dataclasses.replace(found, texts=["the plot was good , the plot was bad .", *known(found.texts)[1:]])
    ids = known(batch.text).tokenizer.encode(list(known(swapped.texts)), batch.inputs.shape[1])
    with pytest.raises(MeasurementError, match="may not replace 'Film' by 'plot'"):
        attack.verify(batch, dataclasses.replace(swapped, inputs=torch.from_numpy(ids).long()), batch.access)


def test_synonyms_of_a_list_and_of_wordnet(tmp_path: Path) -> None:
    listed, folder = tmp_path / "sets.txt", tmp_path / "dict"
    listed.write_text(SETS)
    folder.mkdir()
    for name, content in WORDNET.items():
        (folder / name).write_text(content)
    every, one = read_synonyms(str(listed)), read_synonyms(str(listed), one_speech=True)
    assert every.of("Fine") == ("decent", "film", "good", "movie")
    assert (one.of("fine"), one.of("good"), one.of("film")) == ((), ("decent",), ("movie",))
    assert every.of("plot") == ()
    wordnet = read_synonyms(str(folder))
    # Phrases are left out; a marker after an adjective is cut; the count of words is hexadecimal.
    assert wordnet.of("film") == ("movie", "pic", "picture", "shoot")
    assert wordnet.of("good") == ("a", "b", "c", "d", "e", "f", "fine", "g", "h", "well")
    kept = read_synonyms(str(folder), one_speech=True)
    assert (kept.of("film"), kept.of("movie"), kept.of("shoot")) == ((), ("pic", "picture"), ())
    assert len({every.digest, wordnet.digest}) == 2


@pytest.mark.parametrize(
    ("ending", "message"),
    [
        ("cosine=9/10", "cosine needs encoder=hf:NAME"),
        ("speech=kept", "speech=kept needs synonyms=FILE"),
        ("encoder=vit", "encoder: String should match pattern"),
        ("encoder=hf:/nowhere/at/all", "folder /nowhere/at/all does not exist"),
        ("synonyms=/nowhere/at/all", "synonyms /nowhere/at/all: No such file or directory"),
        ("synonyms={tmp}/empty.txt", "has no set of two words"),
        ("synonyms={tmp}/plain.txt;speech=kept", "has sets without a part of speech"),
        ("synonyms={tmp}/wordnet", "data.noun is not a text of synonym sets"),
        ("encoder=hf:{tmp}/wordnet", "has no config.json"),
    ],
)
def test_half_a_constraint_and_missing_files_are_refused_before_any_work(
    ending: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "empty.txt").write_text("good\n# fine bad\n")
    (tmp_path / "plain.txt").write_text("good fine\n")
    (tmp_path / "wordnet").mkdir()
    (tmp_path / "wordnet" / "data.noun").write_text("not a database\n")
    signature = f"word-substitution;rate=1/4;{ending.format(tmp=tmp_path)}"
    with pytest.raises(UsageError, match=message):
        harness.run(RunRequest(tasks=("sentences",), stressors=(signature,)), results=str(tmp_path / "r"))
    assert not (tmp_path / "r").exists()


SUITE = """
name = "kept"
version = 1
summary = "Word substitution with and without a constraint, each beside its random control."

[[stressors]]
use = "word-substitution;queries=30;encoder={encoder};perplexity={scorer}"
strengths = "rate"

[[stressors]]
use = "random-swap;draws=30"
strengths = "rate"

[[stressors]]
use = "word-substitution;queries=30;encoder={encoder};cosine=98/100"
strengths = "rate"

[[stressors]]
use = "random-swap;draws=30;encoder={encoder};cosine=98/100"
strengths = "rate"

[strengths.rate]
default = ["1/10", "1/4"]

[scales.smoke]
samples = 40
size = "nano"
"""


@pytest.mark.slow(20)
def test_a_run_has_both_side_by_side_with_the_gap_to_chance(
    hf_folder: Path, language_model: Path, tmp_path: Path
) -> None:
    (tmp_path / "kept.toml").write_text(SUITE.format(encoder=f"hf:{hf_folder}", scorer=f"hf:{language_model}"))
    given = RunRequest(
        suite=str(tmp_path / "kept.toml"), tasks=("sentences",), variants=("bert",), recipe="none", device="cpu"
    )
    place = str(tmp_path / "r")
    report = harness.run(given, results=place)
    rows = {(row.stressor, row.strength): row for row in report.rows}
    assert {row.status for row in report.rows} == {"ok"}
    bound = f"cosine >= 49/50 by hf:{hf_folder}"
    assert {name: row.constraint for (name, _), row in rows.items()} == {
        "clean": "",
        "word-substitution": "unconstrained",
        "random-swap": "unconstrained",
        "word-substitution:constrained": bound,
        "random-swap:constrained": bound,
    }
    records = RecordStore(place).find([row.key for row in report.rows])
    for row in report.rows:
        record = records[row.key]
        measured = ";encoder=" in row.signature
        assert record.identity.schema_version == (TEXTS_VERSION if measured else SAMPLES_VERSION)
        assert (record.text_measures is not None) == measured
        if measured:
            similar = known(record.text_measures)[:, 0]
            assert np.isnan(similar[record.forwards == 0]).all()
            assert np.isfinite(similar[record.forwards > 0]).all()
            assert np.nanmin(similar) >= 0.98 - 1e-4 or row.constraint == "unconstrained"
            broken = similar[(record.states == State.BROKEN) & (record.forwards > 0)]
            assert row.text_similarity == pytest.approx(broken.mean() if len(broken) else None)
    free = rows["word-substitution", "1/10"]
    # The mean over broken texts may lie above the bound, by the rounding of the machine that trained the model.
    assert np.nanmin(known(records[free.key].text_measures)[:, 0]) < 0.98
    assert known(rows["word-substitution:constrained", "1/10"].text_similarity) >= 0.98
    rises = known(records[free.key].text_measures)[records[free.key].states == State.BROKEN, 1]
    assert free.perplexity_ratio == pytest.approx(np.exp(rises.mean()), rel=1e-5)
    assert known(free.perplexity_ratio_low) < known(free.perplexity_ratio) < known(free.perplexity_ratio_high)
    panel = report.headline.panels[0]
    for name, ending in (("words", ""), ("constrained words", ":constrained")):
        for strength in ("1/10", "1/4"):
            at = [column.name for column in panel.columns].index(f"{name} {strength}")
            number = panel.rows[0].numbers[at]
            own, chance = (rows[f"{attack}{ending}", strength] for attack in ("word-substitution", "random-swap"))
            assert number.control_gap == pytest.approx(known(chance.accuracy) - known(own.accuracy))
            assert known(number.control_gap_low) <= known(number.control_gap) <= known(number.control_gap_high)
            assert panel.columns[at].constraint == own.constraint
    text = str(report)
    assert "Gap to random words of the same budget (points" in text
    assert "words: unconstrained: a new word may change what a text says." in text
    assert f"constrained words: {bound}." in " ".join(text.split())
    assert verify("latest", place, rerun=40).exit_code == 0
    again = harness.run(given.model_copy(update={"batch": 7}), results=place)
    assert again.reused == len(report.rows)

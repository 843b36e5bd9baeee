"""``evaluate`` on texts: agreement with a run, tokenizers of several kinds, and mistakes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from robustbench_wb import State, UsageError, build, evaluate, run
from robustbench_wb.models.providers.library import load_library
from robustbench_wb.store.record_store import RecordStore
from robustbench_wb.tasks.catalogue import find_task

TEXTS = ["a fine film", "a dull film", "what a fine day", "what a dull day"] * 5
LABELS = [0, 1] * 10
WORDS = ("dull", "fine", "a", "day", "film", "what")


class Bag(nn.Module):
    """Two classes by the sum of word vectors; ids as :func:`by_word` gives them."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(40, 2, padding_idx=0)
        with torch.no_grad():
            self.words.weight.zero_()
            self.words.weight[1] = torch.tensor([0.0, 1.0])
            self.words.weight[2] = torch.tensor([1.0, 0.0])

    def get_input_embeddings(self) -> nn.Module:
        return self.words

    def forward(self, tokens: Tensor) -> Tensor:
        vectors: Tensor = self.words(tokens)
        return vectors.sum(1)


def by_word(text: str) -> list[int]:
    """A tokenizer of one's own: known words from 1 on, others by their length."""
    return [1 + WORDS.index(word) if word in WORDS else 20 + min(len(word), 9) for word in text.lower().split()]


def test_texts_without_a_correct_answer_raise_a_doubt_about_labels_and_tokenizer() -> None:
    wrong = (Bag()(torch.tensor([[1], [2]])).argmax(1) + 1) % 2
    found = evaluate(Bag(), WORDS[:2], wrong, tokenizer=by_word, stressors=())
    assert found.notes == ("no sample is correct without a perturbation: check labels and tokenizer",)


@pytest.mark.slow(9)
def test_states_agree_with_a_run_on_the_same_model_and_samples(tmp_path: Path) -> None:
    signatures = ("embedding-pgd-linf;eps=1;steps=3", "character-drop;severity=3")
    result = run(
        variants="bert",
        results=str(tmp_path),
        tasks="sentences",
        recipe="none",
        samples=10_000,
        stressors=signatures,
        device="cpu",
    )
    data = find_task("sentences").load(None)
    model = build("bert", shape=data.shape)
    test, tokenizer = data.test, data.tokenizer
    assert tokenizer is not None
    found = evaluate(
        model, test.texts, test.labels, stressors=signatures, tokenizer=tokenizer, length=test.inputs.shape[1]
    )
    records = RecordStore(str(tmp_path)).find([row.key for row in result.rows])
    for row, own in zip(result.rows, found, strict=True):
        np.testing.assert_array_equal(records[row.key].states, own.states)
        assert (row.signature, row.accuracy, row.grade) == (own.signature, own.accuracy, own.grade)


def test_a_function_is_a_tokenizer() -> None:
    found = evaluate(
        Bag(),
        TEXTS,
        LABELS,
        stressors=["clean", "word-drop;severity=5", "embedding-fgsm-linf;eps=100"],
        tokenizer=by_word,
    )
    assert found["clean"].accuracy == 1.0
    dropped = found["word-drop"]
    assert dropped.texts is not None
    assert len(dropped.texts) == 20
    assert all(len(text.split()) <= len(clean.split()) for text, clean in zip(dropped.texts, TEXTS, strict=True))
    kept = [("dull" in text) or ("fine" in text) for text in dropped.texts]
    right = dropped.states == State.ROBUST
    assert right[kept].all(), "a text that kept its word is still classified by it"
    assert found["embedding-fgsm-linf"].accuracy < 1.0


def test_what_a_function_cannot_say_is_a_row_with_an_error() -> None:
    row = evaluate(Bag(), TEXTS, LABELS, stressors="hotflip;budget=1", tokenizer=by_word)["hotflip"]
    assert "does not say where tokens stand" in row.error
    assert row.robust == 0


@pytest.mark.slow(7)
def test_a_model_and_a_tokenizer_of_transformers() -> None:
    """A BERT whose tokenizer pads with id 4, and whose id 0 is a word; its padding id is put back."""
    transformers = load_library("transformers", "hf")
    import tokenizers

    names = (*WORDS[:4], "[PAD]", *WORDS[4:], "[UNK]")
    core = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({word: i for i, word in enumerate(names)}, unk_token="[UNK]")
    )
    core.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=core, pad_token="[PAD]", unk_token="[UNK]")
    config = transformers.BertConfig(
        vocab_size=len(names), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=12, num_labels=2, pad_token_id=4, initializer_range=0.5,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.BertForSequenceClassification(config).train()
    model.config.pad_token_id = None
    texts = TEXTS[:4]
    given = tokenizer(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        expected = model.eval()(**given).logits.argmax(1)
    model.train()
    found = evaluate(
        model,
        texts,
        expected,
        stressors=["embedding-pgd-linf;eps=1/4;steps=2", "hotflip;budget=1"],
        tokenizer=tokenizer,
    )
    assert found["clean"].accuracy == 1.0
    assert [row.error for row in found] == ["", "", ""]
    assert model.training
    assert model.config.pad_token_id is None


@pytest.mark.slow(2)
def test_default_stressors_are_attacks_on_texts() -> None:
    data = find_task("sentences").load(None)
    model = build("bert", shape=data.shape)
    tokenizer = data.tokenizer
    assert tokenizer is not None
    found = evaluate(model, data.test.texts[:6], data.test.labels[:6], tokenizer=tokenizer)
    assert [row.name for row in found] == [
        "clean",
        "embedding-pgd-linf@1/4",
        "hotflip@1",
        "word-substitution@1/10",
        "character-edits@1/10",
        "random-swap@1/10",
    ]
    assert [row.error for row in found] == [""] * 6


MISTAKES: dict[str, tuple[Callable[[], object], str, str]] = {
    "one text": (lambda: evaluate(Bag(), "a text", [0], tokenizer=by_word), "inputs", "pass a list of texts"),
    "no text": (lambda: evaluate(Bag(), [], [], tokenizer=by_word), "inputs", "there is no text"),
    "numbers": (lambda: evaluate(Bag(), [1, 2], [0, 1], tokenizer=by_word), "inputs", "one is int"),  # type: ignore[list-item]
    "half a character": (
        lambda: evaluate(Bag(), ["a", "b \ud800"], [0, 1], tokenizer=by_word),
        "inputs",
        r"text 1 holds U\+D800, half of a surrogate pair",
    ),
    "a missing text": (
        lambda: evaluate(Bag(), ["a", None], [0, 1], tokenizer=by_word),  # type: ignore[list-item]
        "inputs",
        "all inputs are texts; one is NoneType",
    ),
    "a single text": (
        lambda: evaluate(Bag(), np.array("a"), [0], tokenizer=by_word),
        "inputs",
        "pass a list of texts",
    ),
    "few labels": (lambda: evaluate(Bag(), TEXTS, [0], tokenizer=by_word), "labels", "there are 1 for 20"),
    "normalised": (lambda: evaluate(Bag(), TEXTS, LABELS, tokenizer=by_word, mean=0, std=1), "mean", "for images"),
    "no tokenizer": (lambda: evaluate(Bag(), TEXTS, LABELS, tokenizer=3), "tokenizer", "a int is no tokenizer"),  # type: ignore[arg-type]
    "padding": (lambda: evaluate(Bag(), TEXTS, LABELS, tokenizer=lambda text: [0]), "tokenizer", "ids are above 0"),
    "raises": (lambda: evaluate(Bag(), TEXTS, LABELS, tokenizer=lambda text: [1 // 0]), "tokenizer", "ZeroDivision"),
    "length": (lambda: evaluate(Bag(), TEXTS, LABELS, tokenizer=by_word, length=0), "length", "not 0"),
    "image attack": (
        lambda: evaluate(Bag(), TEXTS, LABELS, stressors="pgd-linf;eps=1/255", tokenizer=by_word),
        "stressors",
        "does not perturb texts",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_clear_line_that_names_the_parameter(mistake: str) -> None:
    call, parameter, words = MISTAKES[mistake]
    with pytest.raises(UsageError, match=words) as caught:
        call()
    assert parameter in caught.value.parameters
    assert parameter in str(caught.value)


def test_a_function_as_tokenizer_gets_default_stressors_that_it_can_serve() -> None:
    found = evaluate(Bag(), TEXTS, LABELS, tokenizer=by_word)
    assert [row.stressor for row in found.rows] == ["clean", "keyboard-typos", "word-drop"]
    assert not any(row.error for row in found.rows)

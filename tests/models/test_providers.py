"""Models of other libraries: built offline, with random weights, and held against the library itself."""

import json
import shutil
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import EntryPoint
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from robustbench_wb.api import run as harness
from robustbench_wb.api.train import train as train_models
from robustbench_wb.cli.app import run_cli
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.errors import RegistryError, SubjectError, UnknownNameError, UsageError
from robustbench_wb.models.external import SUBJECTS, is_external, load_factory
from robustbench_wb.models.output_check import check_outputs
from robustbench_wb.models.providers import library
from robustbench_wb.models.providers.image_model import ImageModel, Preprocessing
from robustbench_wb.models.shape import ImageShape, TextShape
from robustbench_wb.models.weights import weights_digest
from robustbench_wb.records.record import State, SubjectCard
from robustbench_wb.store.record_store import RecordStore
from robustbench_wb.tasks.catalogue import find_task
from tests.known import known, parts

DIGITS = ImageShape(channels=1, height=8, width=8, classes=10, patch=2)
COLOUR = ImageShape(channels=3, height=20, width=20, classes=10, patch=2)
TEXT = TextShape(vocabulary=12, length=9, classes=3)
WORDS = ("the", "film", "was", "good", "bad", "not")


@pytest.fixture(scope="module")
def timm_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    timm = library.load_library("timm", "timm")
    folder = tmp_path_factory.mktemp("timm")
    torch.manual_seed(0)
    timm.models.save_for_hf(timm.create_model("test_vit", num_classes=10), folder, safe_serialization=True)
    return folder


@pytest.fixture(scope="module")
def hf_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    transformers = library.load_library("transformers", "hf")
    folder = tmp_path_factory.mktemp("hf")
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16, image_size=12, patch_size=4,
        num_labels=10,
    )  # fmt: skip
    transformers.ViTForImageClassification(config).save_pretrained(folder)
    processor = transformers.ViTImageProcessorPil(
        size={"height": 12, "width": 12}, image_mean=[0.4, 0.5, 0.6], image_std=[0.2, 0.25, 0.3]
    )
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def text_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT whose padding has id 4, and whose id 0 is a word."""
    transformers = library.load_library("transformers", "hf")
    import tokenizers

    folder = tmp_path_factory.mktemp("text")
    specials = ("[UNK]", "[CLS]", "[SEP]")
    vocabulary = {word: i for i, word in enumerate((*WORDS[:4], "[PAD]", *WORDS[4:], *specials))}
    core = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]"))
    core.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    core.post_processor = tokenizers.processors.BertProcessing(
        ("[SEP]", vocabulary["[SEP]"]), ("[CLS]", vocabulary["[CLS]"])
    )
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(vocabulary), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=7, num_labels=3, pad_token_id=4, initializer_range=0.5,
    )  # fmt: skip
    transformers.BertForSequenceClassification(config).save_pretrained(folder)
    return folder


def picture(channels: int) -> np.ndarray:
    """A picture of 20 x 20 with edges, uint8 (H, W, C)."""
    rows, columns = np.mgrid[:20, :20]
    waves = [127 + 60 * np.sin(rows / 3 + c) + 60 * (columns > 9 + c) for c in range(channels)]
    return np.stack(waves, -1).round().astype(np.uint8)


def as_task(image: np.ndarray) -> Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255


def test_a_timm_folder_gives_the_librarys_model_and_preprocessing(timm_folder: Path) -> None:
    timm = library.load_library("timm", "timm")
    model = load_factory(f"timm:{timm_folder}", trained=False)(COLOUR).eval()
    theirs = timm.create_model(f"local-dir:{timm_folder}", pretrained=True).eval()
    data = timm.data.resolve_model_data_config(theirs)
    transform = timm.data.create_transform(**{**data, "crop_pct": 1.0}, is_training=False)
    image = picture(3)
    expected = transform(Image.fromarray(image))[None]
    prepared = parts(model).prepare(as_task(image))
    assert prepared.shape == expected.shape == (1, 3, 160, 160)
    # Pillow rounds to whole levels after each of its two passes.
    assert (prepared - expected).abs().max() < 1.6 / 255 / 0.5
    torch.testing.assert_close(model(as_task(image)), theirs(prepared))
    check_outputs(model, COLOUR, "cpu")


def test_a_transformers_folder_gives_the_librarys_model_and_preprocessing(hf_folder: Path) -> None:
    transformers = library.load_library("transformers", "hf")
    model = load_factory(f"hf:{hf_folder}", trained=False)(COLOUR).eval()
    processor = transformers.ViTImageProcessorPil.from_pretrained(hf_folder)
    image = picture(3)
    expected = processor(image, return_tensors="pt")["pixel_values"]
    prepared = parts(model).prepare(as_task(image))
    assert prepared.shape == expected.shape == (1, 3, 12, 12)
    assert (prepared - expected).abs().max() < 1.6 / 255 / 0.2
    theirs = transformers.ViTForImageClassification.from_pretrained(hf_folder).eval()
    torch.testing.assert_close(model(as_task(image)), theirs(prepared).logits)
    check_outputs(model, COLOUR, "cpu")


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "nearest-exact"])
def test_preprocessing_has_a_gradient_and_repeats_grey(interpolation: str) -> None:
    class Sum(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (x * torch.arange(x[0].numel()).view(x.shape[1:]).double()).flatten(1).sum(1, keepdim=True)

    preprocessing = Preprocessing(
        height=5, width=7, mean=[0.1, 0.2, 0.3], std=[0.5, 0.6, 0.7], interpolation=interpolation
    )
    pictures = ImageModel(Sum(), DIGITS, preprocessing, fresh_head=False).double()
    grey = torch.rand(2, 1, 8, 8, dtype=torch.float64, requires_grad=True)
    colour = ImageModel(Sum(), DIGITS.model_copy(update={"channels": 3}), preprocessing, fresh_head=False).double()
    torch.testing.assert_close(pictures(grey), colour(grey.repeat(1, 3, 1, 1)))
    assert torch.autograd.gradcheck(pictures, grey)
    same = Preprocessing(height=8, width=8, mean=[0.0], std=[1.0], interpolation=interpolation)
    assert torch.equal(ImageModel(Sum(), DIGITS, same, fresh_head=False).prepare(grey), grey)


def test_channels_and_interpolations_that_do_not_fit_are_refused() -> None:
    with pytest.raises(SubjectError, match="takes 1 channels, but the task's images have 3"):
        ImageModel(
            nn.Identity(),
            COLOUR,
            Preprocessing(height=8, width=8, mean=[0.0], std=[1.0], interpolation="bilinear"),
            fresh_head=False,
        )
    with pytest.raises(SubjectError, match="'lanczos'"):
        ImageModel(
            nn.Identity(),
            COLOUR,
            Preprocessing(height=8, width=8, mean=[0.0] * 3, std=[1.0] * 3, interpolation="lanczos"),
            fresh_head=False,
        )


@pytest.mark.parametrize("kind", ["timm", "hf"])
def test_another_number_of_classes_gets_a_new_head_only_where_a_recipe_trains(
    kind: str, timm_folder: Path, hf_folder: Path
) -> None:
    reference = f"{kind}:{timm_folder if kind == 'timm' else hf_folder}"
    shape = DIGITS.model_copy(update={"classes": 7})
    model = load_factory(reference)(shape)
    assert model.fresh_head
    assert model(torch.rand(2, 1, 8, 8)).shape == (2, 7)
    assert not load_factory(reference)(DIGITS).fresh_head
    with pytest.raises(SubjectError, match=r"7.*name a training recipe, which adds a new head"):
        load_factory(reference, trained=False)(shape)
    with pytest.raises(SubjectError):
        load_factory(reference)(TEXT)


def test_an_architecture_without_weights_needs_no_network() -> None:
    factory = load_factory("timm:test_vit;pretrained=false", trained=False)
    assert factory.reference == "timm:test_vit;pretrained=false"
    model = factory(DIGITS.model_copy(update={"classes": 4}))
    assert model(torch.rand(2, 1, 8, 8)).shape == (2, 4)
    assert not model.fresh_head


def test_identity_covers_release_configuration_and_weights(
    timm_folder: Path, hf_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind, folder in (("timm", timm_folder), ("hf", hf_folder)):
        copy = tmp_path / kind
        shutil.copytree(folder, copy)
        before = load_factory(f"{kind}:{folder}")
        assert load_factory(f"{kind}:{copy}").code_digest == before.code_digest
        assert load_factory(f"{kind}:{copy};pretrained=false").code_digest != before.code_digest
        with monkeypatch.context() as patch:
            patch.setattr(library, "version", lambda name: "9.9")
            assert load_factory(f"{kind}:{copy}").code_digest != before.code_digest
        config = json.loads((copy / "config.json").read_text())
        config["pretrained_cfg" if kind == "timm" else "layer_norm_eps"] = (
            {**config["pretrained_cfg"], "mean": [0.4] * 3} if kind == "timm" else 1e-5
        )
        (copy / "config.json").write_text(json.dumps(config))
        changed = load_factory(f"{kind}:{copy}")
        assert changed.code_digest != before.code_digest
        # The preprocessing is part of the state, and so of the weights' digest.
        digests = {weights_digest(factory(DIGITS).state_dict()) for factory in (before, changed)}
        assert len(digests) == (2 if kind == "timm" else 1)
    (tmp_path / "hf" / "preprocessor_config.json").write_text("{}")
    assert load_factory(f"hf:{tmp_path / 'hf'}").code_digest != changed.code_digest


def test_texts_go_through_the_models_own_tokenizer(text_folder: Path) -> None:
    transformers = library.load_library("transformers", "hf")
    factory = load_factory(f"hf:{text_folder}", trained=False)
    model = factory(TEXT).eval()
    texts = ["the film was good", "bad", "not the the the the the the the"]
    ids = parts(model).encode(texts, TEXT.length)
    assert ids.dtype == np.int32
    assert ids.shape == (3, 9)
    np.testing.assert_array_equal(ids, known(factory.tokenizer)().encode(texts, TEXT.length))
    # "the" has id 0 and padding 4 in the tokenizer; here they have changed places. Seven places at most.
    np.testing.assert_array_equal(ids[0], [8, 4, 1, 2, 3, 9, 0, 0, 0])
    np.testing.assert_array_equal(ids[1], [8, 5, 9, 0, 0, 0, 0, 0, 0])
    np.testing.assert_array_equal(ids[2], [8, 6, 4, 4, 4, 4, 9, 0, 0])
    theirs = transformers.BertForSequenceClassification.from_pretrained(text_folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(text_folder)
    batch = tokenizer(texts, padding=True, truncation=True, max_length=7, return_tensors="pt")
    expected = theirs(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    logits = model(torch.from_numpy(ids).long())
    torch.testing.assert_close(logits, expected)
    alone = torch.cat([model(torch.from_numpy(ids[i : i + 1, :7]).long()) for i in range(3)])
    torch.testing.assert_close(logits, alone)
    assert logits.std(0).min() > 1e-3
    assert parts(model).encode([], 4).shape == (0, 4)


def test_text_models_that_do_not_fit(text_folder: Path, tmp_path: Path) -> None:
    shape = TEXT.model_copy(update={"classes": 5})
    assert load_factory(f"hf:{text_folder}")(shape).fresh_head
    with pytest.raises(SubjectError, match="5 classes"):
        load_factory(f"hf:{text_folder}", trained=False)(shape)
    with pytest.raises(SubjectError, match="language modelling"):
        load_factory(f"hf:{text_folder}")(TEXT.model_copy(update={"causal": True}))
    narrow = tmp_path / "narrow"
    shutil.copytree(text_folder, narrow)
    config = json.loads((narrow / "config.json").read_text())
    (narrow / "config.json").write_text(json.dumps({**config, "vocab_size": 7}))
    with pytest.raises(SubjectError, match="has 10 tokens, but its model only 7"):
        known(load_factory(f"hf:{narrow}").tokenizer)()
    bare = tmp_path / "bare"
    shutil.copytree(text_folder, bare, ignore=shutil.ignore_patterns("token*"))
    with pytest.raises(SubjectError, match="has no tokenizer"):
        load_factory(f"hf:{bare}")(TEXT)
    with pytest.raises(SubjectError, match="cannot be loaded"):
        load_factory(f"hf:{text_folder}")(DIGITS)


@pytest.mark.parametrize(
    ("reference", "error", "words"),
    [
        ("timm:resnet81", UnknownNameError, "did you mean"),
        ("timm:test_vit;pretrained=maybe", UsageError, "true or false"),
        ("timm:test_vit;depth=3", UsageError, "no option 'depth'"),
        ("timm:test_vit;pretrained", UsageError, ";pretrained=false"),
        ("timm:", UsageError, "names no model"),
        ("hf:", UsageError, "names no model"),
        ("hf:FOLDER/empty", UsageError, "no config.json"),
        ("timm:FOLDER/empty", UsageError, "no config.json"),
        ("timm:FOLDER/pickle", UsageError, "is a pickle"),
        ("hf:FOLDER/pickle", UsageError, "is a pickle"),
    ],
)
def test_what_is_wrong_with_a_reference_is_one_line(
    reference: str, error: type[UsageError], words: str, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "pickle").mkdir()
    (tmp_path / "pickle" / "config.json").write_text("{}")
    (tmp_path / "pickle" / "pytorch_model.bin").write_bytes(b"\x80")
    with pytest.raises(error, match=words) as caught:
        load_factory(reference.replace("FOLDER", str(tmp_path)))
    assert "\n" not in str(caught.value)
    assert is_external(reference)


@pytest.mark.parametrize("reference", ["hf:./nowhere", "timm:/nowhere/at/all;pretrained=false", "hf:~/nowhere"])
def test_a_folder_that_is_not_there_is_said(reference: str) -> None:
    with pytest.raises(UsageError, match=r"folder \S+ does not exist"):
        load_factory(reference)


@pytest.mark.parametrize("reference", ["hf:my-vit", "hf:me/my-vit;pretrained=false", "timm:me/my-vit"])
@pytest.mark.parametrize(
    ("status", "words"), [(404, "the hub has no model of that name"), (503, "the hub did not answer (")]
)
def test_the_hub_is_asked_once_for_a_model_that_is_not_there(
    reference: str, status: int, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.send_header("X-Error-Code", "RepoNotFound" if status == 404 else "")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        Thread(target=server.serve_forever).start()
        place = f"http://127.0.0.1:{server.server_port}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", place)
        code = run_cli(["doctor", reference])
        server.shutdown()
    told = capsys.readouterr().err
    name = reference.partition(":")[2].partition(";")[0]
    assert (code, len(asked), told.count("\n")) == (2, 1, 1)
    assert f"there is no folder '{name}' here, and {words}" in told


@pytest.mark.parametrize(("module", "extra"), [("timm", "timm"), ("transformers", "hf")])
def test_a_missing_library_names_its_extra_and_leaves_with_2(
    module: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    code = run_cli(["run", "--variant", f"{extra}:anything", "--results", str(tmp_path / "results")])
    told = capsys.readouterr()
    assert code == 2
    assert told.out == ""
    assert told.err.count("\n") == 1
    assert f"pip install 'robustbench_wb[{extra}]'" in told.err
    assert not (tmp_path / "results").exists()


def test_a_torchvision_that_does_not_fit_torch_does_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)
    (tmp_path / "torchvision.py").write_text(
        "import torch\n@torch.library.register_fake('torchvision::absent')\ndef absent(x): return x\nVALUE = 3\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    register = torch.library.register_fake
    library.mend_torchvision()
    assert sys.modules["torchvision"].VALUE == 3
    assert torch.library.register_fake is register
    monkeypatch.delitem(sys.modules, "torchvision")
    (tmp_path / "torchvision.py").write_text("raise RuntimeError('operator torchvision::x clashes')")
    monkeypatch.setattr(library, "find_spec", lambda name: object())
    with pytest.raises(UsageError, match="cannot be imported: operator torchvision::x clashes"):
        library.load_library("timm", "timm")


def test_a_plug_in_brings_a_subject(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "their_models.py").write_text(
        "from torch import nn\ndef flat(shape):\n    'One linear layer.'\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, shape.classes))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    points = {name: [EntryPoint(name, "their_models:flat", SUBJECTS.group)] for name in ("theirs", "vit")}
    monkeypatch.setitem(SUBJECTS.__dict__, "_plugins", points)
    assert is_external("theirs")
    factory = load_factory("theirs")
    assert factory(DIGITS)(torch.rand(2, 1, 8, 8)).shape == (2, 10)
    assert len(factory.code_digest) == 64
    with pytest.raises(RegistryError, match="name of a variant"):
        load_factory("vit")
    assert run_cli(["list", "models"]) == run_cli(["show", "theirs"]) == 0
    told = capsys.readouterr().out
    assert told.count("theirs") == 2
    assert "One linear layer." in told
    assert "their_models:flat" in told


@pytest.mark.slow(6)
def test_models_of_both_libraries_run_through_the_front_door(
    timm_folder: Path, hf_folder: Path, tmp_path: Path
) -> None:
    request = RunRequest(
        variants=(f"timm:{timm_folder}", f"hf:{hf_folder}"), recipe="none", samples=4, device="cpu",
        stressors=("pgd-linf;eps=8/255;steps=2",),
    )  # fmt: skip
    report = harness.run(request, str(tmp_path / "results"))
    assert [row.status for row in report.rows] == ["ok"] * 4
    assert len({row.weights for row in report.rows}) == 2
    again = harness.run(request, str(tmp_path / "results"))
    assert again.reused == 4


@pytest.mark.slow(2)
def test_a_text_model_is_asked_in_its_own_words(text_folder: Path, tmp_path: Path) -> None:
    transformers = library.load_library("transformers", "hf")
    folder, place = tmp_path / "two", str(tmp_path / "results")
    shutil.copytree(text_folder, folder)
    config = transformers.AutoConfig.from_pretrained(folder)
    config.num_labels = 2
    torch.manual_seed(1)
    model = transformers.BertForSequenceClassification(config).eval()
    model.save_pretrained(folder)
    given = {"suite": "clean", "tasks": ("sentences",), "device": "cpu", "samples": 50}
    report = harness.run(RunRequest(**given, variants=(f"hf:{folder}", "bert"), recipe="none"), place)
    row, ours = report.rows
    assert (row.error, row.data) == ("", ours.data)  # the same texts, in two vocabularies
    data = find_task("sentences").load(None)
    (record,) = RecordStore(place).find([row.key]).values()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    texts = [data.test.texts[i] for i in record.ids]
    batch = tokenizer(texts, padding=True, truncation=True, max_length=7, return_tensors="pt")
    with torch.no_grad():
        right = model(**batch).logits.argmax(1).numpy() == data.test.labels[record.ids]
    assert ((record.states == State.ROBUST) == right).all()
    refused = harness.run(RunRequest(**{**given, "tasks": ("digits-sequence",)}, variants=(f"hf:{folder}",)), place)
    assert refused.rows[0].error.endswith("has no texts for it")


def test_the_doctor_is_content_with_them_and_warns_of_a_new_head(
    hf_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    transformers = library.load_library("transformers", "hf")
    shutil.copytree(hf_folder, tmp_path / "four")
    config = transformers.AutoConfig.from_pretrained(hf_folder, num_labels=4)
    transformers.ViTForImageClassification(config).save_pretrained(tmp_path / "four")
    for folder, warned in ((hf_folder, set()), (tmp_path / "four", {"head"})):
        capsys.readouterr()
        assert run_cli(["doctor", f"hf:{folder}", "--device", "cpu", "--progress", "none", "--json"]) == 0
        found = json.loads(capsys.readouterr().out)["findings"]
        assert {finding["check"] for finding in found if finding["verdict"] not in ("ok", "skipped")} == warned


STARTS = """
from pathlib import Path
import torch
from torch import nn

def make(shape):
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, shape.classes))
    with torch.no_grad():
        model[1].bias.fill_(float(Path(PLACE).read_text()))
    return model
"""


@pytest.mark.slow(2)
def test_training_that_starts_from_other_weights_is_another_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = tmp_path / "start.txt"
    (tmp_path / "model.py").write_text(STARTS.replace("PLACE", repr(str(start))))

    def train() -> SubjectCard:
        (subject,) = train_models(RunRequest(variants=(f"{tmp_path / 'model.py'}:make",), device="cpu")).subjects
        assert subject.card is not None, subject.error
        return subject.card

    start.write_text("0.5")
    first = train()
    assert first.trained
    assert not train().trained
    start.write_text("0.25")
    other = train()
    assert other.trained
    assert other.weights != first.weights


@pytest.mark.slow(15)
def test_a_model_with_its_own_tokenizer_is_attacked_on_texts_in_a_file(text_folder: Path, tmp_path: Path) -> None:
    lines = [f"{WORDS[number]} {WORDS[number + 1]},{number % 3}" for number in range(len(WORDS) - 1)]
    (tmp_path / "texts.csv").write_text("\n".join(["text,label", *lines * 2]))
    rows = harness.run(
        tasks=[f"texts:{tmp_path / 'texts.csv'}"],
        variants=[f"hf:{text_folder}"],
        recipe="none",
        stressors=["word-substitution;rate=1/2;queries=5;candidates=4", "embedding-fgsm-linf;eps=1/2"],
        results=str(tmp_path / "results"),
    ).rows
    assert [(row.status, row.n) for row in rows] == [("ok", 2 * len(lines))] * 3

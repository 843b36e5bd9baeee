"""Built-in suites, read from their TOML files."""

from importlib.resources import files

from robustbench_wb.suites.suite import Suite, read_suite


def _read(name: str) -> Suite:
    return read_suite(files("robustbench_wb.suites").joinpath(name).read_text(encoding="utf-8"), name)


CLEAN = _read("clean.toml")
CORRUPTION = _read("corruption.toml")
CORRUPTION_VALIDATION = _read("corruption-validation.toml")
CORRUPTION_C_BAR = _read("corruption-c-bar.toml")
CORRUPTION_LAION_C = _read("corruption-laion-c.toml")
PERTURBATION_STABILITY = _read("perturbation-stability.toml")
OOD_DETECTION = _read("ood-detection.toml")
ADVERSARIAL = _read("adversarial.toml")
ADVERSARIAL_AS_PUBLISHED = _read("adversarial-as-published.toml")
ADVERSARIAL_LOCAL = _read("adversarial-local.toml")
ADVERSARIAL_UNIVERSAL = _read("adversarial-universal.toml")
ADVERSARIAL_SEGMENTATION = _read("adversarial-segmentation.toml")
ADVERSARIAL_TEXT = _read("adversarial-text.toml")
CORRUPTION_TEXT = _read("corruption-text.toml")
CONTAMINATION_TEXT = _read("contamination-text.toml")
CONTAMINATION_SEGMENTATION = _read("contamination-segmentation.toml")
PREFIX_LANGUAGE = _read("prefix-language.toml")
CONTAMINATION_LANGUAGE = _read("contamination-language.toml")
LONG_SEQUENCE = _read("long-sequence.toml")
NEEDLE = _read("needle.toml")
CONTAMINATION = _read("contamination.toml")
# They include suites above.
CALIBRATION = _read("calibration.toml")
CIFAR_ROBUSTNESS = _read("cifar-robustness.toml")
IMAGENET_ROBUSTNESS = _read("imagenet-robustness.toml")
TEXT_ROBUSTNESS = _read("text-robustness.toml")
LANGUAGE_ROBUSTNESS = _read("language-robustness.toml")

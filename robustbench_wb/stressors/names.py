"""The registry of stressors: names, and where each one is defined."""

from typing import TYPE_CHECKING, Final

from robustbench_wb.registry import Registry

if TYPE_CHECKING:  # stressors import torch; listing them must not
    from robustbench_wb.stressors.stressor import Stressor

CHANGES_NO_NUMBER: Final = "it only lists names; what they point at is digested instead"

STRESSORS: "Registry[type[Stressor]]" = Registry("stressor")
STRESSORS.add("clean", "robustbench_wb.stressors.clean:Clean", "unperturbed inputs")
_FGSM = "robustbench_wb.stressors.attacks.fgsm"
STRESSORS.add("fgsm-linf", f"{_FGSM}:FgsmLinf", "one signed gradient step (Goodfellow et al. 2015)")
STRESSORS.add("fgsm-l2", f"{_FGSM}:FgsmL2", "one normalised gradient step (FGSM in L2)")
_PGD = "robustbench_wb.stressors.attacks.pgd"
STRESSORS.add("pgd-linf", f"{_PGD}:PgdLinf", "projected gradient descent (Madry et al. 2018)")
STRESSORS.add("pgd-l2", f"{_PGD}:PgdL2", "projected gradient descent in L2")
STRESSORS.add("pgd-l1", f"{_PGD}:PgdL1", "projected gradient descent in L1, sparse steps")
_APGD = "robustbench_wb.stressors.attacks.apgd"
STRESSORS.add("apgd-linf", f"{_APGD}:ApgdLinf", "PGD with adaptive step length (Croce & Hein 2020)")
STRESSORS.add("apgd-l2", f"{_APGD}:ApgdL2", "PGD with adaptive step length, in L2")
STRESSORS.add("apgd-t-linf", f"{_APGD}:ApgdTargetedLinf", "APGD toward each likely wrong class")
STRESSORS.add("apgd-t-l2", f"{_APGD}:ApgdTargetedL2", "APGD toward each likely wrong class, in L2")
_FAB = "robustbench_wb.stressors.attacks.fab"
STRESSORS.add("fab-linf", f"{_FAB}:FabLinf", "nearest point of the decision boundary (Croce & Hein 2020)")
STRESSORS.add("fab-l2", f"{_FAB}:FabL2", "nearest point of the decision boundary, in L2")
_FMN = "robustbench_wb.stressors.attacks.fmn"
STRESSORS.add("fmn-linf", f"{_FMN}:FmnLinf", "distance of the nearest error (Pintor et al. 2021)")
STRESSORS.add("fmn-l2", f"{_FMN}:FmnL2", "distance of the nearest error, in L2")
STRESSORS.add("fmn-l1", f"{_FMN}:FmnL1", "distance of the nearest error, in L1")
_SQUARE = "robustbench_wb.stressors.attacks.square"
STRESSORS.add("square-linf", f"{_SQUARE}:SquareLinf", "random search by squares (Andriushchenko et al. 2020)")
STRESSORS.add("square-l2", f"{_SQUARE}:SquareL2", "random search by squares, in L2")
_HOP = "robustbench_wb.stressors.attacks.hop_skip_jump"
STRESSORS.add("hopskipjump-linf", f"{_HOP}:HopSkipJumpLinf", "decision-based (Chen, Jordan & Wainwright 2020)")
STRESSORS.add("hopskipjump-l2", f"{_HOP}:HopSkipJumpL2", "decision-based, in L2: predicted classes only")
STRESSORS.add(
    "sparse-rs-l0", "robustbench_wb.stressors.attacks.sparse_rs:SparseRs", "changes few pixels (Croce et al. 2022)"
)
_BPDA = "robustbench_wb.stressors.attacks.bpda"
STRESSORS.add("bpda-linf", f"{_BPDA}:BpdaLinf", "PGD through a part without a useful gradient (Athalye et al. 2018)")
STRESSORS.add("bpda-l2", f"{_BPDA}:BpdaL2", "PGD through a part without a useful gradient, in L2")
STRESSORS.add("patch", "robustbench_wb.stressors.attacks.patch:PatchAttack", "replaces one square, one token of a ViT")
_SPSA = "robustbench_wb.stressors.attacks.spsa"
STRESSORS.add("spsa-linf", f"{_SPSA}:SpsaLinf", "ascent on finite differences (Uesato et al. 2018)")
STRESSORS.add("spsa-l2", f"{_SPSA}:SpsaL2", "gradient ascent on finite differences, in L2")
_UNIVERSAL = "robustbench_wb.stressors.attacks.universal"
STRESSORS.add("universal-linf", f"{_UNIVERSAL}:UniversalLinf", "one perturbation for all (Shafahi et al. 2020)")
STRESSORS.add("universal-noise-linf", f"{_UNIVERSAL}:UniversalNoiseLinf", "control: one random perturbation for all")
_TRANSFER = "robustbench_wb.stressors.attacks.transfer"
STRESSORS.add("transfer-linf", f"{_TRANSFER}:TransferLinf", "PGD images made on a surrogate model (source=vit)")
STRESSORS.add("transfer-l2", f"{_TRANSFER}:TransferL2", "PGD images made on a surrogate model, in L2")
_NOISE = "robustbench_wb.stressors.attacks.ball_noise"
STRESSORS.add("noise-linf", f"{_NOISE}:NoiseLinf", "uniform noise in the ball: control for every attack")
STRESSORS.add("noise-l2", f"{_NOISE}:NoiseL2", "uniform noise in the L2 ball")
_ENSEMBLE = "robustbench_wb.stressors.attacks.ensemble"
STRESSORS.add("quick-linf", f"{_ENSEMBLE}:QuickLinf", "CPU ensemble: FGSM, PGD, targeted APGD, Square")
STRESSORS.add("quick-l2", f"{_ENSEMBLE}:QuickL2", "CPU ensemble in L2: FGSM, PGD, targeted APGD, Square")
_STRONG = "robustbench_wb.stressors.attacks.strong_ensemble"
STRESSORS.add("strong-linf", f"{_STRONG}:StrongLinf", "short APGD, targeted APGD, FAB and Square")
STRESSORS.add("strong-l2", f"{_STRONG}_l2:StrongL2", "short APGD, FMN, targeted APGD, FAB and Square, in L2")
STRESSORS.add("autoattack-linf", f"{_ENSEMBLE}:AutoAttackLinf", "AutoAttack's four attacks (Croce & Hein 2020)")
STRESSORS.add("autoattack-l2", f"{_ENSEMBLE}:AutoAttackL2", "AutoAttack's four attacks in L2")
_OUTSIDE = "robustbench_wb.stressors.out_of_distribution"
STRESSORS.add("ood-uniform-noise", f"{_OUTSIDE}.uniform_noise:UniformNoiseImages", "detection of noise images")
STRESSORS.add("ood-blobs", f"{_OUTSIDE}.blobs:Blobs", "detection of images of black and white shapes")
STRESSORS.add("ood-shuffled-pixels", f"{_OUTSIDE}.shuffled_pixels:ShuffledPixels", "detection of shuffled pixels")
_PIXELS = "robustbench_wb.stressors.attacks"
STRESSORS.add("pixel-pgd-linf", f"{_PIXELS}.pixel_pgd:PixelPgdLinf", "segmentation: PGD on all pixels")
STRESSORS.add("segpgd-linf", f"{_PIXELS}.pixel_pgd:SegPgdLinf", "segmentation: SegPGD (Gu et al. 2022)")
STRESSORS.add(
    "pixel-ensemble-linf", f"{_PIXELS}.pixel_ensemble:PixelEnsembleLinf", "segmentation: worst of three losses"
)
_PUBLISHED = "robustbench_wb.stressors.attacks.published"
STRESSORS.add("published-fgsm-linf", f"{_PUBLISHED}:PublishedFgsm", "FGSM as published: predicted label, no box")
STRESSORS.add("published-pgd-linf", f"{_PUBLISHED}:PublishedPgd", "PGD as published: predicted label, no box")
STRESSORS.add("published-spsa", f"{_PUBLISHED}:PublishedSpsa", "SPSA as published, with its defect")
_TEXTS = "robustbench_wb.stressors.text_attacks"
_VECTORS = f"{_TEXTS}.embedding:Embedding"
STRESSORS.add("embedding-fgsm-linf", f"{_VECTORS}FgsmLinf", "FGSM on word vectors; a bound, not a text attack")
STRESSORS.add("embedding-fgsm-l2", f"{_VECTORS}FgsmL2", "FGSM on word vectors in L2, per word")
STRESSORS.add("embedding-pgd-linf", f"{_VECTORS}PgdLinf", "PGD on word vectors; a bound, not a text attack")
STRESSORS.add("embedding-pgd-l2", f"{_VECTORS}PgdL2", "PGD on word vectors in L2, per word")
STRESSORS.add("hotflip", f"{_TEXTS}.hotflip:HotFlip", "gradient-based word swaps (Ebrahimi et al. 2018)")
STRESSORS.add("random-flip", f"{_TEXTS}.substitution:RandomFlip", "control for hotflip: random swaps")
STRESSORS.add("word-substitution", f"{_TEXTS}.substitution:WordSubstitution", "black-box word substitution")
STRESSORS.add("character-edits", f"{_TEXTS}.characters:CharacterEdits", "black-box misspellings")
STRESSORS.add("random-swap", f"{_TEXTS}.substitution:RandomSwap", "control for black-box attacks: random swaps")
_CORRUPTIONS = "robustbench_wb.stressors.corruptions"
STRESSORS.add(
    "stored",
    f"{_CORRUPTIONS}.stored_corruption:StoredCorruption",
    "images of a CIFAR-C or ImageNet-C folder (folder=...)",
)
STRESSORS.add("gaussian-noise", f"{_CORRUPTIONS}.gaussian_noise:GaussianNoise", "sensor noise in low light")
STRESSORS.add("shot-noise", f"{_CORRUPTIONS}.shot_noise:ShotNoise", "photon (Poisson) noise")
STRESSORS.add("impulse-noise", f"{_CORRUPTIONS}.impulse_noise:ImpulseNoise", "random black and white values")
STRESSORS.add("speckle-noise", f"{_CORRUPTIONS}.speckle_noise:SpeckleNoise", "noise in proportion to brightness")
STRESSORS.add("gaussian-blur", f"{_CORRUPTIONS}.gaussian_blur:GaussianBlur", "Gaussian smoothing")
STRESSORS.add("defocus-blur", f"{_CORRUPTIONS}.defocus_blur:DefocusBlur", "blur with a disk kernel")
STRESSORS.add("glass-blur", f"{_CORRUPTIONS}.glass_blur:GlassBlur", "random swaps of neighbouring pixels")
STRESSORS.add("motion-blur", f"{_CORRUPTIONS}.motion_blur:MotionBlur", "camera moving along a line")
STRESSORS.add("zoom-blur", f"{_CORRUPTIONS}.zoom_blur:ZoomBlur", "camera moving forward")
STRESSORS.add("snow", f"{_CORRUPTIONS}.snow:Snow", "moving flakes over a paler image")
STRESSORS.add("frost", f"{_CORRUPTIONS}.frost:Frost", "ice crystals blended into the image")
STRESSORS.add("fog", f"{_CORRUPTIONS}.fog:Fog", "random cloud blended into the image")
STRESSORS.add("brightness", f"{_CORRUPTIONS}.brightness:Brightness", "constant added to V in HSV")
STRESSORS.add("contrast", f"{_CORRUPTIONS}.contrast:Contrast", "lower contrast in each channel")
STRESSORS.add(
    "elastic-transform", f"{_CORRUPTIONS}.elastic:ElasticTransform", "affine map and small random displacements"
)
STRESSORS.add("pixelate", f"{_CORRUPTIONS}.pixelate:Pixelate", "fewer, larger pixels")
STRESSORS.add("jpeg-compression", f"{_CORRUPTIONS}.jpeg:JpegCompression", "JPEG at a low quality")
STRESSORS.add("spatter", f"{_CORRUPTIONS}.spatter:Spatter", "drops of water or mud on the lens")
STRESSORS.add("saturate", f"{_CORRUPTIONS}.saturate:Saturate", "saturation in HSV scaled")
STRESSORS.add("blue-noise-sample", f"{_CORRUPTIONS}.blue_noise_sample:BlueNoiseSample", "black pixels, spread evenly")
STRESSORS.add("brownish-noise", f"{_CORRUPTIONS}.brownish_noise:BrownishNoise", "coarse coloured noise")
STRESSORS.add("caustic-refraction", f"{_CORRUPTIONS}.caustic_refraction:CausticRefraction", "image seen through water")
STRESSORS.add(
    "checkerboard-cutout",
    f"{_CORRUPTIONS}.checkerboard_cutout:CheckerboardCutout",
    "grey fields of a checkerboard",
)
STRESSORS.add(
    "cocentric-sine-waves", f"{_CORRUPTIONS}.cocentric_sine_waves:CocentricSineWaves", "wavy rings around a point"
)
STRESSORS.add("inverse-sparkles", f"{_CORRUPTIONS}.inverse_sparkles:InverseSparkles", "white outside one sparkle")
STRESSORS.add("perlin-noise", f"{_CORRUPTIONS}.perlin_noise:PerlinNoise", "grey cloud of five octaves")
STRESSORS.add("plasma-noise", f"{_CORRUPTIONS}.plasma_noise:PlasmaNoise", "smooth coloured swirls")
STRESSORS.add(
    "single-frequency-greyscale",
    f"{_CORRUPTIONS}.single_frequency_greyscale:SingleFrequencyGreyscale",
    "a grey sine wave",
)
STRESSORS.add("sparkles", f"{_CORRUPTIONS}.sparkles:Sparkles", "five bright points with rays")
STRESSORS.add("geometric-shapes", f"{_CORRUPTIONS}.geometric_shapes:GeometricShapes", "small shapes over the image")
STRESSORS.add("glitched", f"{_CORRUPTIONS}.glitched:Glitched", "shifted rows, a displaced colour, scan lines")
STRESSORS.add(
    "luminance-checkerboard", f"{_CORRUPTIONS}.luminance_checkerboard:LuminanceCheckerboard", "bright and dark squares"
)
STRESSORS.add("mosaic", f"{_CORRUPTIONS}.mosaic:Mosaic", "put together from small pictures")
STRESSORS.add("stickers", f"{_CORRUPTIONS}.stickers:Stickers", "small generated pictures over the image")
STRESSORS.add("vertical-lines", f"{_CORRUPTIONS}.vertical_lines:VerticalLines", "lines that bend where it is dark")
_SEQUENCES = "robustbench_wb.stressors.sequences"
STRESSORS.add("gaussian-noise-sequence", f"{_SEQUENCES}.noise_sequence:GaussianNoiseSequence", "30 frames with noise")
STRESSORS.add("motion-blur-sequence", f"{_SEQUENCES}.motion_blur_sequence:MotionBlurSequence", "motion blur that turns")
STRESSORS.add(
    "brightness-sequence", f"{_SEQUENCES}.brightness_sequence:BrightnessSequence", "frames from dark to bright"
)
_WARPS = f"{_SEQUENCES}.warp_sequences"
STRESSORS.add("zoom-blur-sequence", f"{_WARPS}:ZoomBlurSequence", "zoom blur that grows")
STRESSORS.add("translate-sequence", f"{_WARPS}:TranslateSequence", "frames that move sideways")
STRESSORS.add("rotate-sequence", f"{_WARPS}:RotateSequence", "frames that turn")
STRESSORS.add("tilt-sequence", f"{_WARPS}:TiltSequence", "frames that tilt")
STRESSORS.add("scale-sequence", f"{_WARPS}:ScaleSequence", "frames that grow")
_TYPOS = "robustbench_wb.stressors.text_corruptions"
STRESSORS.add("keyboard-typos", f"{_TYPOS}.keyboard:KeyboardTypos", "letters replaced by keyboard neighbours")
STRESSORS.add("character-swap", f"{_TYPOS}.character_swap:CharacterSwap", "neighbouring letters swapped")
STRESSORS.add("character-drop", f"{_TYPOS}.character_drop:CharacterDrop", "letters dropped")
STRESSORS.add("character-insert", f"{_TYPOS}.character_insert:CharacterInsert", "letters inserted")
STRESSORS.add("ocr", f"{_TYPOS}.ocr:Ocr", "characters misread: 0 and O, 1 and l, rn and m")
STRESSORS.add("homoglyphs", f"{_TYPOS}.homoglyphs:Homoglyphs", "letters replaced by look-alikes of other scripts")
STRESSORS.add("case", f"{_TYPOS}.letter_case:LetterCase", "letters in the wrong case")
STRESSORS.add("whitespace", f"{_TYPOS}.whitespace:Whitespace", "spaces dropped and added")
STRESSORS.add("punctuation", f"{_TYPOS}.punctuation:Punctuation", "punctuation dropped and added")
STRESSORS.add("word-drop", f"{_TYPOS}.word_drop:WordDrop", "words dropped")
STRESSORS.add("word-duplicate", f"{_TYPOS}.word_duplicate:WordDuplicate", "words written twice")
STRESSORS.add("word-shuffle", f"{_TYPOS}.word_shuffle:WordShuffle", "three consecutive words in another order")
_CONTAMINATION = "robustbench_wb.stressors.contamination"
STRESSORS.add("word-swap", f"{_CONTAMINATION}.word_swap:WordSwap", "words of a text replaced by AAA")
STRESSORS.add("prefix-lm", f"{_CONTAMINATION}.prefix_lm:PrefixLm", "foreign tokens before a text")
STRESSORS.add(
    "word-swap-lm", f"{_CONTAMINATION}.word_swap_lm:WordSwapLm", "words replaced by AAA in language modelling"
)
STRESSORS.add(
    "published-word-swap-lm",
    f"{_CONTAMINATION}.published_word_swap_lm:PublishedWordSwapLm",
    "words replaced by AAA in whole lines, as in some papers",
)
STRESSORS.add("token-dropout", f"{_CONTAMINATION}.token_dropout:TokenDropout", "tokens replaced by [MASK] or [UNK]")
STRESSORS.add(
    "token-substitution", f"{_CONTAMINATION}.token_substitution:TokenSubstitution", "tokens replaced by random ones"
)
STRESSORS.add("outlier-pixels", f"{_CONTAMINATION}.outlier_pixels:OutlierPixels", "pixels of a random colour")
STRESSORS.add("outlier-patches", f"{_CONTAMINATION}.outlier_patches:OutlierPatches", "patches of random colours")
STRESSORS.add("pixel-dropout", f"{_CONTAMINATION}.pixel_dropout:PixelDropout", "black pixels")
STRESSORS.add("dead-channels", f"{_CONTAMINATION}.dead_channels:DeadChannels", "channels set to zero")
STRESSORS.add("dead-rows", f"{_CONTAMINATION}.dead_rows:DeadRows", "rows of pixels set to black")
STRESSORS.add("foreign-samples", f"{_CONTAMINATION}.foreign_samples:ForeignSamples", "samples mixed with another image")
STRESSORS.add("label-noise", f"{_CONTAMINATION}.label_noise:LabelNoise", "random wrong training labels")
STRESSORS.add("human-labels", f"{_CONTAMINATION}.human_labels:HumanLabels", "training labels by human annotators")
STRESSORS.add("backdoor", f"{_CONTAMINATION}.backdoor:Backdoor", "trained trigger in every test input")
STRESSORS.add("backdoor-clean", f"{_CONTAMINATION}.backdoor:BackdoorClean", "backdoored model on clean test inputs")
_OUTLIERS = f"{_CONTAMINATION}.training_outliers:TrainingOutliers"
STRESSORS.add("training-outliers", _OUTLIERS, "training samples replaced by noise")
STRESSORS.add("duplicates", f"{_CONTAMINATION}.duplicates:Duplicates", "training samples replaced by copies")
STRESSORS.add(
    "near-duplicates", f"{_CONTAMINATION}.duplicates:NearDuplicates", "training samples replaced by noisy copies"
)
STRESSORS.add("token-noise", f"{_CONTAMINATION}.token_noise:TokenNoise", "random wrong training tokens")
_WORD_SWAP = f"{_CONTAMINATION}.training_word_swap:TrainingWordSwap"
STRESSORS.add("training-word-swap", _WORD_SWAP, "words of training texts replaced by AAA")
_LENGTHS = "robustbench_wb.stressors.lengths"
STRESSORS.add("text-length", f"{_LENGTHS}.text_length:TextLength", "texts truncated at another length")
STRESSORS.add("listops-length", f"{_LENGTHS}.listops_length:ListOpsLength", "ListOps expressions of another length")
STRESSORS.add(
    "planted-facts",
    f"{_LENGTHS}.planted_facts_length:PlantedFactsLength",
    "a fact at a chosen position, among distractors",
)

"""Which classifiers of transformers can be trained, tried on every one of them with tiny random weights.

    python examples/benchmarks/models_table.py                 # every class; goes on where it stopped
    python examples/benchmarks/models_table.py gpt2 wav2vec2   # these model types again
    python examples/benchmarks/models_table.py --page          # guides/models.md from the results

For each class and each of five algorithms a trainer is made, which refuses in one line what cannot work, and takes
three steps. For each class, a view of short and a view of long examples go through the model together and alone.
The result is one of

    equal      logits and features alone are those of the joint call, the head makes these logits of these features,
               and three steps leave finite weights that have changed
    refused    SSLTrainer(...) raised a ValueError of one line
    not tried  the class needs a package that is not installed
    fault      anything else; the page must have none
"""

import argparse
import contextlib
import io
import json
import tempfile
import traceback
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import soundfile
import torch
import transformers
from models_tiny import CLASSES, IMAGE_SIZE, VOCABULARY, Case, cases, tiny_model
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from hf_ssl import ModelForward, SSLConfig, SSLTrainer, __version__
from hf_ssl.model.head import find_head
from hf_ssl.model.padding import harmless_sides
from hf_ssl.model.pooling import logits_of

ALGORITHMS = ("fixmatch", "simmatch", "vat", "mixmatch", "remixmatch")
RESULTS = Path(__file__).parent / "results" / "models.jsonl"
PAGE = Path(__file__).parents[1] / "guides" / "models.md"
# Of the largest logit or feature: what float32 rounds, in models of a few layers.
TOLERANCE = 1e-4
RATE, SECONDS = 16_000, 0.2
# Of these algorithms, what lets every example of the pool take part from the first step.
EAGER = {"fixmatch": {"threshold": 0.01}, "simmatch": {"threshold": 0.01}}


# ---- Data and processors ----


def make_tokenizer(model_type: str) -> Any:
    """Whole words; [PAD] is 1 as in RoBERTa, texts end with [EOS] as encoder-decoders want it; XLNet pads left."""
    words = [f"w{i}" for i in range(VOCABULARY - 5)]
    names = {name: i for i, name in enumerate(["[CLS]", "[PAD]", "[EOS]", "[UNK]", "[MASK]", *words])}
    backend = Tokenizer(models.WordLevel(names, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    left = model_type == "xlnet"
    template = "$A [EOS] [CLS]" if left else "[CLS] $A [EOS]"
    special = [("[CLS]", 0), ("[EOS]", 2)]
    backend.post_processor = processors.TemplateProcessing(single=template, special_tokens=special)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_max_length=32,
        padding_side="left" if left else "right",
        model_input_names=["input_ids", "attention_mask"],
        pad_token="[PAD]",
        eos_token="[EOS]",
        unk_token="[UNK]",
        mask_token="[MASK]",
    )


def make_extractor(model_type: str) -> Any:
    """The feature extractor that models of this type come with."""
    if model_type == "audio-spectrogram-transformer":
        return transformers.ASTFeatureExtractor(num_mel_bins=32, max_length=64)
    if model_type == "wav2vec2-bert":
        return transformers.SeamlessM4TFeatureExtractor(feature_size=16, num_mel_bins=16, stride=2)
    if model_type == "whisper":
        return transformers.WhisperFeatureExtractor(chunk_length=1)
    return transformers.Wav2Vec2FeatureExtractor(return_attention_mask=True)


def make_processor(case: Case) -> Any:
    if case.modality == "text":
        return make_tokenizer(case.model_type)
    if case.modality == "audio":
        return make_extractor(case.model_type)
    if case.model_type == "siglip2":
        return transformers.Siglip2ImageProcessor(patch_size=16, max_num_patches=4)
    side = 2 * IMAGE_SIZE if case.model_type.startswith("mobilevit") else IMAGE_SIZE
    size = {"height": side, "width": side}
    return transformers.ViTImageProcessor(size=size, image_mean=[0.5] * 3, image_std=[0.5] * 3)


def make_rows(modality: str, count: int, seed: int) -> datasets.Dataset:
    """Examples of three classes; texts and recordings of different lengths."""
    rng = np.random.default_rng(seed)
    labels = [i % CLASSES for i in range(count)]
    if modality == "text":
        texts = [" ".join(f"w{rng.integers(50)}" for _ in range(5 + 3 * (i % 4))) for i in range(count)]
        return datasets.Dataset.from_dict({"text": texts, "label": labels})
    if modality == "image":
        shape = (IMAGE_SIZE, IMAGE_SIZE, 3)
        pixels = [rng.integers(0, 120, shape) + 60 * label for label in labels]
        return datasets.Dataset.from_dict(
            {"image": [Image.fromarray(each.astype(np.uint8)) for each in pixels], "label": labels}
        )
    waves = [np.sin(np.arange(2400 + 400 * (i % 3)) * (0.05 + 0.1 * label)) for i, label in enumerate(labels)]
    rows = datasets.Dataset.from_dict({"audio": [wav_file(wave) for wave in waves], "label": labels})
    return rows.cast_column("audio", datasets.Audio(sampling_rate=RATE))


def wav_file(wave: np.ndarray) -> dict[str, Any]:
    buffer = io.BytesIO()
    soundfile.write(buffer, wave, RATE, format="WAV")
    return {"bytes": buffer.getvalue(), "path": None}


# ---- One class ----


def try_class(case: Case, folder: str) -> dict[str, Any]:
    """The row of one class: what became of the joint call and of each algorithm."""
    row: dict[str, Any] = {"modality": case.modality, "type": case.model_type, "class": case.name}
    torch.manual_seed(0)
    try:
        model = tiny_model(case)
    except ImportError as error:
        return {**row, "not_tried": one_line(error)}
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    row["parameters"] = sum(parameter.numel() for parameter in model.parameters())
    row["algorithms"] = {}
    for algorithm in ALGORITHMS:
        model.load_state_dict(weights)
        row["algorithms"][algorithm] = try_algorithm(case, model, algorithm, folder)
    if any(result == "trained" for result in row["algorithms"].values()):
        model.load_state_dict(weights)
        try:
            row["joint"] = try_joint_call(case, model)
            row |= properties(case, model)
        except Exception as error:
            row["joint"] = f"fault: {type(error).__name__}: {one_line(error)}"
    return row


def try_algorithm(case: Case, model: Any, algorithm: str, folder: str) -> str:
    """ "trained", "refused: ..." or "fault: ..."."""
    pool = make_rows(case.modality, 12, 1).remove_columns("label")
    args = SSLConfig(
        output_dir=folder,
        algorithm=algorithm,
        max_steps=3,
        per_device_train_batch_size=3,
        unlabeled_batch_ratio=1,
        learning_rate=1e-3,
        algorithm_kwargs=EAGER.get(algorithm),
        ema_decay=0.5,
        max_length_seconds=SECONDS if case.modality == "audio" else None,
        use_cpu=True,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        dataloader_num_workers=0,
        dataloader_pin_memory=False,
        duplicate_check_seconds=0,
    )
    try:
        given = {"train_dataset": make_rows(case.modality, 6, 0), "unlabeled_dataset": pool}
        trainer = SSLTrainer(model, args, processing_class=make_processor(case), **given)
    except (ValueError, TypeError, ImportError) as error:
        return f"refused: {error}" if "\n" not in str(error) else f"fault: several lines: {one_line(error)}"
    except Exception as error:
        return f"fault: {type(error).__name__} at construction: {one_line(error)}"
    before = {name: tensor.clone() for name, tensor in trainer.model.named_parameters()}
    try:
        trainer.train()
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        return f"fault: {type(error).__name__} in {Path(place.filename).name}: {one_line(error)}"
    after = dict(trainer.model.named_parameters())
    if not all(tensor.isfinite().all() for tensor in after.values()):
        return "fault: weights that are not finite"
    changed = sum(not torch.equal(before[name], tensor) for name, tensor in after.items())
    return "trained" if changed > len(after) / 4 else f"fault: {changed} of {len(after)} weights changed"


def try_joint_call(case: Case, model: Any) -> str:
    """ "equal" or "fault: ...": a view of short and one of long examples, together and alone."""
    short, long = make_views(case)
    forward = ModelForward(model)
    with torch.no_grad():
        for _ in range(20 if forward.batch_norm else 0):
            # Statistics of these examples; with those of a new model, activations vanish.
            model.train()(**long)
        model.eval()
        joint = forward(labeled=short, strong=long)
        for name, view in (("labeled", short), ("strong", long)):
            own = logits_of(model(**view))
            alone = ModelForward(model)(labeled=view)["labeled"]
            checks = {
                "the model's own logits": (alone.logits, own),
                "logits of a joint call": (joint[name].logits, own),
                "features of a joint call": (joint[name].features, alone.features),
                "logits of features": (forward.classify(alone.features), own),
            }
            for what, (found, expected) in checks.items():
                difference = (found - expected).abs().max() / expected.abs().max()
                if not difference <= TOLERANCE:
                    return f"fault: {what} differ by {difference:.1g} of the largest"
    return "equal"


def properties(case: Case, model: Any) -> dict[str, Any]:
    """What the head reads, and for texts on which sides padding changes nothing."""
    head, view, shapes = find_head(model), make_views(case)[1], []
    handle = head.register_forward_pre_hook(lambda _, inputs: shapes.append(inputs[0].ndim))
    with torch.no_grad():
        model(**view)
    handle.remove()
    sides = sorted(harmless_sides(model, head, view)) if case.modality == "text" else None
    return {"scores_tokens": shapes[-1] > 2, "padding": sides}


def make_views(case: Case) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Two examples each, the second two longer if the modality has lengths."""
    processor, rng = make_processor(case), np.random.default_rng(2)
    if case.modality == "text":
        words = [[f"w{rng.integers(50)}" for _ in range(count)] for count in (4, 7, 12, 9)]
        texts = [" ".join(each) for each in words]
        views = [processor(part, padding=True, return_tensors="pt") for part in (texts[:2], texts[2:])]
    elif case.modality == "image":
        pixels = [rng.integers(0, 255, (IMAGE_SIZE, IMAGE_SIZE, 3)).astype(np.uint8) for _ in range(4)]
        views = [
            processor([Image.fromarray(each) for each in part], return_tensors="pt")
            for part in (pixels[:2], pixels[2:])
        ]
    else:
        waves = [rng.normal(size=count).astype(np.float32) for count in (2000, 2400, 3200, 2800)]
        padded = {} if case.model_type in ("whisper", "audio-spectrogram-transformer") else {"padding": True}
        views = [processor(part, sampling_rate=RATE, return_tensors="pt", **padded) for part in (waves[:2], waves[2:])]
    return dict(views[0]), dict(views[1])


def one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]


# ---- The page ----

TITLES = {"text": "Texts", "image": "Images", "audio": "Recordings"}
INTRODUCTION = """# Which models can be trained

The classes that transformers {transformers} lists for sequence, image and audio classification, {count} of them, with
tiny random weights on a CPU in float32, and the algorithms {algorithms}.

| | classes |
| --- | --: |
| equal | {equal} |
| refused | {refused} |
| not tried | {not_tried} |

- **equal**: a view has the same logits and features alone and in a joint call with longer ones, up to the rounding of
  float32 ({tolerance:g} of the largest); the head makes these logits of these features; and three steps of training
  leave finite weights that have changed. An algorithm that cannot do so is refused, and listed with its reason.
- **refused**: `SSLTrainer(...)` raises a `ValueError` of one line with the reason before anything is trained.
- **not tried**: the class needs a package that was not installed.

There is no fourth kind: no class fails at its first step. Of each class one small configuration was tried. A
checkpoint with other settings is checked in the same way, on a few of your own examples, each time an `SSLTrainer` is
made.

## What is checked when a trainer is made

- The head must make the model's logits of its input, since losses and memories are built on both.
- One step is computed on a few examples in a small copy of the algorithm, and its gradients. Nothing is left of it.
- Padding must be on a side where the model does not mind it. A decoder takes the padding token of its tokenizer.

Models that score every token (most decoders) are used as they are: features are what the head reads at the position
where the model itself pools. Some models read padding on either side; their views of different lengths are classified
in calls of their own, and a warning says that an answer depends on the longest text beside it.

Models that hardly fit into memory, decoders with adapters among them: [when memory is short](memory.md).
"""
END = """
## How this page was made

```sh
python examples/benchmarks/models_table.py          # one line per class; goes on where it stopped
python examples/benchmarks/models_table.py --page   # this page
```

hf-ssl {hf_ssl}, transformers {transformers}, torch {torch}.
"""


def verdict(row: dict[str, Any]) -> str:
    """ "equal", "refused", "not tried" or "fault", of a class with all its algorithms."""
    if "not_tried" in row:
        return "not tried"
    results = [*row["algorithms"].values(), row.get("joint", "equal")]
    if any(result.startswith("fault") for result in results):
        return "fault"
    return "equal" if row.get("joint") == "equal" else "refused"


def page(rows: list[dict[str, Any]]) -> str:
    """The guide, in Markdown."""
    counts = Counter(verdict(row) for row in rows)
    versions = {
        "hf_ssl": __version__,
        "transformers": transformers.__version__,
        "torch": torch.__version__.split("+")[0],
    }
    text = INTRODUCTION.format(
        count=len(rows),
        algorithms=f"{', '.join(ALGORITHMS[:-1])} and {ALGORITHMS[-1]}",
        equal=counts["equal"],
        refused=counts["refused"],
        not_tried=counts["not tried"],
        tolerance=TOLERANCE,
        **versions,
    )
    tried = {(row["type"], row["class"]) for row in rows}
    missing = [f"`{case.name}`" for case in cases() if (case.model_type, case.name) not in tried]
    if missing:
        text += f"\nWithout a result so far: {', '.join(missing)}.\n"
    for modality, title in TITLES.items():
        mine = [row for row in rows if row["modality"] == modality]
        several = Counter(verdict(row) for row in mine)
        text += f"\n## {title}\n\n{', '.join(f'{count} {name}' for name, count in several.most_common())}.\n"
        text += refusals(mine) + table(mine, modality)
    return text + END.format(**versions)


def refusals(rows: list[dict[str, Any]]) -> str:
    """The reasons, each once: of classes that are refused or not tried, and of single algorithms."""
    lines = []
    for row in rows:
        if "not_tried" in row:
            needs = row["not_tried"].partition(" but it was not found")[0]
            lines.append(f"- `{row['class']}`, not tried: {needs}.")
            continue
        for reason, names in by_reason(row).items():
            which = "" if len(names) == len(ALGORITHMS) else f" with {', '.join(names)}"
            lines.append(f"- `{row['class']}`{which}: {reason}.")
    return "\n" + "\n".join(lines) + "\n" if lines else ""


def by_reason(row: dict[str, Any]) -> dict[str, list[str]]:
    """Reason -> the algorithms that are refused for it."""
    found: dict[str, list[str]] = {}
    for name, result in row["algorithms"].items():
        if result != "trained":
            reason = result.partition("refused: ")[2] or result
            reason = reason.partition(": ")[2] or reason if reason.startswith(row["class"]) else reason
            found.setdefault(reason.partition("; ")[0], []).append(name)
    return found


def table(rows: list[dict[str, Any]], modality: str) -> str:
    """The classes that can be trained."""
    texts = modality == "text"
    lines = ["| class | " + ("head reads | padding | " if texts else "") + "refused with |"]
    lines.append("| --- | " + ("--- | --- | " if texts else "") + "--- |")
    for row in (row for row in rows if verdict(row) == "equal"):
        without = ", ".join(name for name, result in row["algorithms"].items() if result != "trained")
        cells = [f"`{row['class']}`"]
        if texts:
            cells += ["every token" if row["scores_tokens"] else "one vector"]
            cells += [{0: "is read", 1: f"{(row['padding'] or [''])[0]} only"}.get(len(row["padding"]), "either side")]
        lines.append(f"| {' | '.join([*cells, without])} |")
    return "\n" + "\n".join(lines) + "\n"


def read_results(path: Path = RESULTS) -> dict[tuple[str, str], dict[str, Any]]:
    """(Type, class) -> its row, the last one if there are several."""
    lines = path.read_text().splitlines() if path.is_file() else []
    return {(row["type"], row["class"]): row for row in map(json.loads, lines)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("types", nargs="*", help="model types to try again; none: every class without a result")
    parser.add_argument("--page", action="store_true", help="write the page only")
    options = parser.parse_args()
    quiet()
    if not options.page:
        try_classes(options.types)
    results = read_results()
    ordered = [results[key] for case in cases() if (key := (case.model_type, case.name)) in results]
    print(Counter(verdict(row) for row in ordered))
    if options.page:
        RESULTS.write_text("".join(json.dumps(row) + "\n" for row in ordered))
        PAGE.write_text(page(ordered))


def try_classes(types: list[str]) -> None:
    """Append a row per class to the results, and print what is not as it should be."""
    done = read_results()
    for case in cases():
        if case.model_type not in types if types else (case.model_type, case.name) in done:
            continue
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
            row = try_class(case, folder)
        with RESULTS.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(f"{verdict(row):10} {case.name}", flush=True)
        for name, result in [*row.get("algorithms", {}).items(), ("joint", row.get("joint", ""))]:
            if result not in ("trained", "equal", ""):
                print(f"           {name}: {result}", flush=True)


def quiet() -> None:
    warnings.filterwarnings("ignore")
    transformers.logging.set_verbosity_error()
    datasets.disable_progress_bars()


if __name__ == "__main__":
    main()

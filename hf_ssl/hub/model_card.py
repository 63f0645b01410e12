"""The model card, written from the run: nothing in it is left to fill in."""

import re
from dataclasses import dataclass, field
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from .._version import __version__
from ..modality import PIPELINES
from ..model.loading import count_trainable
from ..report.results import versions
from ..report.run import run_facts
from . import provenance

USB_CITATION = """@inproceedings{wang2022usb,
  title = {{USB}: A Unified Semi-supervised Learning Benchmark for Classification},
  author = {Wang, Yidong and Chen, Hao and Fan, Yue and Sun, Wang and Tao, Ran and Hou, Wenxin and others},
  booktitle = {Advances in Neural Information Processing Systems, Datasets and Benchmarks Track},
  year = {2022}
}"""


# How the model is used, with and without a pipeline. A pipeline reads recordings by name, too, but with ffmpeg.
_USE = {
    "image": """```python
from transformers import pipeline

model = "MODEL"
pipeline("image-classification", model)("photo.jpg")
```

Without a pipeline:

```python
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification

inputs = AutoImageProcessor.from_pretrained(model)(images=Image.open("photo.jpg").convert("RGB"), return_tensors="pt")
classifier = AutoModelForImageClassification.from_pretrained(model)
print(classifier.config.id2label[classifier(**inputs).logits.argmax().item()])
```""",
    "text": """```python
from transformers import pipeline

model = "MODEL"
pipeline("text-classification", model)(TEXT)
```

Without a pipeline:

```python
from transformers import AutoModelForSequenceClassification, AutoTokenizer

inputs = AutoTokenizer.from_pretrained(model)(PLAIN, return_tensors="pt")
classifier = AutoModelForSequenceClassification.from_pretrained(model)
print(classifier.config.id2label[classifier(**inputs).logits.argmax().item()])
```""",
    "audio": """```python
import soundfile
from transformers import pipeline

model = "MODEL"
wave, rate = soundfile.read("recording.wav")
pipeline("audio-classification", model)({"raw": wave, "sampling_rate": rate})
```

Without a pipeline:

```python
from transformers import AutoFeatureExtractor, AutoModelForAudioClassification

inputs = AutoFeatureExtractor.from_pretrained(model)(wave, sampling_rate=rate, return_tensors="pt")
classifier = AutoModelForAudioClassification.from_pretrained(model)
print(classifier.config.id2label[classifier(**inputs).logits.argmax().item()])
```""",
}


# A pipeline would give an adapter the base model's own configuration, which knows nothing of these classes.
_ADAPTER_USE = """```python
from transformers import AutoConfig, AutoModelForKINDClassification, pipeline

model = "MODEL"
config = AutoConfig.from_pretrained(model, subfolder="base")
classifier = AutoModelForKINDClassification.from_pretrained(model, config=config)
pipeline("TASK", classifier, PROCESSOR=model)(GIVEN)
```"""


_ADAPTERS = {
    "image": ("Image", "image_processor", '"photo.jpg"'),
    "text": ("Sequence", "tokenizer", ""),
    "audio": ("Audio", "feature_extractor", '"recording.wav"'),
}


# How metrics are called in a model-index; the averages of this package are over classes.
_METRICS = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "precision": "Macro precision",
    "recall": "Macro recall",
    "f1": "Macro F1",
    "top5_accuracy": "Top-5 accuracy",
}


_TIMINGS = ("runtime", "samples_per_second", "steps_per_second", "jit_compilation_time", "model_preparation_time")


_MODEL_LINE = re.compile(r'^model = ".*"$', re.MULTILINE)


@dataclass
class CardFacts:
    """What a card says and the trainer cannot see; whoever starts a run fills it in, and every later card says it too.

    Args:
        name: title of the card; the name of the output folder, or of the repository, when None.
        dataset: what the labeled examples are, as a Hub id or in words; found from the dataset when None.
        license, base_model: for the metadata; of the model that training started from, where it is on the Hub, when None.
        language: of the texts, such as "en".
        tags: more tags than those that every model of this package has.
        command: the command line that repeats the run.
    """

    name: str | None = None
    dataset: str | None = None
    license: str | None = None
    base_model: str | None = None
    language: str | None = None
    tags: list[str] = field(default_factory=list)
    command: str | None = None


@dataclass
class Evaluations:
    """The evaluations of one dataset in a training: metrics and "step" of the last, of the best, and of the saved weights."""

    name: str
    source: provenance.DataSource
    size: int | None
    last: dict[str, Any]
    best: dict[str, Any]
    saved: dict[str, Any]


def evaluations(trainer) -> list[Evaluations]:
    """What was measured, by evaluation dataset; empty before the first evaluation."""
    datasets = trainer.eval_dataset if isinstance(trainer.eval_dataset, dict) else {"": trainer.eval_dataset}
    found = []
    for name, dataset in datasets.items():
        prefix = f"eval_{name}_" if name else "eval_"
        rows = []
        for row in trainer.state.log_history:
            metrics = {key.removeprefix(prefix): value for key, value in row.items() if key.startswith(prefix)}
            metrics = {
                key: value for key, value in metrics.items() if key not in _TIMINGS and isinstance(value, int | float)
            }
            if metrics:
                rows.append({**metrics, "step": row["step"]})
        if not rows:
            continue
        best = max(rows, key=lambda row: row.get("accuracy", 0.0)) if "accuracy" in rows[-1] else rows[-1]
        size = len(dataset) if hasattr(dataset, "__len__") else None
        found.append(Evaluations(name, provenance.source_of(dataset), size, rows[-1], best, _saved(trainer, rows)))
    return found


def _saved(trainer, rows: list[dict]) -> dict:
    """The evaluation of the weights that the model has now: the last one, or the best once that was loaded."""
    if _holds_best(trainer):
        return next((row for row in rows if row["step"] == trainer.state.best_global_step), rows[-1])
    return rows[-1]


def _holds_best(trainer) -> bool:
    finished = any("train_runtime" in row for row in trainer.state.log_history)
    return finished and trainer.args.load_best_model_at_end and trainer.state.best_model_checkpoint is not None


def model_card(trainer, facts: CardFacts, curves: bool = False) -> ModelCard:
    """The card of the trainer's model: metadata, use, results, how it was trained, limits and citations.

    Args:
        trainer: an `SSLTrainer`, before, during or after its training.
        facts: what the trainer cannot see.
        curves: whether curves.png lies beside the card.
    """
    pipeline = PIPELINES[trainer.data.modality]
    source = provenance.source_of(trainer.train_dataset)
    measured = evaluations(trainer)
    base = facts.base_model or trainer.base_model
    dataset = facts.dataset or source.repository
    repositories = dict.fromkeys(
        name for name in (dataset, source.repository, *(m.source.repository for m in measured)) if _is_dataset_id(name)
    )
    adapter = hasattr(trainer.accelerator.unwrap_model(trainer.model), "peft_config")
    tags = ["hf-ssl", "semi-supervised", trainer.algorithm_name, *(["peft"] if adapter else []), *facts.tags]
    name = facts.name or trainer.public_name.rpartition("/")[2]
    data = ModelCardData(
        language=facts.language,
        license=facts.license or (provenance.licence_of(base) if base else None),
        library_name="transformers",
        pipeline_tag=pipeline,
        base_model=base,
        base_model_relation=("adapter" if adapter else "finetune") if base else None,
        datasets=list(repositories) or None,
        metrics=_index_keys(measured[0]) if measured else None,
        tags=list(dict.fromkeys(tags)),
        model_name=name,
        eval_results=_eval_results(pipeline, dataset, measured) or None,
    )
    body = _body(trainer, facts, name, dataset, base, source, measured, curves)
    return ModelCard(f"---\n{data.to_yaml()}\n---\n\n{body}\n")


def with_repository(card: str, repo_id: str) -> str:
    """The card's text, its lines of code naming the repository that it is pushed to."""
    return _MODEL_LINE.sub(f'model = "{repo_id}"', card)


def _is_dataset_id(name: str | None) -> bool:
    return name is not None and re.fullmatch(r"[\w.-]+/[\w.-]+", name) is not None


def _index_keys(found: Evaluations) -> list[str]:
    """The metrics that the model-index has: those by which models are compared, or else all."""
    usual = [key for key in ("accuracy", "f1", "top5_accuracy") if key in found.saved]
    return usual or [key for key in found.saved if key not in ("step", "loss")]


def _eval_results(pipeline: str, dataset: str | None, measured: list[Evaluations]) -> list[EvalResult]:
    results = []
    for found in measured:
        repository = found.source.repository or dataset
        named = found.name or dataset or repository or "the evaluation dataset"
        for key in _index_keys(found):
            results.append(
                EvalResult(
                    task_type=pipeline,
                    dataset_type=repository if _is_dataset_id(repository) else "custom",
                    dataset_name=named,
                    dataset_config=found.source.config,
                    # Results of the same dataset and split would be taken for one.
                    dataset_split=found.name or found.source.split,
                    dataset_revision=found.source.revision,
                    metric_type=key,
                    metric_name=_METRICS.get(key, key),
                    metric_value=round(found.saved[key], 6),
                )
            )
    return results


def _body(
    trainer, facts: CardFacts, name: str, dataset: str | None, base: str | None, source, measured, curves: bool
) -> str:
    data, algorithm = trainer.data, trainer.algorithm
    model = trainer.accelerator.unwrap_model(trainer.model)
    adapter = hasattr(model, "peft_config")
    kind = type(model.get_base_model() if adapter else model).__name__
    start = f", which started from [{base}](https://huggingface.co/{base})," if base else ""
    where = f" on {_linked(dataset)}" if dataset else ""
    labeled, pool = len(trainer.train_dataset), len(trainer.unlabeled_dataset)
    parts = [
        f"# {name}",
        f"{'An adapter of `' + kind if adapter else '`' + kind}`{start} trained{where} with {labeled:,} labeled and "
        f"{pool:,} unlabeled examples by {algorithm.title or trainer.algorithm_name}, semi-supervised learning with `hf-ssl`. "
        f"It tells {len(data.label_names)} classes apart: {', '.join(data.label_names[:20])}"
        + (f" and {len(data.label_names) - 20} more." if len(data.label_names) > 20 else "."),
        "## Use",
        _use(data, trainer.public_name, adapter),
    ]
    if measured:
        parts += ["## Results", *_results(trainer, measured)]
    if curves:
        parts.append("![Accuracy and use of the pool over training](curves.png)")
    parts += ["## Training", _markdown(["", ""], _training(trainer, base, source, model))]
    parts.append("`ssl_config.json` holds all settings.")
    if facts.command:
        parts += ["## Repeat it", _repeat(facts.command)]
    limits = [
        "It knows only the classes above and answers with one of them for any input.",
        "With few labels the result depends on which examples were labeled; look at the spread over several draws before "
        "relying on one number.",
    ]
    if trainer.duplicates is not None and any(o.places and o.name != "labeled" for o in trainer.duplicates.overlaps):
        limits.append(
            "Some evaluation examples were in the training data, which flatters the results (see *duplicates*)."
        )
    citations = [algorithm.citation, USB_CITATION, _own_citation()]
    parts += ["## Limits", "\n".join(f"- {limit}" for limit in limits)]
    parts += ["## Citations", "```bibtex\n" + "\n".join(text for text in citations if text) + "\n```"]
    return "\n\n".join(parts)


def _linked(dataset: str) -> str:
    return f"[{dataset}](https://huggingface.co/datasets/{dataset})" if _is_dataset_id(dataset) else dataset


def _use(data, model: str, adapter: bool) -> str:
    pair = len(data.input_columns) == 2
    text = '{"text": "A text.", "text_pair": "Another text."}' if pair else '"A text to classify."'
    plain = '"A text.", "Another text."' if pair else text
    code = _ADAPTER_USE if adapter else _USE[data.modality]
    for name, value in {"TEXT": text, "PLAIN": plain, "MODEL": model}.items():
        code = code.replace(name, value)
    if adapter:
        kind, processor, given = _ADAPTERS[data.modality]
        code = code.replace("KIND", kind).replace("PROCESSOR", processor).replace("TASK", PIPELINES[data.modality])
        code = code.replace("GIVEN", given or text)
    return code


def _results(trainer, measured: list[Evaluations]) -> list[str]:
    parts = []
    by = trainer.args.metric_for_best_model or "accuracy"
    for found in measured:
        what = found.source.describe() or (f"`{found.name}`" if found.name else "the evaluation dataset")
        parts.append(f"On {what}" + (f" ({found.size:,} examples):" if found.size else ":"))
        keys = [key for key in found.saved if key not in ("step", "loss")] or ["loss"]
        best = f"best seen, chosen by {'accuracy' if 'accuracy' in found.best else by} on these same examples"
        rows = {"last": found.last, best: found.best}
        if _holds_best(trainer):
            rows = {
                "last": found.last,
                f"best, chosen by {by.removeprefix('eval_')} during training; this model": found.saved,
            }
        else:
            rows = {"last; this model": rows.pop("last"), **rows}
        table = [[title, f"{row['step']:,}", *(f"{row[key]:.4f}" for key in keys)] for title, row in rows.items()]
        baseline = trainer.baseline
        if baseline is not None and not found.name and "accuracy" in keys:
            cells = [f"{baseline['test_accuracy']:.4f}" if key == "accuracy" else "" for key in keys]
            table.append(["labeled examples alone (baseline), last", f"{baseline['steps']:,}", *cells])
        parts.append(_markdown(["weights", "step", *(_lowered(_METRICS.get(key, key)) for key in keys)], table))
    return parts


def _training(trainer, base: str | None, source, model) -> list[list[str]]:
    args, data, state = trainer.args, trainer.data, trainer.state
    facts = run_facts(trainer)
    values = trainer.algorithm.current_settings()
    settings = ", ".join(f"`{key}={value}`" for key, value in values.items()) or "no settings"
    facts["algorithm"] = (
        f"`{trainer.algorithm_name}` ({settings}), unsupervised loss times {args.unsupervised_weight:g}"
    )
    if args.unsupervised_warmup_steps:
        facts["algorithm"] += f" after a warm-up of {args.unsupervised_warmup_steps:,} steps"
    if state.global_step < state.max_steps:
        facts["steps"] += f"; {state.global_step:,} of them so far"
    if source.describe():
        facts["labeled"] += f"; {source.describe()}"
    if source.draw:
        facts["draw"] = source.draw
    runtime = next((row["train_runtime"] for row in reversed(state.log_history) if "train_runtime" in row), None)
    pool = provenance.source_of(trainer.unlabeled_dataset)
    if pool.describe():
        facts["unlabeled"] += f"; {pool.describe()}"
    facts |= {
        "labeled set": f"SHA-256 `{trainer.labeled_hash}`" if trainer.labeled_hash else "not hashed, as it is large",
        "weights": f"the moving average (decay {args.ema_decay})" if args.ema_evaluates else "those that were trained",
        "optimizer": f"{getattr(args.optim, 'value', args.optim)}, weight decay {args.weight_decay}, "
        f"gradient norm at most {args.max_grad_norm}",
        "seed": str(args.seed) + ("" if args.data_seed is None else f", data {args.data_seed}"),
        "parameters": f"{count_trainable(model):,} trainable",
        "started from": base or "a model that is not on the Hub",
        "hardware": provenance.hardware(args),
        "versions": ", ".join(f"{key} {value}" for key, value in versions().items()),
    }
    if runtime is not None:
        facts["time"] = f"{runtime:,.0f} s"
    if data.modality == "text" and args.max_length:
        facts["tokens"] = f"{args.max_length} at most"
    return [[key, value.replace("|", "\\|").replace("\n", " ")] for key, value in facts.items()]


def _lowered(name: str) -> str:
    """ "Macro F1" as "macro F1"."""
    return name[:1].lower() + name[1:]


def _repeat(command: str) -> str:
    return (
        f'```sh\npip install "hf-ssl[all]=={__version__}"\n{command}\n```\n\n'
        "The labeled set above tells whether the same examples were labeled. Local data and models go by their names alone."
    )


def _own_citation() -> str:
    return (
        f"@software{{hf_ssl,\n  title = {{hf-ssl: semi-supervised classification for transformers}},\n"
        f"  author = {{{{The hf-ssl contributors}}}},\n  version = {{{__version__}}},\n  year = {{2026}}\n}}"
    )


def _markdown(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)

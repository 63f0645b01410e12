"""The model card, written from the run."""

from pathlib import Path

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from .models import count_trainable
from .optimization import describe_learning_rate
from .report import settings_of, versions

PIPELINES = {"image": "image-classification", "text": "text-classification", "audio": "audio-classification"}
EXAMPLE_INPUTS = {"image": "photo.jpg", "text": "A text to classify.", "audio": "recording.wav"}
USB_CITATION = """@inproceedings{wang2022usb,
  title = {{USB}: A Unified Semi-supervised Learning Benchmark for Classification},
  author = {Wang, Yidong and Chen, Hao and Fan, Yue and Sun, Wang and Tao, Ran and Hou, Wenxin and others},
  booktitle = {Advances in Neural Information Processing Systems, Datasets and Benchmarks Track},
  year = {2022}
}"""


def evaluation_rows(history: list[dict]) -> tuple[dict | None, dict | None]:
    """The last and the most accurate evaluation in a `log_history`, or (None, None)."""
    rows = [row for row in history if "eval_accuracy" in row]
    return (rows[-1], max(rows, key=lambda row: row["eval_accuracy"])) if rows else (None, None)


def model_card(trainer, *, name: str, dataset: str | None, license: str | None, base_model: str | None, tags) -> ModelCard:
    """The card of the trainer's model: metadata, how it was trained, results, use, limits and citations.

    Args:
        trainer: an `SSLTrainer`.
        name: title of the card.
        dataset: what the labeled examples are, in words or as a Hub id; "a dataset" when None.
        license, base_model: for the metadata, where known.
        tags: more tags than those that every model of this package has.
    """
    pipeline = PIPELINES[trainer.data.modality]
    last, best = evaluation_rows(trainer.state.log_history)
    results = []
    if last is not None:
        named = {key.removeprefix("eval_"): value for key, value in last.items() if key.startswith("eval_")}
        results = [
            EvalResult(
                task_type=pipeline,
                dataset_type=dataset if dataset and " " not in dataset else "custom",
                dataset_name=dataset or "evaluation dataset",
                metric_type=metric,
                metric_value=round(named[metric], 6),
            )
            for metric in ("accuracy", "f1")
        ]
    data = ModelCardData(
        library_name="transformers",
        pipeline_tag=pipeline,
        license=license,
        base_model=base_model,
        tags=list(dict.fromkeys(["hf-ssl", "semi-supervised", trainer.algorithm_name, *tags])),
        model_name=name,
        eval_results=results or None,
    )
    return ModelCard(f"---\n{data.to_yaml()}\n---\n\n{_body(trainer, name, dataset, pipeline, last, best)}\n")


def _body(trainer, name, dataset, pipeline, last, best) -> str:
    args, data, algorithm = trainer.args, trainer.data, trainer.algorithm
    source = dataset or "a dataset"
    settings = ", ".join(f"`{key}={value}`" for key, value in settings_of(algorithm).items()) or "no settings"
    batch = args.per_device_train_batch_size * args.gradient_accumulation_steps * args.world_size
    weights = f"their moving average (decay {args.ema_decay})" if args.ema_evaluates else "the last step's"
    trained = [
        ["algorithm", f"{algorithm.title or trainer.algorithm_name} ({settings})"],
        ["labeled examples", f"{len(trainer.train_dataset):,} in {len(data.label_names)} classes"],
        ["unlabeled pool", f"{len(trainer.unlabeled_dataset):,} examples"],
        ["steps", f"{trainer.state.global_step:,} of {batch} labeled + {batch * args.unlabeled_batch_ratio} unlabeled"],
        ["learning rate", f"{describe_learning_rate(args, trainer.state.max_steps)}, weight decay {args.weight_decay}"],
        ["weights", weights],
        ["seed", str(args.seed)],
        ["parameters", f"{count_trainable(trainer.model):,} trainable"],
        ["versions", ", ".join(f"{key} {value}" for key, value in versions().items())],
    ]
    parts = [
        f"# {name}",
        f"`{type(trainer.accelerator.unwrap_model(trainer.model)).__name__}`, trained on {source} by semi-supervised learning "
        f"with `hf-ssl`. It tells {len(data.label_names)} classes apart: {', '.join(data.label_names[:20])}"
        + (" and more." if len(data.label_names) > 20 else "."),
        "## Use",
        f'```python\nfrom transformers import pipeline\n\nclassifier = pipeline("{pipeline}", "MODEL")  # this repository\'s '
        f'id or folder\nclassifier("{EXAMPLE_INPUTS[data.modality]}")\n```',
        "## Training",
        _markdown(["", ""], trained),
    ]
    if last is not None:
        rows = [["last weights (this model)", f"{last['step']:,}", f"{last['eval_accuracy']:.4f}", f"{last['eval_f1']:.4f}"]]
        rows.append(
            [
                "best seen, chosen on this same split",
                f"{best['step']:,}",
                f"{best['eval_accuracy']:.4f}",
                f"{best['eval_f1']:.4f}",
            ]
        )
        baseline = getattr(trainer, "baseline", None)
        if baseline is not None:
            rows.append(
                ["labeled-only baseline, last weights", f"{baseline['steps']:,}", f"{baseline['test_accuracy']:.4f}", ""]
            )
        parts += ["## Results", "On the evaluation split:", _markdown(["", "step", "accuracy", "macro F1"], rows)]
        if Path(args.output_dir, "curves.png").is_file():
            parts.append("![Accuracy, mask ratio and pseudo-label accuracy over training](curves.png)")
    parts += [
        "## Limits",
        "The model knows only the classes above and answers with one of them for any input. With few labels the result depends "
        "on which examples were labeled; look at the spread over several draws before relying on a single number.",
        "## Citations",
        "```bibtex\n" + "\n".join(c for c in (algorithm.citation, USB_CITATION) if c) + "\n```",
    ]
    return "\n\n".join(parts)


def _markdown(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)

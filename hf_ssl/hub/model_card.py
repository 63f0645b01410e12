"""The model card, written from the run: nothing in it is left to fill in.

The text is in model_card_template.md, a Markdown file with Jinja's placeholders; this module computes their values.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, ModelCardData

from .._version import __version__
from ..modality import MODALITIES
from ..report.markdown import cell, code, fence, plain
from ..report.measures import MEASURES
from ..report.results import versions
from ..report.run import RunFacts, run_rows
from ..report.stages import stages_table
from ..report.tables import markdown_table
from . import provenance
from .card_facts import CardFacts, ModelFacts
from .card_kinds import CARD_KINDS, answer_lines, notes, pipeline_options
from .evaluations import (
    Evaluations,
    eval_results,
    evaluations,
    index_types,
    number_table,
    result_table,
    trained_on_evaluation,
)

TEMPLATE = Path(__file__).with_name("model_card_template.md")

USB_CITATION = """@inproceedings{wang2022usb,
  title = {{USB}: A Unified Semi-supervised Learning Benchmark for Classification},
  author = {Wang, Yidong and Chen, Hao and Fan, Yue and Sun, Wang and Tao, Ran and Hou, Wenxin and others},
  booktitle = {Advances in Neural Information Processing Systems, Datasets and Benchmarks Track},
  year = {2022}
}"""
PACKAGE_CITATION = f"""@software{{hf_ssl,
  title = {{hf-ssl: semi-supervised classification for transformers}},
  author = {{{{The hf-ssl contributors}}}},
  version = {{{__version__}}},
  year = {{2026}}
}}"""


def model_card(run: RunFacts, model: ModelFacts, card: CardFacts) -> ModelCard:
    """The card of a model: metadata, use, results, how it was trained, limits and citations.

    Args:
        run: how it was trained; before, during or after the training.
        model: what it is, and where it and its data come from.
        card: what only a person knows; it wins over what was found.

    Example:
        `trainer.create_model_card()` writes the card of its run. The same from facts that are written by hand:

        >>> import numpy as np
        >>> from transformers import TrainerState
        >>> from hf_ssl import SSLConfig, get_algorithm
        >>> from hf_ssl.data.columns import DataSummary
        >>> from hf_ssl.data.labels import Classes
        >>> sizes = dict(num_labeled=2, num_unlabeled=9, feature_size=8, labeled_batch_size=2, unlabeled_batch_size=2)
        >>> classes = Classes(["cat", "dog"], {"cat": 0, "dog": 1}, named=True)
        >>> run = RunFacts(
        ...     SSLConfig("pets", max_steps=9),
        ...     TrainerState(max_steps=9, global_step=9, log_history=[{"eval_accuracy": 0.9, "step": 9}]),
        ...     DataSummary("image", ("image",), "label", classes, np.array([0, 1])),
        ...     get_algorithm("fixmatch", num_classes=2, **sizes),
        ...     "fixmatch", num_labeled=2, num_unlabeled=9, hidden_labels=False, evaluation_sizes={"": 50}, views={},
        ... )
        >>> model = ModelFacts("someone/pets", "ViTForImageClassification", trainable=85_800_194)
        >>> card = model_card(run, model, CardFacts(license="mit"))
        >>> card.data.license, card.data.eval_results[0].metric_value
        ('mit', 0.9)
    """
    measured = evaluations(run, model.evaluation)
    base = card.base_model or model.base_model
    dataset = card.dataset or model.labeled.repository
    title = card.name or model.public_name.rpartition("/")[2]
    return ModelCard.from_template(
        _metadata(run, model, card, measured, base, dataset, title),
        template_path=str(TEMPLATE),
        title=plain(title),
        base_model=_linked(base, "") if base else None,
        dataset=_linked(dataset, "datasets/") if dataset else None,
        architecture=code(model.architecture),
        adapter=model.adapter,
        num_labeled=f"{run.num_labeled:,}",
        num_unlabeled="a stream of" if run.num_unlabeled is None else f"{run.num_unlabeled:,}",
        method=plain(run.algorithm.title or run.algorithm_name),
        learned=CARD_KINDS[run.data.problem_type].learned(run.data.label_names),
        limit=CARD_KINDS[run.data.problem_type].limit,
        measure=MEASURES[run.data.problem_type].title.capitalize(),
        results=[
            {
                "where": _where(found),
                "table": result_table(run, found, model.baseline),
                "numbers": number_table(run, found),
            }
            for found in measured
        ],
        curves=model.curves,
        class_recalls=model.class_recalls,
        foreignness=run.open_set is not None,
        stages=stages_table(card.stages, markdown=True) if card.stages else None,
        estimated=any("estimate" in row for row in card.stages),
        verdict=card.verdict,
        calibration=card.calibration,
        training=markdown_table(["", ""], _training(run, model, base)),
        command=card.command,
        command_fence=fence(card.command or ""),
        version=__version__,
        trained_on_evaluation=trained_on_evaluation(run),
        citations="\n".join(
            filter(None, [run.algorithm.citation, run.algorithm.correction.citation, USB_CITATION, PACKAGE_CITATION])
        ),
        citations_fence=fence(run.algorithm.citation),
        **_use(run, model),
    )


def _metadata(
    run: RunFacts,
    model: ModelFacts,
    card: CardFacts,
    measured: Sequence[Evaluations],
    base: str | None,
    dataset: str | None,
    title: str,
) -> ModelCardData:
    """The card's YAML, by which the Hub finds and shows the model."""
    task = MODALITIES[run.data.modality].pipeline
    named = [dataset, model.labeled.repository, *(found.source.repository for found in measured)]
    repositories = list(dict.fromkeys(name for name in named if name and provenance.is_dataset_id(name)))
    imbalance = ["imbalanced", run.imbalance] if run.imbalance is not None else []
    adapter = ["peft"] if model.adapter else []
    kind = CARD_KINDS[run.data.problem_type].tag
    tags = ["hf-ssl", "semi-supervised", *([kind] if kind else []), run.algorithm_name]
    tags += [*imbalance, *adapter, *card.tags]
    return ModelCardData(
        language=card.language,
        license=card.license or (provenance.license_of(base) if base else None),
        library_name="transformers",
        pipeline_tag=task,
        base_model=base,
        base_model_relation=("adapter" if model.adapter else "finetune") if base else None,
        datasets=repositories or None,
        metrics=index_types(measured[0]) if measured else None,
        tags=list(dict.fromkeys(tags)),
        model_name=title,
        eval_results=eval_results(task, dataset, measured) or None,
    )


def _use(run: RunFacts, model: ModelFacts) -> dict[str, Any]:
    """The values in the card's lines of code."""
    row, kind, names = MODALITIES[run.data.modality], run.data.problem_type, run.data.label_names
    deviations = run.algorithm.log_variance_layer() is not None
    pair = len(run.data.input_columns) == 2
    example = '{"text": "A text.", "text_pair": "Another text."}' if pair else f'"{row.example}"'
    return {
        "modality": row.name,
        "task": row.pipeline,
        "auto_model": row.auto_model,
        "processor_part": row.processor_part,
        "answer": answer_lines(kind, model.label_thresholds is not None),
        "options": pipeline_options(kind, len(names)),
        "notes": notes(kind, names, model.label_thresholds, are_measured=run.is_fitted, has_deviations=deviations),
        # Within quotes of Python, which are those of JSON.
        "public_name": json.dumps(model.public_name)[1:-1],
        "example": example,
        # A tokenizer takes the two texts of a pair one after the other.
        "example_arguments": '"A text.", "Another text."' if pair else example,
    }


def _linked(name: str, kind: str) -> str:
    """The name of a model (kind "") or dataset ("datasets/"), as a link if it is a Hub id."""
    is_id = provenance.is_dataset_id(name) or (not kind and provenance.is_public_id(name))
    return f"[{plain(name)}](https://huggingface.co/{kind}{name})" if is_id else plain(name)


def _where(found: Evaluations) -> str:
    name = found.source.describe() or (code(found.name) if found.name else "the evaluation dataset")
    return name + (f" ({found.size:,} examples)" if found.size else "")


def _training(run: RunFacts, model: ModelFacts, base: str | None) -> list[list[str]]:
    """The rows of the table on how the model was trained."""
    args, rows = run.args, {name: plain(text) for name, text in run_rows(run).items()}
    rows["algorithm"] = plain(run.algorithm.title) if run.is_fitted else _algorithm(run)
    if not run.is_fitted and run.state.global_step < run.state.max_steps:
        rows["steps"] += f"; {run.state.global_step:,} of them so far"
    for name, source in (("labeled", model.labeled), ("unlabeled", model.unlabeled)):
        if source.describe():
            rows[name] += f"; {source.describe()}"
    if model.labeled.draw:
        rows["draw"] = model.labeled.draw
    rows |= {
        "labeled set": f"SHA-256 `{model.labeled_hash}`" if model.labeled_hash else "too large to be hashed",
        "seed": str(args.seed) + ("" if args.data_seed is None else f", data {args.data_seed}"),
        "parameters": f"{model.trainable:,} trainable",
        "started from": plain(base or "a model that is not on the Hub"),
        "hardware": plain(model.hardware),
        "versions": ", ".join(f"{key} {value}" for key, value in versions().items()),
    }
    if not run.is_fitted:
        rows["weights"] = f"the moving average (decay {args.ema_decay})" if args.ema_evaluates else "the trained ones"
        rows["optimizer"] = (
            f"{getattr(args.optim, 'value', args.optim)}, weight decay {args.weight_decay}, gradient norm at most "
            f"{args.max_grad_norm}"
        )
    if (runtime := run.last("train_runtime")) is not None:
        rows["time"] = f"{runtime:,.0f} s"
    if run.data.modality == "text" and args.max_length:
        rows["tokens"] = f"at most {args.max_length}"
    return [[plain(key), cell(value)] for key, value in rows.items()]


def _algorithm(run: RunFacts) -> str:
    settings = ", ".join(code(f"{key}={value}") for key, value in run.settings.items()) or "no settings"
    text = f"{code(run.algorithm_name)} ({settings}), unsupervised loss times {run.args.unsupervised_weight:g}"
    warmup = run.args.unsupervised_warmup_steps
    return text + (f" after a warm-up of {warmup:,} steps" if warmup else "")

"""The trainings of `hf-ssl train`: on the labeled examples alone (--baseline), then with the algorithm."""

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from transformers import set_seed

from ..config import SSLConfig
from ..documents import read_json
from ..hub.card_facts import CardFacts
from ..model.loading import load_classifier, load_processor
from ..model.lora import with_lora
from ..report.measures import MEASURES, tested
from ..report.results import result_of
from ..trainer import SSLTrainer
from ..training.pool_changes import CountChanges
from ..training.progress_callback import SSLProgressCallback
from .pretrained import check_modality, classified_by
from .repeat import repeat_command
from .train_data import TrainData, load_train_data
from .train_options import TrainArguments

# Baselines by the name of their rows, and their folders in that of the run.
BASELINES = {"supervised": "baseline", "supervised_lora": "baseline/lora"}
# What a role of the moving average becomes in the baseline, which has no teacher.
_BASELINE_ROLES = {"teacher": "none", "both": "evaluation"}


@dataclass(frozen=True)
class Request:
    """Everything that the trainings of one command share.

    Args:
        arguments: the command's own arguments.
        settings: keywords of SSLConfig.
        data: the datasets.
        processor: the model's tokenizer, image processor or feature extractor.
    """

    arguments: TrainArguments
    settings: dict[str, Any]
    data: TrainData
    processor: Any

    @cached_property
    def config(self) -> SSLConfig:
        """The settings of the algorithm's training."""
        # Copied, because SSLConfig fills in and changes what it is given.
        return SSLConfig(**copy.deepcopy(self.settings))

    @property
    def is_main(self) -> bool:
        """Whether this process prints and writes, the only one of several that do the same training."""
        return self.config.process_index == 0

    @property
    def command(self) -> str:
        """The command line that repeats the run."""
        return repeat_command(self.arguments, self.settings, self.config.world_size)


def prepare(arguments: TrainArguments, settings: dict[str, Any]) -> Request:
    """Load processor and data, and check that they go with the model.

    Raises:
        ValueError, OSError: in one line, if something is missing or does not fit together.
    """
    able = classified_by(arguments.model)
    processor = load_processor(arguments.model, able[0]) if len(able) == 1 else None
    data = load_train_data(arguments, settings, able[0] if len(able) == 1 else None, processor)
    modality = data.summary.modality
    if processor is None:
        check_modality(arguments.model, able, modality)
        processor = load_processor(arguments.model, modality)
    if data.test is None:
        settings = {**settings, "eval_strategy": "no"}
    return Request(arguments, settings, data, processor)


def train_baseline(
    request: Request, settings: dict[str, Any], *, lora: bool = False
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Train on the labeled examples alone with the same settings; with --resume, read an earlier such training back.

    Args:
        settings: keywords of SSLConfig, those of the training that it is compared with.
        lora: train adapters and the head instead of all weights.

    Returns:
        the row for `results.json`, and the log.

    Raises:
        ValueError: if the model has no layers for adapters.
    """
    folder, name = Path(settings["output_dir"]), "supervised_lora" if lora else "supervised"
    own = folder / BASELINES[name]
    if request.arguments.resume and (earlier := earlier_baseline(folder, name, settings["seed"])):
        return earlier
    role = _BASELINE_ROLES.get(settings["ema_role"], settings["ema_role"])
    changed = {"algorithm": "supervised", "algorithm_kwargs": None, "ema_role": role}
    # Corrections are of the algorithm: the baseline is what labels alone give, as they are.
    changed |= {"imbalance": None, "imbalance_kwargs": None, "open_set": None}
    changed |= {"output_dir": str(own), "save_strategy": "no"}
    changed |= {"load_best_model_at_end": False, "push_to_hub": False}
    config = SSLConfig(**copy.deepcopy({**settings, **changed}))
    stage = f"baseline{' with LoRA' if lora else ''}"
    if request.is_main:
        print(f"\nLabeled-only {stage}:", flush=True)
    trainer, row = _train(request, config, change_model=with_lora if lora else None, stage=stage)
    trainer.save_state()
    return {**row, "algorithm": name}, trainer.state.log_history


def earlier_baseline(folder: Path, name: str, seed: int) -> tuple[dict[str, Any], list[dict[str, Any]]] | None:
    """The row of `results.json` and the log of a baseline that an earlier run in `folder` finished; None without one.

    Args:
        name: one of `BASELINES`.
    """
    try:
        runs = read_json(folder / "results.json")["runs"]
        state = read_json(folder / BASELINES[name] / "trainer_state.json")
        row = next(row for row in runs if row["algorithm"] == name and row["seed"] == seed)
    except (OSError, ValueError, KeyError, TypeError, StopIteration):
        return None
    return row, state.get("log_history", [])


def train_algorithm(request: Request, earlier: Sequence[dict[str, Any]]) -> tuple[SSLTrainer, dict[str, Any]]:
    """Train with the algorithm; with --resume, from the last checkpoint.

    Args:
        earlier: rows of `results.json`: none, or that of the baseline, which the card then compares with.

    Returns:
        the trainer, and the row for `results.json`.
    """
    baseline = earlier[0] if earlier and tested(earlier[0]) is not None else None
    return _train(request, request.config, request.settings["resume_from_checkpoint"], card_facts(request), baseline)


def card_facts(request: Request) -> CardFacts:
    """What the card says and the trainer cannot know."""
    return CardFacts(dataset=request.data.hub_id or request.arguments.task, command=request.command)


def _train(
    request: Request,
    config: SSLConfig,
    checkpoint: str | None = None,
    facts: CardFacts | None = None,
    baseline: dict[str, Any] | None = None,
    change_model: Callable[[Any], Any] | None = None,
    stage: str | None = None,
) -> tuple[SSLTrainer, dict[str, Any]]:
    data = request.data
    # The head starts from the same random weights in the baseline and in the run it is compared with.
    set_seed(config.seed)
    model = load_classifier(request.arguments.model, data.summary)
    model = model if change_model is None else change_model(model)
    trainer = SSLTrainer(
        model,
        config,
        train_dataset=data.labeled,
        unlabeled_dataset=data.unlabeled,
        eval_dataset=data.test,
        processing_class=request.processor,
        callbacks=[SSLProgressCallback(stage)],
    )
    trainer.card, trainer.baseline = facts or trainer.card, baseline
    trainer.add_callback(CountChanges(trainer))
    start = time.perf_counter()
    trainer.train(resume_from_checkpoint=checkpoint)
    measured = f"eval_{MEASURES[data.summary.problem_type].name}"
    last = next((row["step"] for row in reversed(trainer.state.log_history) if measured in row), None)
    if data.test is not None and last != trainer.state.global_step:
        trainer.evaluate()
    return trainer, result_of(trainer.run_facts(), time.perf_counter() - start)

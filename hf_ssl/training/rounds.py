"""The part of SSLTrainer that trains in rounds: train, pick examples of the pool, train again with them as labels.

    step      0 ------------------ s ------------------ 2s ------------------ max_steps
    labeled   the given examples   given and picked      given and picked again
    saved                          checkpoint-s          checkpoint-2s        the model

`InRounds` says how many rounds there are and what is picked; here they are trained. A round ends with a checkpoint.
The next one begins there, in the same process or in another: the model of the checkpoint predicts the pool, examples
are picked, and training goes on, either as it is resumed from any checkpoint (`restarts` is False), or with the
weights of the start, a new optimizer and schedule, and a new algorithm. A checkpoint holds what was picked for its
round, so that a run that was killed at any moment goes on in the right round and step, bit for bit.

    rounds/start/                the weights that every round starts with, if it restarts
    rounds/round-2.json          what was picked for the second round, for people to read
    checkpoint-*/ssl_round.*     the same for the trainer
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers.integrations.neftune import deactivate_neftune
from transformers.trainer_utils import IntervalStrategy, SaveStrategy
from transformers.utils import logging

from ..algorithms import Progress, SSLAlgorithm
from ..algorithms.rounds import InRounds, Picks
from ..batches.lengths import TextLengths
from ..config import SSLConfig
from ..data.columns import DataSummary, processor_for
from ..data.labels import shortened
from ..data.picked import LabeledAndPicked, PickedLengths
from ..files import atomic_files, atomic_write
from ..views import Views
from . import checkpoint_files
from .algorithm import Choice
from .evaluation import EvaluationMixin
from .pool_predictions import UNREADABLE, predict_pool

logger = logging.get_logger(__name__)

FOLDER = "rounds"
_NOTHING = Picks(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))


@dataclass(frozen=True)
class Round:
    """Where a training in rounds is.

    Args:
        number: of the round, from 0.
        picks: what joins the given labels in it.
        begins: whether its first step is still to come.
        max_steps: steps of all rounds, in the training that left the checkpoint; 0 if there is none.
    """

    number: int = 0
    picks: Picks = _NOTHING
    begins: bool = True
    max_steps: int = 0


def rounds_of(algorithm: SSLAlgorithm) -> InRounds | None:
    """The algorithm, or its correction, if it asks for several rounds."""
    for part in (algorithm, algorithm.correction):
        if isinstance(part, InRounds) and part.rounds > 1:
            return part
    return None


class RoundsMixin(EvaluationMixin):
    """A `Trainer` that trains one round after the other, if the algorithm or its correction is `InRounds`.

    The class that mixes it in calls `end_round` after each step.

    Attributes:
        args, algorithm, data, views: of the training.
        train_dataset, unlabeled_dataset: the given labels and the pool, prepared; neither is ever changed.
    """

    args: SSLConfig
    model: nn.Module
    algorithm: SSLAlgorithm
    _trained_with: str
    data: DataSummary
    views: Views
    train_dataset: Any
    unlabeled_dataset: Any
    watch: Any
    _algorithm_choice: Choice
    _has_pool: bool
    foreign_rows: np.ndarray
    _resumed: checkpoint_files.RunSums | None
    _round = Round()

    def _make_algorithm(self) -> SSLAlgorithm:
        raise NotImplementedError

    # ---- What a round is ----

    @property
    def _plan(self) -> InRounds | None:
        """What asks for rounds; None in a training in one go, and in a trainer that only evaluates."""
        algorithm = vars(self).get("algorithm")
        return None if algorithm is None else rounds_of(algorithm)

    @property
    def _joining(self) -> Picks:
        """What was picked for the round and joins the given labels."""
        plan = self._plan
        return _NOTHING if plan is None or plan.labels_pool else self._round.picks

    @property
    def labeled_of_round(self) -> Any:
        """The labeled examples of the round: the given ones, and those that were picked and join them."""
        picks = self._joining
        if not len(picks):
            return self.train_dataset
        parts = self.train_dataset, self.unlabeled_dataset
        return LabeledAndPicked(*parts, picks.index, picks.labels, self.data.label_column)

    @property
    def labels_of_round(self) -> np.ndarray:
        """Their classes [L + K]."""
        return np.concatenate([self.data.drawn_by, self._joining.labels])

    @property
    def _num_labeled(self) -> int:
        """Labeled examples that the algorithm knows of; if training goes on, its memories have those of the start."""
        plan = self._plan
        added = len(self._joining) if plan is not None and plan.restarts else 0
        return len(self.train_dataset) + added

    def _lengths(self) -> tuple[Any, TextLengths] | None:
        """The lengths of the labeled and the unlabeled texts, if batches are grouped by length."""
        if self.args.train_sampling_strategy != "group_by_length":
            return None
        tokenizer = processor_for(self.processing_class, "text")
        given = self.data, self.args.length_column_name, tokenizer
        labeled, pool = TextLengths(self.train_dataset, *given), TextLengths(self.unlabeled_dataset, *given)
        index = self._joining.index
        return PickedLengths(labeled, pool, index, len(self.train_dataset)) if len(index) else labeled, pool

    def _bounds(self, max_steps: int) -> tuple[int, int]:
        """The first step of the round, and the one after its last."""
        plan = self._plan
        count, number = (1, 0) if plan is None else (plan.rounds, self._round.number)
        return max_steps * number // count, max_steps * (number + 1) // count

    @property
    def progress(self) -> Progress:
        """Where training is, in optimizer steps, or its round, if each starts from scratch."""
        step, most, plan = self.state.global_step, self.state.max_steps, self._plan
        if plan is not None and plan.restarts:
            first, end = self._bounds(most)
            step, most = step - first, end - first
        warmup = self.args.unsupervised_warmup_steps
        ramp = min(step / warmup, 1.0) if warmup else 1.0
        return Progress.in_run(step, most, self.data.modality, ramp)

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in the unit of published schedules, a share of the run: `Progress.steps_per_epoch`."""
        return self.progress.steps_per_epoch

    @property
    def _is_over(self) -> bool:
        """Whether the last step of a round was done, and another round follows."""
        plan = self._plan
        if plan is None or self._round.number == plan.rounds - 1:
            return False
        return self.state.global_step == self._bounds(self.state.max_steps)[1]

    @property
    def begins_later_round(self) -> bool:
        """Whether the next step is the first one of a round, but not of the training."""
        return self._round.begins and self._round.number > 0

    @property
    def _restarts_now(self) -> bool:
        return self._plan is not None and self._plan.restarts and self.begins_later_round

    def describe_rounds(self) -> str | None:
        """The rounds in words; None if there is only one."""
        plan = self._plan
        if plan is None:
            return None
        how = "each from the model of the start, with its own schedules" if plan.restarts else "one after the other"
        now = ""
        if self._round.number:
            given, picks = len(self.train_dataset), self._round.picks
            counts = zip(self.data.label_names, picks.counts(len(self.data.label_names)), strict=True)
            per_class = shortened([f"{name} {count:,}" for name, count in counts])
            now = f"; number {self._round.number + 1} has {given:,} labels and {len(picks):,} picked ({per_class})"
        return f"{plan.rounds} in these steps, {how}{now}"

    # ---- One after the other ----

    def train(
        self, resume_from_checkpoint: str | bool | None = None, trial: Any = None, *args: Any, **kwargs: Any
    ) -> Any:
        """As in Trainer; all rounds of what is trained in rounds.

        Raises:
            ValueError: if settings do not go with rounds; one line says which.
        """
        if self._plan is not None:
            self._check_settings(self._plan, trial)
        output = super().train(resume_from_checkpoint, trial, *args, **kwargs)
        while output is None:
            checkpoint = Path(self._get_output_dir(trial), f"checkpoint-{self.state.global_step}")
            output = super().train(str(checkpoint), trial, *args, **kwargs)
        return output

    def _check_settings(self, plan: InRounds, trial: Any) -> None:
        args = self.args
        name = getattr(plan, "title", "") or type(plan).__name__
        problem = None
        if not self._has_pool:
            problem = f"unlabeled_dataset must be given for {name}, which picks examples of it, got None; give a pool"
        elif args.save_only_model:
            problem = (
                f"save_only_model must be off with {name}, whose rounds begin with checkpoints, got True; turn it off"
            )
        elif args.save_strategy == SaveStrategy.BEST:
            problem = f"save_strategy must not be 'best' with {name}, whose rounds end with checkpoints; set 'steps'"
        elif trial is not None:
            problem = f"{name} cannot be part of a search, whose trials are one training each; train without a search"
        elif plan.restarts and isinstance(self._algorithm_choice, SSLAlgorithm):
            problem = f"the algorithm must not be an object with {name}, which makes it again; give its class"
        elif plan.restarts and self.optimizer is not None and not (self._round.number or self.state.global_step):
            problem = f"optimizers must be left out with {name}, whose rounds make new ones, got one; leave it out"
        if problem is not None:
            raise ValueError(problem)

    def _begin_sitting(self, checkpoint: str | None) -> None:
        """Find out which round is trained next, before Trainer begins or resumes."""
        before, self._round = self._round, Round()
        plan = self._plan
        if plan is None:
            return
        if checkpoint is not None:
            self._round = self._next_round(checkpoint, plan)
        elif self.args.should_save:
            for table in Path(self.args.output_dir, FOLDER).glob("round-*.json"):
                table.unlink()  # of another training
        if plan.restarts and (self._round.number or before.number):
            # Its memories have the size of the labeled set.
            self.algorithm = self.watch.algorithm = self._make_algorithm()
            self.optimizer = None
        else:
            plan.begin_round(self._round.number, self._round.picks)

    def _in_round(self, algorithm: SSLAlgorithm) -> SSLAlgorithm:
        """A new algorithm, which is told the round."""
        if (plan := rounds_of(algorithm)) is not None:
            plan.begin_round(self._round.number, self._round.picks)
        return algorithm

    def _next_round(self, checkpoint: str, plan: InRounds) -> Round:
        """That of the checkpoint or, if it is the last of its round, the one after, with what is picked for it."""
        saved, done = load_round(checkpoint, self._trained_with, plan.rounds)
        if plan.restarts and saved.number < plan.rounds - 1:
            self._find_start(checkpoint)
        if not done:
            return saved
        self._round = saved
        picks, confidence = self._pick(checkpoint, plan)
        following = Round(saved.number + 1, picks, max_steps=saved.max_steps)
        if self.args.should_save:
            path = Path(self.args.output_dir, FOLDER, f"round-{following.number + 1}.json")
            write_picks(path, picks, confidence, self.data.label_names)
            if not len(picks):
                logger.warning(
                    f"nothing of the pool is picked for round {following.number + 1} of {plan.rounds}, which has the "
                    "labels alone: the model of the last round is not sure enough; train longer, or pick with a lower "
                    "threshold"
                )
        return following

    def _pick(self, checkpoint: str, plan: InRounds) -> tuple[Picks, np.ndarray]:
        """What the model of a checkpoint picks, the same in every process, and how sure it is of each."""
        best, self.state.best_model_checkpoint = self.state.best_model_checkpoint, checkpoint
        try:
            # What was saved are the weights that answer. Training loads those that are trained.
            self._load_best_model()
        finally:
            self.state.best_model_checkpoint = best
        model = self.accelerator.unwrap_model(self.model)
        model.eval()

        def scores(keywords: dict[str, Any]) -> torch.Tensor:
            answers = self._scores(self.model, keywords, None)
            return answers[0] if isinstance(answers, tuple) else answers

        classes, confidence = predict_pool(scores, self.unlabeled_dataset, self.views, self.args)
        readable = np.setdiff1d(np.flatnonzero(classes != UNREADABLE), self.foreign_rows)
        counts = np.bincount(self.labels_of_round, minlength=len(self.data.label_names))
        picks = plan.pick(classes[readable], confidence[readable], self._round.number + 1, counts)
        index = readable[picks.index]
        return Picks(index, picks.labels), confidence[index]

    def end_round(self, control: Any) -> None:
        """After a step: if it was the last of a round and another one follows, evaluate, save and let Trainer stop."""
        if self._is_over:
            control.should_evaluate = self.args.eval_strategy != IntervalStrategy.NO
            control.should_save = control.should_training_stop = True

    def stay_at_checkpoint(self, control: Any) -> None:
        """When Trainer takes that for the end of an epoch: what came after the checkpoint would be lost."""
        if self._is_over:
            control.should_evaluate = control.should_save = control.should_log = False

    def _finalize_training(self, trial: Any, num_train_samples: int, start_time: float) -> Any:
        """As in Trainer, when the last round is done; None after the others."""
        if not self._is_over:
            return super()._finalize_training(trial, num_train_samples, start_time)
        if self.neftune_noise_alpha is not None:
            deactivate_neftune(self.model, self.neftune_hook_handle, self.accelerator)
        return None

    # ---- What a round begins with ----

    def create_scheduler(self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None) -> Any:
        """As in Trainer, for the steps of one round if each starts from scratch; the first one keeps its start."""
        plan = self._plan
        if plan is not None:
            self._check_steps(plan, num_training_steps)
        if plan is not None and plan.restarts:
            if self._round.begins and self._round.number == 0:
                self._save_start()
            first, end = self._bounds(num_training_steps)
            num_training_steps = end - first
        return super().create_scheduler(num_training_steps, optimizer)

    def _check_steps(self, plan: InRounds, max_steps: int) -> None:
        if max_steps < plan.rounds:
            raise ValueError(
                f"max_steps must be at least {plan.rounds}, one for each round, got {max_steps}; train longer, or in "
                "fewer rounds"
            )
        if self._round.max_steps not in (0, max_steps):
            raise ValueError(
                f"max_steps must be {self._round.max_steps} as before, got {max_steps}: rounds end at parts of it; "
                "resume with the same number, or start in another output_dir"
            )

    @property
    def _start_folder(self) -> Path:
        return Path(self.args.output_dir, FOLDER, "start")

    def _save_start(self) -> None:
        student, write = self.accelerator.unwrap_model(self.model), self.args.should_save
        if not write:
            checkpoint_files.save_student("", student, self._trained_with, write=False)
            return
        with atomic_files(self._start_folder) as folder:
            checkpoint_files.save_student(str(folder), student, self._trained_with)

    def _find_start(self, checkpoint: str) -> None:
        """Have the weights that later rounds start with: those beside the checkpoint, copied from another folder.

        Raises:
            ValueError: if there are none, before a step is trained in vain.
        """
        mine, beside = self._start_folder, Path(checkpoint).resolve().parent / FOLDER / "start"
        if not (beside / checkpoint_files.STUDENT).is_file():
            if not (mine / checkpoint_files.STUDENT).is_file():
                raise ValueError(
                    f"{beside} must hold the weights of the start, with which the next round begins, got nothing; put "
                    f"the folder {FOLDER!r} of that run back, or start from scratch in another output_dir"
                )
        elif self.args.should_save and beside != mine.resolve():
            with atomic_files(mine) as folder:
                shutil.copy2(beside / checkpoint_files.STUDENT, folder)
        self.accelerator.wait_for_everyone()

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        folder = str(self._start_folder) if self._restarts_now else resume_from_checkpoint
        super()._load_from_checkpoint(folder, model)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None or not self._restarts_now:
            super()._load_optimizer_and_scheduler(checkpoint)
            return
        # Optimizer, schedule, moving average and algorithm are new; the log goes on.
        rank, processes = self.args.process_index, self.args.world_size
        self._resumed = checkpoint_files.load_log(checkpoint, self._trained_with, rank, processes)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        plan = self._plan
        if plan is not None and self.args.should_save:
            now = Round(self._round.number, self._round.picks, False, self.state.max_steps)
            save_round(output_dir, self._trained_with, now, plan.rounds, done=self._is_over)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """As in Trainer, with the number of the round in the lines of training."""
        if "loss" in logs and self._plan is not None:
            logs["round"] = self._round.number + 1
        super().log(logs, start_time)


def save_round(folder: str, name: str, now: Round, rounds: int, *, done: bool) -> None:
    """Write where a training in rounds is into a checkpoint folder.

    Args:
        folder, name: as in `checkpoint_files.save_state`.
        now: the round.
        rounds: how many there are.
        done: whether it was trained to its end, and another one follows.
    """
    tensors = {"index": torch.from_numpy(now.picks.index), "labels": torch.from_numpy(now.picks.labels)}
    info = {"round": now.number, "rounds": rounds, "done": done, "max_steps": now.max_steps}
    checkpoint_files.save_tensors(folder, checkpoint_files.ROUND, tensors, {"algorithm": name, **info})


def load_round(folder: str, name: str, rounds: int) -> tuple[Round, bool]:
    """What `save_round` wrote: the round, and whether it is done.

    Raises:
        ValueError: if the checkpoint is of a training without rounds, of another algorithm, or of another number of
            rounds.
    """
    tensors, info = checkpoint_files.load_tensors(folder, checkpoint_files.ROUND, name)
    if info["rounds"] != rounds:
        raise ValueError(
            f"{folder} is of a training in {info['rounds']} rounds, got {rounds}; resume with {info['rounds']}, or "
            "start in another output_dir"
        )
    picks = Picks(tensors["index"].numpy(), tensors["labels"].numpy())
    return Round(info["round"], picks, False, info["max_steps"]), info["done"]


def write_picks(path: Path, picks: Picks, confidence: np.ndarray, names: list[str]) -> None:
    """Write a table of what was picked: number per class, and position, class and confidence of each example."""
    counts = dict(zip(names, picks.counts(len(names)).tolist(), strict=True))
    rows = zip(picks.index.tolist(), picks.labels.tolist(), confidence.tolist(), strict=True)
    picked = [{"row": row, "class": names[label], "confidence": round(sure, 6)} for row, label, sure in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        text = json.dumps({"counts": counts, "picked": picked}, ensure_ascii=False, indent=1)
        temporary.write_text(text + "\n", encoding="utf-8")

"""The whole way: members, vote, student."""

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch

from ..algorithms import SSLAlgorithm, get_algorithm
from ..batches.collators import MISSING_LABEL
from ..config import SSLConfig
from ..data.columns import inspect_data
from ..documents import read_json
from ..features.keys import digest_of
from ..hub.card_facts import CardFacts
from ..model.head import feature_size, find_head
from ..model.loading import load_processor
from ..report.results import result_of, write_results
from ..settings.published import is_published_setting
from ..trainer import SSLTrainer
from ..training.checkpoint_files import choose_checkpoint
from ..training.checkpoint_folders import checkpoints
from ..training.pool_predictions import PoolInputs
from .base import Base, Task, merge_adapters
from .members import (
    Member,
    earlier,
    fingerprint,
    fit,
    folder_name,
    labels_of,
    member_key,
    names_of,
    row_of,
    test_logits,
)
from .methods import TRAINED, check_methods
from .student import EnsembleDistillation
from .votes import VOTES, agreement, soft_labels

MEMBERS, STUDENT = "members", "ensemble_distillation"
# In results.json, the digest of the soft labels and of what else the student depends on.
_VOTES = "votes"
# Of the student, which keeps checkpoints.
_SAVED = {"save_strategy": "steps", "save_steps": 0.1, "save_total_limit": 1, "eval_strategy": "no"}


def train_ensemble(
    models: Sequence[str],
    *,
    train_dataset: datasets.Dataset,
    unlabeled_dataset: datasets.Dataset,
    eval_dataset: datasets.Dataset | None = None,
    methods: Sequence[str] = ("features", "lora", "none"),
    vote: str = "mean_probabilities",
    student: tuple[str, str] | None = None,
    settings: Mapping[str, Any],
    resume: bool = False,
    card: CardFacts | None = None,
    say: Callable[[str], None] = print,
) -> SSLTrainer:
    """Train an ensemble on the labels, let it vote on the pool, and train a student on the votes (arXiv 2503.09707).

    Args:
        models: Hub ids or folders of pretrained models, all of the modality of the data. Every model is combined with
            every method.
        train_dataset: the labeled examples.
        unlabeled_dataset: the pool. If it is larger than what the student's steps can read, the student and the vote
            have a random part of it; classifiers of features use all of it.
        eval_dataset: labeled examples that are only ever predicted.
        methods: how members are fitted; see `hf_ssl.ensemble.methods.METHODS`.
        vote: how soft labels follow from the members; see `soft_labels`.
        student: the student's pretrained model and method; by default the first model, and the first of the methods
            that trains weights.
        settings: keywords of `SSLConfig` with at least `output_dir`; what is not among them is as
            `hf_ssl.training.recommended` has it. The learning rate is that of all weights.
        resume: continue in `output_dir`: members that were fitted to the same data with the same settings are not
            fitted again, and the student goes on from its last checkpoint.
        card: further facts for the model card.
        say: takes a line when something is done.

    Returns:
        The student's trainer. It is saved in `output_dir`, beside `results.json` with a row for each member, for the
        student's model on the labels alone if that is not a member, for the vote, and for the student.

    Raises:
        ValueError, TypeError, OSError: in one line, if data, models and settings do not fit together.

    Note:
        Not in several processes: start one with one GPU.

    Example:
        ::

            trainer = train_ensemble(
                ["sentence-transformers/all-MiniLM-L6-v2", "google/electra-small-discriminator"],
                train_dataset=labeled, unlabeled_dataset=pool, eval_dataset=test,
                methods=["features", "lora"], settings={"output_dir": "ensemble", "seed": 0},
            )
    """
    chosen = check_methods(methods)
    _check(models, vote, unlabeled_dataset, settings)
    folder = Path(settings["output_dir"])
    if not resume and ((folder / "results.json").exists() or (folder / MEMBERS).exists() or checkpoints(folder)):
        raise ValueError(f"output_dir must hold no run yet, got {folder}; set resume=True, or choose another folder")
    processor = load_processor(models[0])
    names = (settings.get(name) for name in ("input_column", "label_column"))
    pair = settings.get("text_pair_column")
    summary = inspect_data(train_dataset, *names, text_pair_column=pair, processor=processor)
    summary.require_classes("an ensemble")
    for model in models[1:]:
        # One that does not exist, or reads something else, is found before the others are trained.
        load_processor(model, summary.modality)
    task = Task(train_dataset, unlabeled_dataset, eval_dataset, summary, dict(settings), folder)
    if student is None:
        student = models[0], next((method for method in chosen if method in TRAINED), "none")
    return _Run(task, vote, student, resume, card or CardFacts(), say)([(m, each) for m in models for each in chosen])


def _check(models: Sequence[str], vote: str, pool: Any, settings: Mapping[str, Any]) -> None:
    if not models:
        raise ValueError("models must hold at least one Hub id or folder, got none; name some")
    names = [folder_name(model, "") for model in models]
    twice = next((model for model, name in zip(models, names, strict=True) if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"models must have different names, got {twice} twice; rename a folder")
    if vote not in VOTES:
        raise ValueError(f"vote must be one of {', '.join(VOTES)}, got {vote!r}; mean_probabilities is the default")
    if not isinstance(pool, datasets.Dataset):
        raise TypeError(f"unlabeled_dataset must be a datasets.Dataset, got {type(pool).__name__}; load it whole")
    if "output_dir" not in settings:
        raise ValueError("settings must name an output_dir, got none; add the folder for members and student")
    taken = [name for name in ("algorithm", "algorithm_kwargs", "imbalance") if settings.get(name)]
    if taken:
        raise ValueError(f"{taken[0]} must be left out, got {settings[taken[0]]!r}; members learn from labels alone")
    processes = SSLConfig(str(settings["output_dir"]), use_cpu=bool(settings.get("use_cpu"))).world_size
    if processes > 1:
        raise ValueError(f"an ensemble must be trained in one process, got {processes}; start it without a launcher")


class _Run:
    """One run; bases are loaded when they are needed, so that finished members cost nothing."""

    def __init__(
        self,
        task: Task,
        vote: str,
        student: tuple[str, str],
        resume: bool,
        card: CardFacts,
        say: Callable[[str], None],
    ):
        self.task, self.vote, self.student, self.resume, self.card, self.say = task, vote, student, resume, card, say
        self._base: Base | None = None
        self.rows: list[dict[str, Any]] = []
        self.votes_of_student = _earlier_votes(task.folder) if resume else None
        self.first = self.base(student[0])
        self.voted_on = self._voted_on()
        self.common = fingerprint(task, self.first.trainer, self.voted_on)

    def __call__(self, members: Sequence[tuple[str, str]]) -> SSLTrainer:
        found = [self.member(*each) for each in members]
        if self.student not in members:
            self.member(*self.student, votes=False)
        soft = self.vote_on(found)
        return self.train_student(soft)

    def base(self, model: str) -> Base:
        """The pretrained model on the task; one is kept at a time."""
        if self._base is None or self._base.name != model:
            self._base = Base(model, self.task)
        return self._base

    def _voted_on(self) -> np.ndarray:
        """Positions of the examples that the student can meet: readable ones, and as many as its steps read."""
        trainer, args = self.first.trainer, self.first.trainer.args
        pool = trainer.unlabeled_dataset
        rows = np.arange(len(pool))
        if args.on_broken_file == "skip" and trainer.data.modality != "text":
            inputs = PoolInputs(pool, rows, trainer.views, args.seed, skip_broken=True)
            rows = np.array([index for index in range(len(pool)) if inputs[index] is not None], dtype=np.int64)
        if len(rows) == 0:
            raise ValueError(
                f"the pool must hold examples that can be read, got none of {len(pool):,}; check the files"
            )
        batch = args.per_device_train_batch_size * args.gradient_accumulation_steps * args.unlabeled_batch_ratio
        most = args.max_steps * batch if args.max_steps > 0 else len(rows)
        if most < len(rows):
            rows = np.sort(np.random.default_rng(args.seed).choice(rows, most, replace=False))
        return rows

    # ---- Members ----

    def member(self, model: str, method: str, votes: bool = True) -> Member:
        """Fit it, or read back what an earlier run has fitted; its row joins `results.json`."""
        folder = self.task.folder / MEMBERS / folder_name(model, method)
        key = member_key(self.common, model, method)
        found = earlier(folder, key) if self.resume else None
        again = found is not None
        if found is None:
            found = fit(self.base(model), method, self.voted_on, folder, key)
        if not votes:
            found.row["title"] += " (labels alone; it has no vote)"
        self._add(found.row | {"votes": votes}, " (from the earlier run)" if again else "")
        return found

    def vote_on(self, members: Sequence[Member]) -> np.ndarray:
        """The soft labels [U, C]; how right the vote is joins `results.json`."""
        logits = np.stack([member.pool for member in members])
        soft = soft_labels(logits, self.vote)
        tests = [member.test for member in members if member.test is not None]
        test = np.log(np.maximum(soft_labels(np.stack(tests), self.vote), 1e-12)) if tests else None
        trainer = self.first.trainer
        labels = labels_of(trainer, trainer.eval_dataset) if tests else None
        row = row_of("ensemble", self.task, trainer.args.seed, test, labels)
        hidden = labels_of(trainer, trainer.unlabeled_dataset)
        # Of foreign examples no pseudo-label is right, as in training.
        if hidden is not None and (known := hidden[self.voted_on] != MISSING_LABEL).any():
            row["pseudo_label_accuracy"] = float((soft.argmax(axis=1) == hidden[self.voted_on])[known].mean())
        title = f"vote of {len(members)} ({self.vote})"
        row |= {
            "title": title,
            "vote": self.vote,
            "members_agree": agreement(logits),
            "mask_ratio": 1.0,
            "kept": False,
        }
        self._add(row)
        return soft

    # ---- The student ----

    def train_student(self, soft: np.ndarray) -> SSLTrainer:
        """Train it on the soft labels, and save it with its card."""
        model, method = self.student
        began = time.perf_counter()
        base = self.first if self._base is None or self._base.name != model else self._base
        base.settings = {**base.settings, **{k: v for k, v in _SAVED.items() if k not in self.task.settings}}
        lesson: list[bytes | str] = [soft.astype(np.float32).tobytes(), member_key(self.common, model, method)]
        checkpoint = self._checkpoint(digest_of(lesson))
        trainer = base.student(method, self._algorithm(base, soft), STUDENT, self.voted_on)
        trainer.train(resume_from_checkpoint=checkpoint)
        merge_adapters(trainer)
        test_logits(trainer)
        row = result_of(trainer.run_facts(), time.perf_counter() - began)
        names = names_of(model, method)
        self.rows.append(row | names | {"title": f"student: {names['title']}", "kept": True})
        trainer.card = self.card
        trainer.card.stages, trainer.card.verdict = self.rows, verdict(self.rows)
        trainer.curves_drawn = True
        trainer.save_model(_internal_call=True)
        trainer.save_state()
        trainer.create_model_card()
        # Last: a run that is killed before this has no student yet.
        self._write()
        self._tell(self.rows[-1])
        if trainer.args.push_to_hub:
            trainer.push_to_hub()
        return trainer

    def _algorithm(self, base: Base, soft: np.ndarray) -> SSLAlgorithm:
        args, task = base.trainer.args, self.task
        size = args.per_device_train_batch_size * args.gradient_accumulation_steps
        with torch.random.fork_rng(devices=[]):
            return get_algorithm(
                EnsembleDistillation,
                targets=soft,
                num_classes=soft.shape[1],
                num_labeled=len(task.labeled),
                num_unlabeled=len(soft),
                feature_size=feature_size(find_head(base.trainer.model)),
                labeled_batch_size=size,
                unlabeled_batch_size=size * args.unlabeled_batch_ratio,
                unsupervised_weight=args.unsupervised_weight,
                modality=task.summary.modality,
            )

    def _checkpoint(self, votes: str) -> str | None:
        """The student's newest complete checkpoint, if the run is resumed and there is one that learned these votes.

        Args:
            votes: digest of the votes, and of the student's model, method and settings. Checkpoints of a student with
                another one are deleted.
        """
        folder, same = self.task.folder, self.votes_of_student == votes
        self.votes_of_student = votes
        self._write()
        if same and checkpoints(folder):
            return choose_checkpoint(True, folder)
        for old in checkpoints(folder):
            shutil.rmtree(old)
        return None

    # ---- What people read ----

    def _add(self, row: dict[str, Any], note: str = "") -> None:
        self.rows.append(row)
        self._write()
        self._tell(row, note)

    def _tell(self, row: Mapping[str, Any], note: str = "") -> None:
        accuracy = "" if row["test_accuracy"] is None else f", test accuracy {100 * row['test_accuracy']:.1f} %"
        self.say(f"{row['title']}: {row['seconds']:.0f} s{accuracy}{note}")

    def _write(self) -> None:
        settings = {name: value for name, value in self.first.settings.items() if is_published_setting(name)}
        settings |= {
            _VOTES: self.votes_of_student,
            "vote": self.vote,
            "base_model": names_of(*self.student)["model"],
            "model": ".",
        }
        self.task.folder.mkdir(parents=True, exist_ok=True)
        write_results(self.task.folder, self.rows, json.loads(json.dumps(settings, default=str)))


def _earlier_votes(folder: Path) -> str | None:
    """What `_VOTES` says of the student in a folder; None without one."""
    try:
        return read_json(folder / "results.json")["settings"][_VOTES]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def verdict(rows: Sequence[Mapping[str, Any]]) -> str:
    """What the vote and the student bring, in two sentences.

    Args:
        rows: of `results.json`.

    Example:
        >>> row = {"algorithm": "probe", "votes": True}
        >>> members = [{**row, "title": "A", "test_accuracy": 0.8}, {**row, "title": "B", "test_accuracy": 0.7}]
        >>> more = [{"algorithm": name, "test_accuracy": x} for name, x in (("ensemble", 0.82), (STUDENT, 0.85))]
        >>> print(verdict([*members, *more]))
        The student has learned the votes of 2 members. On the test set it is right for 85.0 %, their vote for 82.0 %,
        the best of them (A) for 80.0 %, and all of them for 75.0 % on average.
    """
    members = [row for row in rows if row.get("votes")]
    said = f"The student has learned the votes of {len(members)} members."
    vote = next(row for row in rows if row["algorithm"] == "ensemble")
    if vote["test_accuracy"] is None:
        return f"{said} Nothing was evaluated."
    best = max(members, key=lambda row: row["test_accuracy"])
    average = np.mean([row["test_accuracy"] for row in members])
    return (
        f"{said} On the test set it is right for {100 * rows[-1]['test_accuracy']:.1f} %, their vote for "
        f"{100 * vote['test_accuracy']:.1f} %, the best of them ({best['title']}) for "
        f"{100 * best['test_accuracy']:.1f} %, and all of them for {100 * average:.1f} % on average."
    )

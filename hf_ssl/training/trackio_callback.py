"""What Trackio shows of a semi-supervised training beside the curves of Trainer (`report_to="trackio"`).

    group             the algorithm, so that a project compares algorithms
    run               data-labels-seed algorithm, unless `run_name` is set; a resumed training continues its run
    pseudo_labels     at each log line, how many of them each class got: a histogram with one bin per class
    alerts            what the trainer warns of while it trains (`hf_ssl.training.watch`)
    confusion         at the end, the last evaluation's: rows are true classes, columns predicted ones
    report            at the end, the run in words

Nothing of this needs a network: Trackio keeps a database on this machine, and `trackio show` opens it. With
`trackio_space_id` it goes to a Space, as with plain Trainer.
"""

import io
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
from transformers import TrainerControl, TrainerState, TrainingArguments
from transformers.integrations import TrackioCallback
from transformers.utils import logging

logger = logging.get_logger(__name__)

# Classes in the table of the end; of more, those that are mistaken most often.
_MOST_CLASSES = 20


class SSLTrackioCallback(TrackioCallback):
    """Trainer's callback for Trackio, with what a semi-supervised training has besides.

    `SSLTrainer` puts it in the place of Trainer's. It never ends a training: if Trackio fails, that is warned of once,
    and the training goes on without it.

    Args:
        trainer: the `SSLTrainer`.
    """

    def __init__(self, trainer: Any):
        super().__init__()
        self._trainer, self._failed = trainer, False
        self._alerts: list[tuple[int, str, str]] = []

    def setup(self, args: TrainingArguments, state: TrainerState, model: Any, **kwargs: Any) -> None:
        """Begin the run, in the group of its algorithm."""
        trainer, module = self._trainer, self._trackio
        algorithm = getattr(trainer, "algorithm_name", trainer.args.algorithm)
        changes: dict[str, Any] = {} if isinstance(module, Grouped) else {"group": algorithm}
        if args.run_name is None:
            changes["name"] = f"{self._data_name()}-{len(trainer.train_dataset)}-{args.seed} {algorithm}"
            # The same command again is a new run; only a training that goes on continues one.
            changes["resume"] = "allow" if state.global_step else "never"
        self._trackio = Grouped(module, **changes)
        try:
            super().setup(args, state, model, **kwargs)
        finally:
            self._trackio = module

    def _data_name(self) -> str:
        """The data set's name, if it has one that is not a path; otherwise that of the output folder."""
        name = self._trainer.card.dataset or Path(self._trainer.args.output_dir).absolute().name
        return str(name).rstrip("/").rsplit("/", 1)[-1]

    # ---- While it trains ----

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **kwargs: Any
    ) -> None:
        """Begin the run, and hear what the trainer warns of."""
        self._alerts = []
        self._harmless(super().on_train_begin, args, state, control, model=model, **kwargs)
        if state.is_world_process_zero:
            self._trainer.watch.alert = self._alert

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: Any = None,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Trainer's numbers, and of a log line of the training the classes of the pseudo-labels."""
        self._harmless(self._log, args, state, control, model, dict(logs or {}), **kwargs)

    def _log(self, args: Any, state: Any, control: Any, model: Any, logs: dict[str, Any], **kwargs: Any) -> None:
        classes = self._trainer.watch.classes
        if "loss" in logs and classes is not None and classes.counts.sum() > 0:
            counts = classes.counts
            # Whole numbers are in the middle of their bin.
            bins = np.arange(len(counts) + 1) - 0.5
            logs["pseudo_labels"] = self._trackio.Histogram(np_histogram=(counts, bins))
        super().on_log(args, state, control, model=model, logs=logs, **kwargs)

    def _alert(self, title: str, text: str) -> None:
        self._alerts.append((self._trainer.state.global_step, title, text))
        # It is on the screen as a warning; Trackio would print it again, in color also into files.
        with redirect_stdout(io.StringIO()):
            self._harmless(lambda: self._trackio.alert(title, text, level=self._trackio.AlertLevel.WARN))

    # ---- At the end ----

    def on_train_end(self, args: Any, state: Any, control: Any, *given: Any, **kwargs: Any) -> None:
        """Add the confusion matrix and the report, and finish the run."""
        if self._initialized and state.is_world_process_zero:
            self._harmless(self._close)
        self._harmless(super().on_train_end, args, state, control, *given, **kwargs)

    def _close(self) -> None:
        found: dict[str, Any] = {"report": self._trackio.Markdown(self.report())}
        if rows := self._confusion_rows():
            found["confusion"] = self._trackio.Table(columns=list(rows[0]), data=[list(row.values()) for row in rows])
        self._trackio.log(found)

    def _confusion_rows(self) -> list[dict[str, Any]]:
        confusion = getattr(self._trainer.compute_metrics, "confusion", None)
        names = self._trainer.data.label_names
        if confusion is None or confusion.num_classes != len(names):
            return []
        classes = confusion.hardest(_MOST_CLASSES)
        shown = [str(names[number]) for number in classes]
        counts = confusion.matrix(classes).tolist()
        return [
            {"true class": name, **dict(zip(shown, row, strict=True))} for name, row in zip(shown, counts, strict=True)
        ]

    def report(self) -> str:
        """The run in Markdown: what was trained, the last evaluation, and the alerts."""
        trainer = self._trainer
        state, title = trainer.state, f"{self._data_name()}, {len(trainer.train_dataset):,} labels"
        lines = [
            f"# {trainer.algorithm_name} on {title}",
            "",
            f"{state.global_step:,} steps, seed {trainer.args.seed}.",
        ]
        evaluations = [row for row in state.log_history if any(name.startswith("eval_") for name in row)]
        last: dict[str, Any] = evaluations[-1] if evaluations else {}
        numbers = {
            name.removeprefix("eval_").replace("_", " "): value
            for name, value in last.items()
            if name.startswith("eval_") and not name.endswith(("_runtime", "_per_second"))
        }
        if numbers:
            rows = [f"| {name} | {value:.4g} |" for name, value in numbers.items()]
            lines += ["", f"Evaluation at step {last['step']:,}:", "", "| metric | value |", "|---|---:|", *rows]
        if self._alerts:
            lines += ["", "Alerts:", ""]
            lines += [f"- step {step:,}, {title}: {text}" for step, title, text in self._alerts]
        return "\n".join([*lines, "", "```text", trainer.describe(), "```", ""])

    # ---- Whatever happens ----

    def _harmless(self, call: Callable[..., Any], *given: Any, **named: Any) -> None:
        """Call it, unless Trackio has failed before; its errors are warned of and end nothing but the tracking."""
        if self._failed:
            return
        try:
            call(*given, **named)
        except Exception as error:
            self._failed = True
            logger.warning(
                f"Trackio failed ({type(error).__name__}: {' '.join(str(error).split())}); the training goes on "
                "without it; set report_to='none' to train without Trackio from the start"
            )

    def on_predict(self, args: Any, state: Any, control: Any, metrics: Any, **kwargs: Any) -> None:
        """As in Trainer."""
        self._harmless(super().on_predict, args, state, control, metrics, **kwargs)

    def on_push_begin(self, args: Any, state: Any, control: Any, *given: Any, **kwargs: Any) -> None:
        """As in Trainer."""
        self._harmless(super().on_push_begin, args, state, control, *given, **kwargs)


class Grouped:
    """A tracker's module (trackio, wandb) whose runs begin with further settings, which Trainer's callback lacks.

    Args:
        module: the tracker's.
        settings: keywords of its `init` that win over those of the callback.
    """

    def __init__(self, module: Any, **settings: Any):
        self._module, self._settings = module, settings

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)

    def init(self, **settings: Any) -> Any:
        """As the module's."""
        return self._module.init(**{**settings, **self._settings})

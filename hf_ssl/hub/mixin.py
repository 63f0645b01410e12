"""The part of SSLTrainer that people see on the Hub: a card with every model, and pushes that are whole or absent."""

import copy
import os
import shutil
from concurrent.futures import Future
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

from huggingface_hub import CommitInfo, HfApi
from transformers import Trainer
from transformers.trainer_utils import HubStrategy
from transformers.utils import logging
from transformers.utils.hub import PushInProgress

from ..config import SSLConfig
from ..data.columns import DataSummary
from ..files import atomic_files, atomic_write
from ..modality import MODALITIES
from ..model.loading import count_trainable
from ..report.measures import MEASURES
from ..report.plots import draw_curves
from ..report.run import RunFacts, draw_run_recalls
from . import provenance
from .card_facts import CardFacts, ModelFacts
from .errors import explain
from .eval_results import write_eval_results
from .model_card import model_card
from .repositories import Repository, create_repository, discard_if_empty
from .upload import BASE_CONFIG, CARD, EVAL_RESULTS, published_files, push_files

logger = logging.get_logger(__name__)


class HubMixin(Trainer):
    """A `Trainer` that writes the model card with every model that it saves, and pushes like `Trainer`.

    `Trainer` pushes the whole output folder and, during training, a pickle of the arguments with their token. Here a
    push is one commit of the files in `hf_ssl.hub.upload.PUBLISHED`, and of a checkpoint's if `hub_strategy` asks for
    them.

    The class that mixes it in writes `run_facts`, and sets the first three attributes.

    Attributes:
        args: the settings.
        data: modality, columns and classes of the labeled examples.
        unlabeled_dataset: the pool.
        card: what the card says and the trainer cannot know.
        baseline: the row of `results.json` of a labeled-only training, if there was one.
        curves_drawn: True if the caller draws curves.png; otherwise it is drawn on push, if matplotlib is installed.
        local_base: the folder that training started from, under the name it had then; None if it started from a Hub
            id.
    """

    args: SSLConfig
    data: DataSummary
    unlabeled_dataset: Any
    card: CardFacts
    baseline: dict[str, Any] | None = None
    curves_drawn: bool = False
    local_base: str | None = None
    # What was pushed to is deleted again if it was created for this run and the push fails.
    repository: Repository | None = None

    def run_facts(self) -> RunFacts:
        """What is known of the run so far."""
        raise NotImplementedError(f"{type(self).__name__} must define run_facts(): the card is written from it")

    # ---- What is known of the model ----

    @property
    def base_model(self) -> str | None:
        """Hub id of the model that training started from; None if it is not there."""
        name = provenance.loaded_from(self.accelerator.unwrap_model(self.model))
        return name if name and name != self.local_base and provenance.is_public_id(name) else None

    @property
    def public_name(self) -> str:
        """The repository's id, or the name of the output folder."""
        return self.hub_model_id or self.args.hub_model_id or os.path.basename(os.path.abspath(self.args.output_dir))

    @cached_property
    def labeled_hash(self) -> str | None:
        """SHA-256 of the labeled set, regardless of the order of its examples; None for a large one."""
        names = [self.data.label_text(row) for row in range(len(self.data.labels))]
        columns, files = self.data.input_columns or self.data.model_inputs, MODALITIES[self.data.modality].needs_files
        return provenance.labeled_hash(self.train_dataset, columns, names, files)

    def model_facts(self, curves: bool = False, class_recalls: bool = False) -> ModelFacts:
        """What is known of the model and where it and its data come from.

        Args:
            curves, class_recalls: whether curves.png and class_recalls.png are beside the card.
        """
        model = self.accelerator.unwrap_model(self.model)
        adapter = hasattr(model, "peft_config")
        evaluation = self.eval_dataset if isinstance(self.eval_dataset, dict) else {"": self.eval_dataset}
        return ModelFacts(
            public_name=self.public_name,
            # torch gives a sharded model a class of its own.
            architecture=type(model.get_base_model() if adapter else model).__name__.removeprefix("FSDP"),
            trainable=count_trainable(model),
            adapter=adapter,
            base_model=self.base_model,
            labeled=provenance.source_of(self.train_dataset),
            unlabeled=provenance.source_of(self.unlabeled_dataset),
            evaluation={name: provenance.source_of(dataset) for name, dataset in evaluation.items()},
            labeled_hash=self.labeled_hash,
            hardware=provenance.hardware(self.args),
            baseline=self.baseline,
            label_thresholds=getattr(getattr(model, "config", None), "label_thresholds", None),
            curves=curves,
            class_recalls=class_recalls,
        )

    # ---- The card ----

    def create_model_card(
        self,
        language: str | None = None,
        license: str | None = None,
        tags: str | list[str] | None = None,
        model_name: str | None = None,
        finetuned_from: str | None = None,
        tasks: str | list[str] | None = None,
        dataset_tags: str | list[str] | None = None,
        dataset: str | list[str] | None = None,
        dataset_args: str | list[str] | None = None,
    ) -> None:
        """Write the model card `README.md` into `args.output_dir`, from the run; arguments as in Trainer.

        What is given here is in every later card, too. The task is that of the data, so `tasks` and `dataset_args` are
        not needed; `dataset_tags` is an id on the Hub, `dataset` an id or words.
        """
        if not self.is_world_process_zero():
            return
        dataset = dataset or dataset_tags
        given = {
            "language": language,
            "license": license,
            "tags": [tags] if isinstance(tags, str) else tags,
            "name": model_name,
            "base_model": finetuned_from,
            "dataset": dataset if isinstance(dataset, str) or dataset is None else ", ".join(dataset),
        }
        for name, value in given.items():
            if value is not None:
                setattr(self.card, name, value)
        self._write_card(self.args.output_dir)

    def _write_card(self, folder: str) -> None:
        pictures = [Path(folder, name).is_file() for name in ("curves.png", "class_recalls.png")]
        run, model = self.run_facts(), self.model_facts(*pictures)
        with atomic_write(Path(folder, CARD)) as temporary:
            model_card(run, model, self.card).save(temporary)
        write_eval_results(folder, run, model)

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        super()._save(output_dir, state_dict)
        if not self.is_world_process_zero():
            return
        folder = output_dir or self.args.output_dir
        model = self.accelerator.unwrap_model(self.model)
        if hasattr(model, "peft_config"):
            # PEFT saves no configuration of the whole model, so the classes and their names would be lost.
            base = model.get_base_model()
            config = copy.deepcopy(base.config)
            config.architectures = [type(base).__name__]
            with atomic_files(Path(folder, BASE_CONFIG).parent) as new:
                config.save_pretrained(new)
        if self.train_dataset is not None:  # A card says how a model was trained.
            self._write_card(folder)

    # ---- Pushing ----

    def init_hf_repo(self, token: str | None = None, private: bool | None = None) -> None:
        """As in Trainer; errors as in `push_to_hub`."""
        if not self.is_world_process_zero():
            return
        token = token if token is not None else self.args.hub_token
        private = private if private is not None else self.args.hub_private_repo
        self.repository = create_repository(HfApi(token=token), self.public_name, private=private)
        self.hub_model_id = self.repository.url.repo_id  # type: ignore[assignment]  # it is a name, None at first
        self.push_in_progress = None

    def push_to_hub(  # type: ignore[override]  # Trainer's returns None in other processes, too, and does not say so
        self,
        commit_message: str | None = "End of training",
        blocking: bool = True,
        token: str | None = None,
        revision: str | None = None,
        private: bool | None = None,
        **kwargs: Any,
    ) -> CommitInfo | Future[CommitInfo] | None:
        """Save the model with its card and push both, with results and curves if there are any, in one commit.

        Arguments and result as in Trainer; `kwargs` go to `create_model_card`. Without a change there is no new
        commit.

        Raises:
            OSError: in one line, if the Hub refuses or cannot be reached; nothing is published then.
        """
        self.callback_handler.on_push_begin(self.args, self.state, self.control)
        token = token if token is not None else self.args.hub_token
        if self.hub_model_id is None:
            self.init_hf_repo(token, private)
        self.save_model(_internal_call=True)
        if not self.is_world_process_zero():
            return None
        kwargs.setdefault("model_name", self.public_name.rpartition("/")[2])
        self._draw_curves()
        self.create_model_card(**kwargs)
        self._finish_current_push()
        self._warn_of_local_base()
        files = published_files(self.args.output_dir)
        message, revision = commit_message or "End of training", revision or self.args.hub_revision
        try:
            return push_files(self.public_name, files, message, token=token, revision=revision, blocking=blocking)
        except (OSError, ValueError):
            # Later pushes are to create it again.
            new = self.repository is not None and self.repository.is_new
            if new and discard_if_empty(HfApi(token=token), cast(Repository, self.repository).url):
                self.hub_model_id = self.repository = None
            raise

    def _draw_curves(self) -> None:
        run = self.run_facts()
        measured = f"eval_{MEASURES[run.data.problem_type].name}"
        shown = any(measured in row or "mask_ratio" in row for row in run.history)
        if self.curves_drawn or not shown or find_spec("matplotlib") is None:
            return
        draw_run_recalls(Path(self.args.output_dir), run)
        pool = "a stream" if run.num_unlabeled is None else f"{run.num_unlabeled:,}"
        title = f"{run.num_labeled:,} labeled, {pool} unlabeled"
        draw_curves(
            Path(self.args.output_dir, "curves.png"),
            {run.algorithm_name: [run.history]},
            title,
            len(run.data.label_names),
        )

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        strategy = self.args.hub_strategy
        if not self.is_world_process_zero() or strategy == HubStrategy.END:
            return
        with_state = strategy in (HubStrategy.CHECKPOINT, HubStrategy.ALL_CHECKPOINTS)
        busy = self.push_in_progress is not None and not self.push_in_progress.is_done()
        if busy and not with_state and not self.args.hub_always_push:
            return
        # What is being uploaded must neither be written over nor deleted.
        self._finish_current_push()
        self.callback_handler.on_push_begin(self.args, self.state, self.control)
        message = f"Training in progress, step {self.state.global_step}"
        token, revision = self.args.hub_token, self.args.hub_revision
        try:
            files = self._checkpoint_files(Path(checkpoint_folder), with_state)
            job = push_files(self.public_name, files, message, token=token, revision=revision, blocking=False)
        except (OSError, ValueError) as error:
            # The training is worth more than this push; the next one brings what this one did not.
            logger.warning(f"step {self.state.global_step} was not pushed: {error}")
            return
        self.push_in_progress = PushInProgress([job])  # type: ignore[assignment,arg-type]  # it is a list, None at first

    def _checkpoint_files(self, folder: Path, with_state: bool) -> dict[str, Path]:
        """What is pushed of a checkpoint: its model in place of the last one, and its state if asked for."""
        new = published_files(folder)
        if EVAL_RESULTS not in new:
            # Those of an earlier step are not this model's.
            Path(self.args.output_dir, EVAL_RESULTS).unlink(missing_ok=True)
        for name, path in new.items():
            copied = Path(self.args.output_dir, name)
            copied.parent.mkdir(exist_ok=True)
            with atomic_write(copied) as temporary:
                shutil.copyfile(path, temporary)
        files = published_files(self.args.output_dir)
        if with_state:
            name = "last-checkpoint" if self.args.hub_strategy == HubStrategy.CHECKPOINT else folder.name
            found = sorted(path for path in folder.rglob("*") if not path.is_dir())
            files |= {f"{name}/{path.relative_to(folder).as_posix()}": path for path in found}
        return files

    def _finish_current_push(self) -> None:
        super()._finish_current_push()
        # Trainer calls this also before it has set the attribute.
        push = getattr(self, "push_in_progress", None)
        if push is None:
            return
        for job in push.jobs:
            if (error := job.exception()) is not None:
                logger.warning(f"a push during training failed: {explain(error, self.public_name)}")
        self.push_in_progress = None

    def _warn_of_local_base(self) -> None:
        model = self.accelerator.unwrap_model(self.model)
        if hasattr(model, "peft_config") and (self.card.base_model or self.base_model) is None:
            logger.warning(
                "the adapter's base model is in a local folder, so others cannot load it from the Hub: push the base "
                "model, or merge the adapter into it (merge_and_unload) and push the whole model"
            )

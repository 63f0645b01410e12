"""The part of SSLTrainer that people see on the Hub: a card with every model, and pushes that are whole or not there."""

import copy
import os
import shutil
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

from huggingface_hub import CommitInfo
from transformers.trainer_utils import HubStrategy
from transformers.utils import logging
from transformers.utils.hub import PushInProgress

from ..report.plots import draw_curves
from ..training.checkpointing import CheckpointingTrainer
from . import errors as hub_errors
from . import model_card as hub
from . import provenance
from . import upload as publishing

logger = logging.get_logger(__name__)


class PushingTrainer(CheckpointingTrainer):
    """A `CheckpointingTrainer` that writes the model card with every model that it saves, and pushes as Trainer does.

    Trainer pushes the whole output folder, and during training a pickle of the arguments with their token. Here a push is one
    commit of the files in `hf_ssl.hub.upload.PUBLISHED`, and of a checkpoint's where `hub_strategy` asks for them.

    Attributes:
        card: what the card says and the trainer cannot know.
        baseline: the row of `results.json` of a labeled-only training, if there was one.
        curves_drawn: whether whoever started the run draws curves.png; else a push does, where matplotlib is installed.
        local_base: the folder that training started from, as it was named then; None where it started from a Hub id.
    """

    card: hub.CardFacts
    baseline: dict | None = None
    curves_drawn: bool = False
    local_base: str | None = None

    @property
    def base_model(self) -> str | None:
        """Hub id of the model that training started from; None where it is not there."""
        name = provenance.loaded_from(self.accelerator.unwrap_model(self.model))
        return name if name and name != self.local_base and provenance.is_public_id(name) else None

    @property
    def public_name(self) -> str:
        """The repository's id, or the name of the output folder."""
        return self.hub_model_id or self.args.hub_model_id or os.path.basename(os.path.abspath(self.args.output_dir))

    @cached_property
    def labeled_hash(self) -> str | None:
        """SHA-256 of the labeled set, whatever the order of its examples; None for a large one."""
        names = [self.data.label_names[label] for label in self.data.labels]
        return provenance.labeled_hash(self.train_dataset, self.data.input_columns or self.data.model_inputs, names)

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

        What is given here stands in every later card, too. The task is that of the data, so `tasks` and `dataset_args` are
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
        path = Path(folder, publishing.CARD)
        temporary = path.with_name(path.name + ".tmp")
        hub.model_card(self, self.card, Path(folder, "curves.png").is_file()).save(temporary)
        os.replace(temporary, path)

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        super()._save(output_dir, state_dict)
        if not self.is_world_process_zero():
            return
        folder = output_dir or self.args.output_dir
        model = self.accelerator.unwrap_model(self.model)
        if hasattr(model, "peft_config"):
            # PEFT saves no configuration of the whole model, so that the classes and their names would be lost.
            base = model.get_base_model()
            config = copy.deepcopy(base.config)
            config.architectures = [type(base).__name__]
            config.save_pretrained(Path(folder, publishing.BASE_CONFIG).parent)
        self._write_card(folder)

    # ---- Pushing ----

    def init_hf_repo(self, token: str | None = None, private: bool | None = None) -> None:
        """As in Trainer; errors as in `push_to_hub`."""
        token = token if token is not None else self.args.hub_token
        with hub_errors.clear_errors(self.public_name, token):
            super().init_hf_repo(token, private)

    def push_to_hub(
        self,
        commit_message: str | None = "End of training",
        blocking: bool = True,
        token: str | None = None,
        revision: str | None = None,
        private: bool | None = None,
        **kwargs,
    ) -> CommitInfo | None:
        """Save the model with its card and push both, with results and curves where there are some, in one commit.

        Arguments and result as in Trainer; `kwargs` go to `create_model_card`. Without a change there is no new commit.

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
        files = publishing.published_files(self.args.output_dir)
        revision = revision or self.args.hub_revision
        return publishing.push_files(
            self.hub_model_id, files, commit_message, token=token, revision=revision, blocking=blocking
        )

    def _draw_curves(self) -> None:
        rows = self.state.log_history
        shown = any("eval_accuracy" in row or "mask_ratio" in row for row in rows)
        if self.curves_drawn or not shown or find_spec("matplotlib") is None:
            return
        title = f"{len(self.train_dataset):,} labeled, {len(self.unlabeled_dataset):,} unlabeled"
        draw_curves(Path(self.args.output_dir, "curves.png"), {self.algorithm_name: [rows]}, title)

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
        for name, path in publishing.published_files(checkpoint_folder).items():
            copied = Path(self.args.output_dir, name)
            copied.parent.mkdir(exist_ok=True)
            shutil.copyfile(path, copied)
        files = publishing.published_files(self.args.output_dir)
        if with_state:
            folder = Path(checkpoint_folder)
            name = "last-checkpoint" if strategy == HubStrategy.CHECKPOINT else folder.name
            found = sorted(path for path in folder.rglob("*") if path.is_file())
            files |= {f"{name}/{path.relative_to(folder).as_posix()}": path for path in found}
        message = f"Training in progress, step {self.state.global_step}"
        token, revision = self.args.hub_token, self.args.hub_revision
        try:
            job = publishing.push_files(
                self.hub_model_id, files, message, token=token, revision=revision, blocking=False
            )
        except OSError as error:
            # The training is worth more than this push; the next one brings what this one did not.
            logger.warning(f"step {self.state.global_step} was not pushed: {error}")
            return
        self.push_in_progress = PushInProgress([job])

    def _finish_current_push(self) -> None:
        super()._finish_current_push()
        for job in getattr(getattr(self, "push_in_progress", None), "jobs", ()):
            if (error := job.exception()) is not None:
                logger.warning(f"a push during training failed: {hub_errors.explain(error, self.hub_model_id)}")
        if getattr(self, "push_in_progress", None) is not None:
            self.push_in_progress = None

    def _warn_of_local_base(self) -> None:
        model = self.accelerator.unwrap_model(self.model)
        if hasattr(model, "peft_config") and (self.card.base_model or self.base_model) is None:
            logger.warning(
                "the adapter's base model is in a local folder, so that others cannot load it from the Hub: push the base "
                "model, or merge the adapter into it (merge_and_unload) and push the whole model"
            )

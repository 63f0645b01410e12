"""The part of SSLTrainer for pools with classes that nobody labeled: who looks foreign, and is not drawn.

    before the first step   features of labels and pool with the model as it is (`hf_ssl.features.foreignness`)
                            open_set="report": said and logged; "drop": what looks foreign is left out of the draws
    after the last step     the same with the trained model, to be said, and saved for `hf-ssl predict`

What is left out is decided once, at the start. With few labels the pretrained model tells foreign examples apart
better than one that was trained, which learns to overlook what does not matter to its classes, and so does not gain
from looking again (`examples/benchmarks/README.md`). And since only the draw of the pool changes, it goes with every
algorithm and every correction, costs a step nothing, and is resumed exactly: checkpoints hold the positions of what is
left out. Positions in the pool stay what they are. Labeled examples are never left out.
"""

import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..config import SSLConfig
from ..data.columns import DataSummary
from ..data.streams import StreamedPool
from ..features.foreignness import Foreignness, ForeignPool, find_foreign
from . import checkpoint_files
from .checkpointing import CheckpointMixin
from .search import SearchMixin

if TYPE_CHECKING:
    from ..features.reading import Reading

# Beside the other files of a checkpoint.
FILE = "ssl_open_set.safetensors"
# In the output folder, while the pool is encoded for the last time: features that nobody needs again.
_LAST_FEATURES = "open_set_features"


@dataclass(frozen=True)
class OpenSet:
    """What a run says of the foreign examples in its pool.

    Args:
        at_start: what the model found before the first step.
        dropped: how many are left out of the draws.
        at_end: what the trained model found; None before the last step, and if it is the one of the start.
    """

    at_start: ForeignPool
    dropped: int
    at_end: ForeignPool | None = None

    def __str__(self) -> str:
        """For the block at the start of a run and for the card.

        Example:
            >>> str(OpenSet(ForeignPool(200, 50), 50, ForeignPool(200, 40)))
            '50 of 200 pool examples look foreign (25.0 %) and are left out; to the trained model 40 (20.0 %)'
        """
        later = "" if self.at_end is None else f"; to the trained model {self.at_end.foreign:,} ({self.at_end.share})"
        return f"{self.at_start}{' and are left out' if self.dropped else ''}{later}"

    def row(self) -> dict[str, Any]:
        """For a row of `results.json`: what the model of the start found, and the trained one's AUROC.

        Example:
            >>> OpenSet(ForeignPool(200, 50, 0.9), 0).row()
            {'foreign_examples': 50, 'foreign_ratio': 0.25, 'foreign_dropped': 0, 'foreign_auroc': 0.9}
        """
        found, later = self.at_start, self.at_end
        row = {"foreign_examples": found.foreign, "foreign_ratio": found.ratio, "foreign_dropped": self.dropped}
        row |= {} if found.auroc is None else {"foreign_auroc": found.auroc}
        return row | ({} if later is None or later.auroc is None else {"foreign_auroc_at_end": later.auroc})


class OpenSetMixin(SearchMixin, CheckpointMixin):
    """A `Trainer` that looks for foreign examples in the pool if `open_set` says so, and may leave them out.

    Attributes:
        open_set: what was found; None without a look.
        foreignness: what foreign examples are told by, with the model as it was at the last look; None without one.
    """

    args: SSLConfig
    open_set: OpenSet | None = None
    _has_pool: bool
    data: DataSummary
    foreignness: Foreignness | None = None

    @property
    def drawn_rows(self) -> np.ndarray | None:
        """Positions int64 [K] in the pool of the examples that are drawn; None for all."""
        if not len(self.foreign_rows):
            return None
        return np.setdiff1d(np.arange(len(self.unlabeled_dataset)), self.foreign_rows)

    def look_for_foreign(self, reading: "Reading") -> "Reading":
        """Look before the first step, and note what is to be left out of the draws.

        Args:
            reading: what the model as it is makes of labels and pool.

        Returns:
            the reading without what is left out.

        Raises:
            ValueError: if no labeled example can be left out of its class to find the limit, or nothing would be left.
        """
        self.foreignness, found, rows = find_foreign(reading)
        if self.foreignness.limit is None:
            raise ValueError(
                f"open_set={self.args.open_set!r} must have two labeled examples of a class at least, to find out how "
                "far known examples are from each other, got one of each; label more, or leave it out"
            )
        drops = self.args.open_set == "drop"
        if drops and found.foreign and found.foreign == found.examples:
            raise ValueError(
                f"open_set='drop' must leave some of the pool, but all {len(rows):,} examples look foreign; look at "
                "them with open_set='report'"
            )
        self.foreign_rows = rows if drops else rows[:0]
        self.open_set = OpenSet(found, len(self.foreign_rows))
        return reading.without_pool_rows(self.foreign_rows)

    def _fit_head(self) -> None:
        """As in `SearchMixin`, without what is left out; before that the pool is looked at."""
        if self.args.open_set is not None and not self._resumes:
            self.check_open_set()
            self.look_for_foreign(self._read_all())
        super()._fit_head()

    def check_open_set(self) -> None:
        """Refuse a pool or a model that cannot be looked at, before all of it is encoded.

        Raises:
            ValueError: in one line, with the way out.
        """
        name = f"open_set={self.args.open_set!r}"
        if isinstance(self.unlabeled_dataset, StreamedPool):
            raise ValueError(f"{name} must be left out for a streamed pool, which is never seen as a whole; load it")
        if not self._has_pool:
            raise ValueError(f"{name} must be left out without unlabeled_dataset, got None; give a pool")
        if self.is_fsdp_enabled:
            raise ValueError(f"{name} must be left out for a sharded model, which cannot encode the pool by itself")

    def _read_all(self, cache_dir: Path | None = None) -> "Reading":
        # Not at the top: only this needs scikit-learn, which takes a second to import.
        from ..features.reading import read

        model: Any = self.accelerator.unwrap_model(self.model)
        given = model, self.train_dataset, self.unlabeled_dataset, self.data, self.processing_class, self.args
        return read(*given, view_maker=self._custom_views, cache_dir=cache_dir)

    # ---- After the last step ----

    def _finalize_training(self, trial: Any, num_train_samples: int, start_time: float) -> Any:
        """As in Trainer; then the trained model looks at the pool."""
        output = super()._finalize_training(trial, num_train_samples, start_time)
        if output is not None and self.args.open_set is not None:
            self._look_again()
        return output

    def _look_again(self) -> None:
        folder = Path(self.args.output_dir, _LAST_FEATURES)
        try:
            with self._evaluated_weights(every_process=True):
                self.foreignness, found, _ = find_foreign(self._read_all(folder))
        finally:
            self.accelerator.wait_for_everyone()
            if self.args.should_save:
                shutil.rmtree(folder, ignore_errors=True)
        assert self.open_set is not None, "looked before the first step"
        self.open_set = replace(self.open_set, at_end=found)
        self.log(_logged(found))

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """As in Trainer, with what was found at the start in the first line of training."""
        told = any("foreign_ratio" in row for row in self.state.log_history)
        if "loss" in logs and self.open_set is not None and not told:
            logs.update(_logged(self.open_set.at_start))
        super().log(logs, start_time)

    # ---- Saving and resuming ----

    def _save_model(self, folder: Path, state_dict: dict[str, Any] | None) -> None:
        super()._save_model(folder, state_dict)
        # A model in training is another than the one that looked.
        if self.foreignness is not None and not self.is_in_train:
            self.foreignness.save(folder)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        if self.open_set is not None and self.args.should_save:
            found = self.open_set.at_start
            info = {"algorithm": self._trained_with, "open_set": self.args.open_set, "found": asdict(found)}
            tensors = {"foreign_rows": torch.from_numpy(self.foreign_rows)}
            checkpoint_files.save_tensors(output_dir, FILE, tensors, info)

    def _read_left_out(self, checkpoint: str | None) -> None:
        if checkpoint is None:
            self.open_set, self.foreignness, self.foreign_rows = None, None, self.foreign_rows[:0]
            return
        tensors: dict[str, torch.Tensor] = {}
        info: dict[str, Any] = {"open_set": None}
        if Path(checkpoint, FILE).is_file():
            tensors, info = checkpoint_files.load_tensors(checkpoint, FILE, self._trained_with)
        saved, wanted = info["open_set"], self.args.open_set
        if saved != wanted:
            raise ValueError(
                f"{checkpoint} must be of a training with open_set={wanted!r}, got one with {saved!r}; resume with "
                "that, or start in another output_dir"
            )
        if saved is not None:
            self.foreign_rows = tensors["foreign_rows"].numpy()
            self.open_set = OpenSet(ForeignPool(**info["found"]), len(self.foreign_rows))


def _logged(found: ForeignPool) -> dict[str, float]:
    return {"foreign_ratio": found.ratio} | ({} if found.auroc is None else {"foreign_auroc": found.auroc})

"""The part of SSLTrainer for pools that are streams: which settings fit, the batches, their place in checkpoints."""

import json
from pathlib import Path
from typing import Any

from transformers import Trainer

from ..algorithms import SSLAlgorithm
from ..batches.dataset import ViewDataset
from ..batches.streams import StreamBatchSampler, StreamReader, StreamViews
from ..config import SSLConfig
from ..data.columns import DataSummary
from ..data.streams import StreamedPool
from ..documents import read_json
from ..views import Views

# One file for each process, since each is at another place.
STREAM = "ssl_stream_{rank}.json"


def check_stream_settings(args: SSLConfig) -> None:
    """Refuse settings that need the number of examples, or examples by position.

    Raises:
        ValueError: in one line, with what to set.
    """
    if args.max_steps < 1:
        raise ValueError(
            f"max_steps must be at least 1 for a streamed pool, which has no epochs to count, got {args.max_steps}; "
            "set it to the number of optimizer steps"
        )
    if args.start != "random" and args.stream_buffer_size < 1:
        raise ValueError(
            f"stream_buffer_size must be at least 1 for start={args.start!r} with a streamed pool: the head is "
            f"fitted to as many of its rows, got {args.stream_buffer_size}; set it to about 1,000"
        )
    if args.train_sampling_strategy == "group_by_length":
        raise ValueError(
            "train_sampling_strategy must be 'random' for a streamed pool, whose texts cannot be sorted by length, "
            "got 'group_by_length'; set it, or load the pool without streaming"
        )


class StreamMixin(Trainer):
    """A `Trainer` that knows where in the stream each process is, and goes on there after resuming, bit for bit.

    Attributes:
        args, algorithm, data, views: of the training.
        unlabeled_dataset: a `StreamedPool`; with any other pool, nothing is done here.
    """

    args: SSLConfig
    algorithm: SSLAlgorithm
    data: DataSummary
    views: Views
    unlabeled_dataset: Any
    # Reads the stream in the training in progress.
    _reader: StreamReader | None = None

    def _stream_batches(self, seed: int) -> tuple[ViewDataset, StreamBatchSampler]:
        """What makes the views, and which examples each batch takes, for a pool that is a stream."""
        args, pool = self.args, self.unlabeled_dataset
        assert isinstance(pool, StreamedPool), "asked for only then"
        labeled, unlabeled = self._train_batch_size, self._train_batch_size * args.unlabeled_batch_ratio
        rank, processes = args.process_index, args.world_size
        self._reader = None
        if self.algorithm.reads_pool:
            # Batches that workers have, and the one that accelerate holds back.
            ahead = args.dataloader_num_workers * (args.dataloader_prefetch_factor or 2) + 2
            self._reader = StreamReader(
                pool.part(rank, processes),
                unlabeled,
                args.stream_buffer_size,
                seed,
                rank=rank,
                processes=processes,
                kept=ahead,
            )
        batches = args.max_steps * args.gradient_accumulation_steps * processes
        sizes = len(self.train_dataset), labeled, unlabeled  # type: ignore[arg-type]  # a dataset with a length
        sampler = StreamBatchSampler(
            *sizes, batches, self._reader, processes=processes, seed=seed, classes=self._drawn_classes
        )
        given = self.train_dataset, pool.prepare, self.views, self.algorithm.views, self.data.label_column
        return StreamViews(*given, seed, args.on_broken_file == "skip", self.data.drawn_by), sampler

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """As in Trainer; rows that were read ahead are let go of at the end."""
        try:
            return super().train(*args, **kwargs)
        finally:
            if self._reader is not None:
                self._reader.close()

    @property
    def _drawn_classes(self) -> Any:
        """The classes [L] of the labeled examples if each class is to be drawn equally often; otherwise None."""
        return self.data.labels if self.algorithm.correction.balances_labeled else None

    @property
    def _trained_batches(self) -> int:
        """Batches of this process that the model has been trained on; others may have been read ahead."""
        return self.state.global_step * self.args.gradient_accumulation_steps

    def _stream_file(self, folder: str) -> Path:
        return Path(folder, STREAM.format(rank=self.args.process_index))

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        if self._reader is not None:
            # `default`: sources that people write may count with NumPy.
            place = self._reader.state_after(self._trained_batches)
            saved = {"processes": self.args.world_size, "place": place}
            Path(output_dir).mkdir(parents=True, exist_ok=True)
            self._stream_file(output_dir).write_text(json.dumps(saved, default=int) + "\n", encoding="utf-8")

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        was_streamed = checkpoint is not None and Path(checkpoint, STREAM.format(rank=0)).is_file()
        if was_streamed and not isinstance(self.unlabeled_dataset, StreamedPool):
            raise ValueError(
                f"the pool must be a stream, as in the training that wrote {checkpoint}, got a dataset of "
                f"{len(self.unlabeled_dataset):,}; resume with that stream, or start in another output_dir"
            )
        if checkpoint is not None and self._reader is not None:
            self._reader.load(self._saved_place(checkpoint), self._trained_batches)

    def _saved_place(self, checkpoint: str) -> Any:
        first, path = Path(checkpoint, STREAM.format(rank=0)), self._stream_file(checkpoint)
        if not first.is_file():
            raise ValueError(
                f"{first} is missing: this checkpoint is of a training whose pool was not a stream; resume with that "
                "pool, or start in another output_dir"
            )
        saved, processes = read_json(first), self.args.world_size
        if saved["processes"] != processes:
            raise ValueError(
                f"{checkpoint} was written by {saved['processes']} processes, each with its part of the stream, and "
                f"{processes} cannot go on with them; resume with {saved['processes']}, or start from scratch"
            )
        return read_json(path)["place"]

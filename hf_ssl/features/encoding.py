"""One pass of an encoder over a dataset, into a folder that is complete or not there."""

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from filelock import FileLock
from tqdm.auto import tqdm

from ..modality import MODALITIES
from ..workers import quiet_tokenizers
from . import store
from .encoder import Encoder
from .inputs import Inputs
from .windows import Window, WindowMaker, iterate

T = TypeVar("T")


@dataclass(frozen=True)
class Pass:
    """What a pass needs.

    Args:
        encoder: makes the features.
        inputs: the rows.
        maker: makes windows of them.
        workers: processes that read and decode ahead.
        quiet: no progress bar; if None there is one on a terminal.
    """

    encoder: Encoder
    inputs: Inputs
    maker: WindowMaker
    workers: int = 0
    quiet: bool | None = None

    def run(self, target: Path) -> None:
        """Fill the folder `target`, unless it is there; every process of a run calls it."""
        state = PartialState()
        if from_first_process(target.is_dir()):
            return
        partial = target.with_name(f"{target.name}.partial")
        target.parent.mkdir(parents=True, exist_ok=True)
        # Another run with the same key waits here, and then finds the work done.
        with FileLock(target.with_name(f"{target.name}.{state.process_index}.lock")):
            if not target.is_dir():
                self._encode_rest(store.PartWriter(partial, state.process_index, state.num_processes))
            state.wait_for_everyone()
            if state.is_main_process and not target.is_dir():
                store.finish(partial, target, state.num_processes, {"modality": self.inputs.data.modality})
            state.wait_for_everyone()

    def _encode_rest(self, writer: store.PartWriter) -> None:
        """Encode the windows of this process that are not done yet."""
        for name in ("features", "head_features"):
            if name in writer.arrays:
                (self.encoder.widths[name],) = writer.arrays[name]["shape"]
        quiet_tokenizers(self.workers)
        share = {"skip": len(writer.window_rows), "rank": writer.rank, "processes": writer.processes}
        windows = iterate(self.inputs.rows, self.maker, workers=self.workers, **share)
        try:
            with self._progress_bar(writer) as bar:
                for window in windows:
                    broken = [window.start + place for place in window.broken]
                    writer.append(encode_window(self.encoder, window), broken)
                    bar.update(window.size * writer.processes)
            writer.save()
        finally:
            writer.close()

    def _progress_bar(self, writer: store.PartWriter) -> tqdm:
        """Examples of all processes, as the first one sees them, with the time left if their number is known."""
        return tqdm(
            total=len(self.inputs.rows) if hasattr(self.inputs.rows, "__len__") else None,
            initial=writer.rows * writer.processes,
            desc="encoding",
            unit=f" {MODALITIES[self.inputs.data.modality].plural}",
            disable=self.quiet if writer.rank == 0 else True,
        )


def encode_window(encoder: Encoder, window: Window) -> dict[str, np.ndarray]:
    """Arrays of a window's rows: "features" [W, D], "labels" [W], and what else there is.

    "head_features" [W, H] if the encoder reads them, and "views" [W, n, D] if there are random views.

    Raises:
        ValueError: if no row of the first window can be read, since the width of the features is not known then.
    """
    made: list[dict[str, np.ndarray]] = []
    for batches in window.views:
        encoded = [(encoder(batch), places) for batch, places in batches]
        if not encoder.widths:
            raise ValueError(
                f"at least one of the first {window.size} examples must be readable, got none; check the files"
            )
        rows = {
            name: np.full((window.size, width), np.nan, dtype=np.float32) for name, width in encoder.widths.items()
        }
        for vectors, places in encoded:
            for name, values in vectors.items():
                rows[name][places] = values.numpy()
        made.append(rows)
    arrays = {**made[0], "labels": window.labels}
    if len(made) > 1:
        arrays["views"] = np.stack([rows["features"] for rows in made[1:]], axis=1)
    return arrays


def from_first_process(value: T) -> T:
    """The first process's value, so that all decide alike."""
    return broadcast_object_list([value])[0] if PartialState().num_processes > 1 else value

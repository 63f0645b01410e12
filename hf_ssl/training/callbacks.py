"""The part of SSLTrainer that puts the project's callbacks in the place of Trainer's."""

from typing import Any

from transformers import PrinterCallback, ProgressCallback, Trainer, TrainerCallback
from transformers.integrations import TrackioCallback

from .progress import BarAndLines, LogLines
from .progress_callback import SSLProgressCallback
from .trackio_callback import SSLTrackioCallback


class CallbacksMixin(Trainer):
    """A `Trainer` whose log lines are sentences, which has one display at a time, and tells Trackio more."""

    def add_callback(self, callback: Any) -> None:
        """As in Trainer; `SSLProgressCallback` takes the place of Trainer's display, except in a notebook."""
        super().add_callback(callback)
        callbacks = self.callback_handler.callbacks
        for place, found in enumerate(callbacks):
            callbacks[place] = self._ours(found)
        # Only in notebooks is there such a class; importing it takes IPython.
        in_notebook = any(type(found).__name__ == "NotebookProgressCallback" for found in callbacks)
        ours = [found for found in callbacks if isinstance(found, SSLProgressCallback)]
        for found in ours:
            found.shows = not in_notebook
        if ours:
            callbacks[:] = [found for found in callbacks if not isinstance(found, BarAndLines | LogLines)]

    def _ours(self, callback: TrainerCallback) -> TrainerCallback:
        """What takes the place of one of Trainer's callbacks; any other stays."""
        if type(callback) is ProgressCallback:
            return BarAndLines()
        if type(callback) is PrinterCallback:
            return LogLines()
        if type(callback) is TrackioCallback:
            return SSLTrackioCallback(self)
        return callback

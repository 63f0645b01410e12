"""Where a run comes from, as far as others may know: data, labels, base model, machine. No path, account or token."""

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import datasets
import torch
from huggingface_hub import HfApi, is_offline_mode
from huggingface_hub.errors import HFValidationError, HTTPError
from transformers import TrainingArguments

from ..data.duplicates import digest
from ..data.rows import fetch_rows
from ..report.markdown import code

# A labeled set is small if labels are scarce; larger ones would be read once more for their hash alone.
LARGEST_HASHED = 20_000
# `datasets` keeps what it loads from the Hub in ACCOUNT___NAME/CONFIGURATION/VERSION/COMMIT/ of its cache.
_HUB_CACHE = re.compile(r"([\w.-]+)___([\w.-]+)/[^/]+/[^/]+/([0-9a-f]{40})/[^/]+$")
_DRAW = re.compile(r"labels(\d+)_seed(\d+)")


@dataclass(frozen=True)
class DataSource:
    """What a loaded dataset knows about itself.

    Args:
        repository: its id on the Hub; None if it was made from local files or in memory.
        revision: the commit that it was read from.
        config: the name of its configuration; None for "default".
        split: such as "test"; None for a part of a split.

    Example:
        >>> source = DataSource("someone/usb-x", config="labels40_seed2", split="labeled")
        >>> source.describe()
        '`someone/usb-x`, configuration `labels40_seed2`, split `labeled`'
        >>> source.draw
        '40 labels, seed 2'
    """

    repository: str | None = None
    revision: str | None = None
    config: str | None = None
    split: str | None = None

    def describe(self) -> str:
        """Repository, configuration, split and revision in Markdown; empty if nothing is known."""
        parts = {"": self.repository, "configuration ": self.config, "split ": self.split, "revision ": self.revision}
        return ", ".join(f"{what}{code(name)}" for what, name in parts.items() if name)

    @property
    def draw(self) -> str | None:
        """Which draw of labels the configuration is, in words, if it is named like those of built benchmark tasks."""
        found = _DRAW.match(self.config or "")
        return f"{int(found[1]):,} labels, seed {found[2]}" if found else None


def source_of(dataset: Any) -> DataSource:
    """What `datasets` noted when it loaded the dataset; nothing for other datasets."""
    if not isinstance(dataset, datasets.Dataset):
        return DataSource()
    config = dataset.info.config_name
    config = None if config is None or config == "default" or config.startswith("default-") else config
    files = [Path(file["filename"]).as_posix() for file in dataset.cache_files]
    found = next(filter(None, map(_HUB_CACHE.search, files)), None)
    repository, revision = (f"{found[1]}/{found[2]}", found[3]) if found else (None, None)
    return DataSource(repository, revision, config, _whole_split(dataset))


def _whole_split(dataset: datasets.Dataset) -> str | None:
    """The name of the split that the dataset is; None for a part of one, or for rows of several."""
    name = str(dataset.split)
    if dataset.split is None or not re.fullmatch(r"\w+", name):
        return None
    known = dataset.info.splits
    return name if not known or (name in known and known[name].num_examples == len(dataset)) else None


def is_dataset_id(name: str) -> bool:
    """Whether a dataset's name has the form of a Hub id, and is not a description in words."""
    return re.fullmatch(r"[\w.-]+/[\w.-]+", name) is not None


def labeled_hash(dataset: Any, columns: Sequence[str], classes: Sequence[str], files: bool = False) -> str | None:
    """SHA-256 of a labeled set, regardless of the order of its examples; None above `LARGEST_HASHED` examples.

    Args:
        dataset: the labeled examples.
        columns: those of the input.
        classes: the class name of each example.
        files: whether texts in the columns are names of files, whose content is hashed then.
    """
    if len(dataset) > LARGEST_HASHED:
        return None
    if isinstance(dataset, datasets.Dataset):
        # Arrow's own values: nothing is decoded, and no transform is run.
        rows = dataset.select_columns(list(columns)).with_format("arrow")[:].to_pylist()
    else:
        rows = fetch_rows(dataset, range(len(dataset)))
    marks = []
    for row, name in zip(rows, classes, strict=True):
        content = b"".join(digest(row[column], files) or b"" for column in columns)
        marks.append(hashlib.sha256(content + name.encode("utf-8", "surrogatepass")).digest())
    return hashlib.sha256(b"".join(sorted(marks))).hexdigest()


def loaded_from(model: Any) -> str | None:
    """The Hub id or folder that a model was loaded from, of a PEFT model its base; None for a new model."""
    if hasattr(model, "peft_config"):
        model = model.get_base_model()
    return getattr(getattr(model, "config", None), "_name_or_path", None) or None


def is_public_id(name: str) -> bool:
    """Whether a model's name can be an id on the Hub, and is not a folder here."""
    return re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name) is not None and not os.path.exists(name)


@cache
def license_of(model: str) -> str | None:
    """The license on a model's Hub page; None if it has none, or without network."""
    if is_offline_mode():
        return None
    try:
        tags = HfApi().model_info(model, timeout=5).tags or []
    except (HTTPError, HFValidationError, OSError):
        return None
    return next((tag.removeprefix("license:") for tag in tags if tag.startswith("license:")), None)


def hardware(args: TrainingArguments) -> str:
    """The devices that train, such as "2 x NVIDIA H100" or "1 x CPU (8 threads)", and the precision."""
    device = args.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type.upper()
    if device.type == "cpu":
        threads = torch.get_num_threads()
        name += f" ({threads} thread{'s' * (threads > 1)})"
    precision = "bf16" if args.bf16 else "fp16" if args.fp16 else "fp32"
    return f"{args.world_size} x {name}, {precision}"

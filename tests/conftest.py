"""Tiny models and datasets that every test file may use. Nothing here reads the network.

Heavy packages are imported inside the fixtures: the process that shares the files out needs none of them, and the
workers start only after it has read this file.
"""

import gc
import os
from pathlib import Path

import pytest

from tests.helpers.longest_files import LONGEST

TESTS = Path(__file__).resolve().parent

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
# Also for the processes that tests start: sums of several threads need not be equal bit for bit, and tests run in
# parallel.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Until all tests are imported there is no garbage, and looking for it takes a fifth of the time.
gc.disable()


def pytest_collection_modifyitems(items):
    places = {TESTS / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="module", autouse=True)
def small_garbage_collections():
    """Leave out of garbage collections what exists before a file's tests.

    Each training ends with a collection, which otherwise looks at every object of torch and transformers: 0.3 s, more
    than most of the trainings here take.
    """
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="module", autouse=True)
def verbosity():
    """Show what a file's tests kept off the screen: `transformers` decides by its level whether a training prints."""
    from transformers.utils import logging

    level = logging.get_verbosity()
    yield
    logging.set_verbosity(level)


@pytest.fixture(scope="module")
def benchmark_scripts():
    """The folder of the benchmarks, whose scripts a test may import: they find each other as if they were run."""
    folder = Path(__file__).resolve().parents[1] / "examples" / "benchmarks"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield folder


@pytest.fixture(scope="session")
def images():
    from tests.helpers.tiny_images import make_images

    return {"labeled": make_images(6, 0), "unlabeled": make_images(24, 1), "test": make_images(12, 2)}


@pytest.fixture(scope="session")
def image_processor():
    from transformers import ViTImageProcessor

    return ViTImageProcessor(size={"height": 12, "width": 12}, image_mean=[0.5] * 3, image_std=[0.5] * 3)


@pytest.fixture
def vit():
    from tests.helpers.tiny_images import make_vit

    return make_vit()


@pytest.fixture
def make_trainer(images, image_processor, tmp_path):
    """A function that makes a small SSLTrainer; keywords go to SSLConfig, `trainer` to SSLTrainer."""
    from hf_ssl import SSLConfig, SSLTrainer

    from tests.helpers.tiny_images import make_vit

    def make(model=None, trainer=None, **config):
        defaults = {
            "output_dir": str(tmp_path / "run"),
            "max_steps": 4,
            "per_device_train_batch_size": 2,
            "unlabeled_batch_ratio": 2,
            "learning_rate": 1e-2,
            "algorithm_kwargs": {"threshold": 0.2} if config.get("algorithm", "fixmatch") == "fixmatch" else None,
            "save_strategy": "no",
            "report_to": "none",
            "use_cpu": True,
            "disable_tqdm": True,
            "logging_steps": 1,
            "dataloader_pin_memory": False,
            "dataloader_num_workers": 0,
        }
        given = {
            "train_dataset": images["labeled"],
            "unlabeled_dataset": images["unlabeled"],
            "eval_dataset": images["test"],
            "processing_class": image_processor,
        }
        return SSLTrainer(model or make_vit(), SSLConfig(**{**defaults, **config}), **{**given, **(trainer or {})})

    return make

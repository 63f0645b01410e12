"""How many views one core makes in a second, and how long a training step waits for them.

    python examples/benchmarks/view_throughput.py

Three tables, on data made up here, of the sizes of USB's tasks:

1. views per second of one core, by its CPU time, so that other load on the machine hardly matters. A view is made from
   the encoded file: reading, resizing, changing; "stack" is a view's share of the work of stacking a batch;
2. CPU milliseconds of a joint batch of 8 labeled and 8 or 56 unlabeled examples with a weak and a strong view, and the
   shortest step during which the default number of workers makes the next one;
3. the share of time that steps wait for data, measured with these workers. A step is a pause of `--step-ms`, as long
   as a GPU would compute, with the CPU as idle as it then is; on a busy machine the share is that of a busy machine.
"""

import argparse
import io
import time

import numpy as np
import soundfile
import torch
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch.utils.data import DataLoader
from transformers import PreTrainedTokenizerFast, ViTImageProcessor, Wav2Vec2FeatureExtractor

from hf_ssl.batches.collators import SSLCollator
from hf_ssl.batches.dataset import ViewDataset
from hf_ssl.batches.sampler import JointBatchSampler
from hf_ssl.report.tables import table
from hf_ssl.views.audio import AudioViews
from hf_ssl.views.image import ImageViews
from hf_ssl.views.text import TextViews
from hf_ssl.workers import usual_workers

LABELED = 8
RATIOS = (1, 7)
VIEWS = {"weak": "weak", "strong": "strong"}


def images(size: int, width: int, height: int, kind: str):
    """Rows of smooth random pictures in files of this size, and their views."""
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(32):
        coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        buffer = io.BytesIO()
        coarse.resize((width, height), Image.Resampling.BICUBIC).save(buffer, format=kind)
        rows.append({"image": {"bytes": buffer.getvalue(), "path": None}, "label": 0})
    return rows, ImageViews(ViTImageProcessor(size={"height": size, "width": size}))


def clips(seconds: float, rate: int):
    """Rows of noise as WAV files, and their views at 16 kHz."""
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(16):
        buffer = io.BytesIO()
        soundfile.write(buffer, 0.1 * rng.normal(size=round(seconds * rate)), rate, format="WAV")
        rows.append({"audio": {"bytes": buffer.getvalue(), "path": None}, "label": 0})
    return rows, AudioViews(Wav2Vec2FeatureExtractor(), max_length_seconds=seconds)


def texts(lengths: list[int]):
    """Rows of this many random words each, and their views with a tokenizer of whole words."""
    rng = np.random.default_rng(0)
    vocabulary = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *("".join(rng.choice(list("etaoin"), 7)) for _ in range(5000)),
    ]
    backend = Tokenizer(models.WordLevel({word: i for i, word in enumerate(vocabulary)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {
        "pad_token": "[PAD]",
        "unk_token": "[UNK]",
        "mask_token": "[MASK]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
    }
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, model_max_length=512, **names)
    rows = [{"text": " ".join(rng.choice(vocabulary[5:], words)), "label": 0} for words in lengths]
    return rows, TextViews(tokenizer, augmentation_columns=())


TASKS = {
    "image 32 px (PNG)": lambda: images(32, 32, 32, "PNG"),
    "image 96 px (PNG)": lambda: images(96, 96, 96, "PNG"),
    "image 224 px (JPEG 500 x 375)": lambda: images(224, 500, 375, "JPEG"),
    "clip 1 s (16 kHz)": lambda: clips(1.0, 16_000),
    "clip 5 s (44.1 kHz)": lambda: clips(5.0, 44_100),
    "text of 40 words": lambda: texts([40] * 32),
    "text of 230 words": lambda: texts([230] * 32),
}


def cpu_seconds(function, least: float) -> float:
    """CPU seconds of one call, over calls that take `least` together."""
    function(0)
    start, calls = time.process_time(), 0
    while time.process_time() - start < least:
        function(calls)
        calls += 1
    return (time.process_time() - start) / calls


def rates(rows, views, least: float) -> dict[str, float]:
    """CPU seconds of each kind of view, and of a view's share in stacking 56."""

    def make(kind):
        if kind == "evaluation":
            return lambda i: views.evaluation(rows[i % len(rows)])
        return lambda i: views(kind, rows[i % len(rows)], np.random.default_rng(i))

    kinds = ["weak", "strong", *(["rotated"] if views.modality == "image" else []), "evaluation"]
    seconds = {kind: cpu_seconds(make(kind), least) for kind in kinds}
    items = [make("weak")(i) for i in range(56)]
    return {**seconds, "stack": cpu_seconds(lambda _: views.collate(items), least) / len(items)}


def waiting(rows, views, ratio: int, workers: int, step: float, steps: int) -> float:
    """Share of the time that `steps` steps of `step` seconds wait for their batch, without the first and its start."""
    sampler = JointBatchSampler(len(rows), LABELED * ratio * (steps + 1), LABELED, LABELED * ratio)
    dataset = ViewDataset(rows, rows * (LABELED * ratio * (steps + 1) // len(rows) + 1), views, VIEWS, "label")
    loader = DataLoader(dataset, batch_sampler=sampler, collate_fn=SSLCollator(views), num_workers=workers)
    iterator = iter(loader)
    next(iterator)
    time.sleep(step)
    waited, start = 0.0, time.perf_counter()
    for _ in range(steps):
        before = time.perf_counter()
        next(iterator)
        waited += time.perf_counter() - before
        time.sleep(step)
    return waited / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=usual_workers(), help="processes that make views")
    parser.add_argument(
        "--step-ms", type=float, nargs="+", default=[50, 200], help="lengths of a step to measure waiting for"
    )
    parser.add_argument("--steps", type=int, default=30, help="steps of a measurement of waiting")
    parser.add_argument("--seconds", type=float, default=1.0, help="CPU seconds of a measurement of views")
    args = parser.parse_args()
    torch.set_num_threads(1)
    speeds, costs, waits = [], [], []
    for name, make in TASKS.items():
        rows, views = make()
        seconds = rates(rows, views, args.seconds)
        speeds.append(
            [
                name,
                *(
                    f"{1 / seconds[k]:,.0f}" if k in seconds else "-"
                    for k in ("weak", "strong", "rotated", "evaluation", "stack")
                ),
            ]
        )
        for ratio in RATIOS:
            unlabeled = LABELED * ratio
            cost = (LABELED + unlabeled) * seconds["weak"] + unlabeled * seconds["strong"]
            cost += (LABELED + 2 * unlabeled) * seconds["stack"]
            costs.append(
                [name, f"{LABELED} + {unlabeled}", f"{1e3 * cost:.1f}", f"{1e3 * cost / max(args.workers, 1):.1f}"]
            )
            shares = [waiting(rows, views, ratio, args.workers, ms / 1e3, args.steps) for ms in args.step_ms]
            waits.append([name, f"{LABELED} + {unlabeled}", *(f"{100 * share:.1f} %" for share in shares)])
    print(table(["views per second of one core", "weak", "strong", "rotated", "evaluation", "stack"], speeds))
    shortest = f"shortest step, ms, {args.workers} workers"
    print("\n" + table(["a joint batch", "examples", "CPU ms", shortest], costs))
    header = [f"step of {ms:g} ms" for ms in args.step_ms]
    print("\n" + table([f"share of time waiting, {args.workers} workers", "examples", *header], waits))


if __name__ == "__main__":
    main()

"""What training costs on a GPU: steps, what they wait for, memory, and the hours of a published table.

    python examples/benchmarks/gpu.py                                       # all of it, about ten minutes
    python examples/benchmarks/gpu.py --parts memory --device cpu           # the table of memory in README.md
    python examples/benchmarks/gpu.py --device cpu --tiny                   # does the script work?

All models have random weights, made from configurations, and all data are made here: nothing is downloaded.

steps   A step of SSLTrainer beside a hand-written loop, as `step_time.py` measures it, in float32, with autocast to
        bfloat16, and compiled. Ratios can be compared between machines, milliseconds cannot.
waits   Operations in a step of FlexMatch and of SimMatch at which the host waits for the GPU, as CUDA reports them
        (`torch.cuda.set_sync_debug_mode`): loader, forward and backward pass, optimizer, average, bookkeeping. The
        aim is none of ours.
memory  The most memory in a FixMatch step on long texts beyond the weights, and its seconds, for 1, 3 and 7
        unlabeled texts per labeled one, with all views at once and in pieces (`view_micro_batch`). On a GPU it is what
        torch allocates; on a CPU the resident memory of a process of its own, and the processor's seconds.
hours   Hours of the FixMatch row of USB's table of images: all label settings and seeds of its five tasks, 204,800
        steps each, from measured steps with 8 labeled and 8 unlabeled images of their size on their backbones. Views,
        evaluations and checkpoints are not in it.
"""

import argparse
import ctypes
import multiprocessing
import re
import resource
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import datasets
import step_time
import torch
import transformers
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    TrainerCallback,
    ViTConfig,
    ViTForImageClassification,
    Wav2Vec2Config,
    Wav2Vec2ForSequenceClassification,
)
from view_throughput import clips, images, texts

from hf_ssl import ModelForward, Progress, SSLBatch, SSLConfig, SSLTrainer, get_algorithm
from hf_ssl.benchmark import TASKS
from hf_ssl.report.tables import table

PARTS = ("steps", "waits", "memory", "hours")
CLASSES, LABELED = 10, 8
RATIOS = (1, 3, 7)
USB_STEPS = 204_800
_M_MMAP_THRESHOLD = -3
# Width, heads and layers of the ViTs in USB's table, by the letter in their names.
VITS = {"Ti": (192, 3, 12), "S": (384, 6, 12), "B": (768, 12, 12)}


# ---- Models ----


def vit(letter: str, patch: int, size: int, tiny: bool = False) -> ViTForImageClassification:
    width, heads, layers = (24, 3, 1) if tiny else VITS[letter]
    sizes = {"hidden_size": width, "num_attention_heads": heads, "num_hidden_layers": layers}
    config = ViTConfig(**sizes, intermediate_size=4 * width, image_size=size, patch_size=patch, num_labels=CLASSES)
    return ViTForImageClassification(config)


def mini_lm(tiny: bool = False) -> BertForSequenceClassification:
    """As all-MiniLM-L6-v2: 6 layers, 384 wide."""
    width, layers = (24, 1) if tiny else (384, 6)
    sizes = {"hidden_size": width, "num_attention_heads": 12, "num_hidden_layers": layers}
    return BertForSequenceClassification(BertConfig(**sizes, intermediate_size=4 * width, num_labels=CLASSES))


def wav2vec2(tiny: bool = False) -> Wav2Vec2ForSequenceClassification:
    """As wav2vec2-base, without its masks in time, which `step_time.bare` and the trainer would draw differently."""
    sizes = {"hidden_size": 24, "num_attention_heads": 2, "num_hidden_layers": 1, "intermediate_size": 24}
    sizes |= {"conv_dim": (8,) * 7, "num_conv_pos_embedding_groups": 2, "classifier_proj_size": 8}
    config = Wav2Vec2Config(**(sizes if tiny else {}), num_labels=CLASSES, apply_spec_augment=False)
    return Wav2Vec2ForSequenceClassification(config)


# ---- Steps ----

MODES = {"float32": (False, False), "bfloat16": (True, False), "bfloat16, compiled": (True, True)}


def steps(args: argparse.Namespace) -> None:
    tiny, pixels = args.tiny, 16 if args.tiny else 224
    tasks = {
        f"ViT-S/{8 if tiny else 16}, {pixels} px": (
            "image",
            lambda: vit("S", 8 if tiny else 16, pixels, tiny),
            lambda: images(pixels, pixels, pixels, "PNG"),
        ),
        "MiniLM, news": ("text", lambda: mini_lm(tiny), lambda: texts(step_time.news_lengths(256))),
        "wav2vec 2.0, 1 s": ("audio", lambda: wav2vec2(tiny), lambda: clips(1.0, 16_000)),
    }
    step_time.TASKS.update(tasks)
    rows = []
    for name in list(tasks)[: 1 if tiny else None]:
        for mode, (bf16, compiled) in list(MODES.items())[: 2 if tiny else None]:
            given = {"labeled": LABELED, "ratio": 1, "workers": 0 if tiny else 4, "ema": False}
            blocks = {"block": 3, "rounds": 1} if tiny else {"block": 12, "rounds": 6}
            with tempfile.TemporaryDirectory() as folder:
                choice = argparse.Namespace(**given, **blocks, bf16=bf16, compile=compiled)
                result = step_time.measure(name, choice, folder)
            times = [f"{result['ms'][who]:.1f}" for who in ("bare", "SSLTrainer")]
            rows.append([name, mode, *times, f"{result['ratio']:.2f}"])
            # Nine of them take minutes: whoever stops keeps what is there.
            print(*rows[-1], sep=" | ", flush=True)
    print(table(["task", "SSLTrainer in", "bare, ms", "SSLTrainer, ms", "ratio"], rows))
    print("The bare loop is never compiled.\n")


# ---- What steps wait for ----


class CountWaits(TrainerCallback):
    """Has CUDA report each wait, from the second step on."""

    def __init__(self, first: int = 2):
        self.first = first

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == self.first:
            torch.cuda.set_sync_debug_mode("warn")

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        torch.cuda.set_sync_debug_mode("default")


def waits(args: argparse.Namespace) -> None:
    if args.device == "cpu":
        print("waits: only a GPU is waited for\n")
        return
    rows = []
    for algorithm in ("flexmatch", "simmatch"):
        for modality in ("image", "text"):
            count, places = waits_of(algorithm, modality)
            rows.append([algorithm, modality, f"{count:.1f}", "; ".join(places) or "-"])
    print(table(["algorithm", "data", "waits per step", "where"], rows) + "\n")


def waits_of(algorithm: str, modality: str, counted: int = 20) -> tuple[float, list[str]]:
    """Waits per step, and the places in the code of those that are not in a torch or transformers file."""
    rows, views = {"image": lambda: images(32, 32, 32, "PNG"), "text": lambda: texts([20, 30])}[modality]()
    callback = CountWaits()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        config = SSLConfig(
            folder,
            algorithm=algorithm,
            max_steps=callback.first + counted,
            per_device_train_batch_size=LABELED,
            logging_steps=10 * counted,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            duplicate_check_seconds=0,
            dataloader_num_workers=2,
        )
        trainer = SSLTrainer(
            vit("Ti", 4, 32) if modality == "image" else mini_lm(),
            config,
            train_dataset=step_time.dataset(rows, modality, 4 * LABELED),
            unlabeled_dataset=step_time.dataset(rows, modality, 40 * LABELED),
            processing_class=next(getattr(views, name) for name in step_time.PROCESSORS if hasattr(views, name)),
        )
        trainer.add_callback(callback)
        trainer.train()
    found = [each for each in caught if "synchroniz" in str(each.message)]
    places = {f"{'/'.join(each.filename.split('/')[-2:])}:{each.lineno}" for each in found}
    return len(found) / counted, sorted(places)


# ---- One step by itself ----


class Step:
    """A FixMatch step of a model on random inputs, without loader and optimizer.

    Args:
        model: on the device.
        rows: from a number of examples to a view of as many.
        ratio: unlabeled examples for each of the `labeled` ones.
        bf16: whether to compute in bfloat16.
        micro_batch: as `view_micro_batch`.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        rows: Callable[[int], dict[str, torch.Tensor]],
        labeled: int,
        ratio: int,
        *,
        bf16: bool,
        micro_batch: int | None = None,
    ):
        self.forward = ModelForward(model.train(), micro_batch=micro_batch)
        self.device = next(model.parameters()).device
        sizes = {"num_classes": CLASSES, "num_labeled": 40, "num_unlabeled": 1000, "labeled_batch_size": labeled}
        sizes |= {"unlabeled_batch_size": labeled * ratio, "feature_size": self.forward.head.in_features}
        self.algorithm = get_algorithm("fixmatch", **sizes).to(self.device)
        labels = torch.arange(labeled, device=self.device) % CLASSES
        self.batch = SSLBatch(rows(labeled), labels, {name: rows(labeled * ratio) for name in ("weak", "strong")})
        self.precision = lambda: torch.autocast(self.device.type, torch.bfloat16) if bf16 else nullcontext()

    def run(self) -> float:
        """Its seconds; on a CPU those of the processor, which other programs hardly change."""
        clock = time.perf_counter if self.device.type == "cuda" else time.process_time
        self.wait()
        began = clock()
        with self.precision():
            loss = self.algorithm(self.forward, self.batch, Progress(0, 10, 5)).loss
        loss.backward()
        self.wait()
        return clock() - began

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def tokens(length: int, device: str) -> Callable[[int], dict[str, torch.Tensor]]:
    def rows(count: int) -> dict[str, torch.Tensor]:
        ids = torch.randint(1000, 30_000, (count, length), device=device)
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}

    return rows


def pixels_of(size: int, device: str) -> Callable[[int], dict[str, torch.Tensor]]:
    return lambda count: {"pixel_values": torch.randn(count, 3, size, size, device=device)}


# ---- Memory ----


def memory(args: argparse.Namespace) -> None:
    labeled, length = (2, 8) if args.tiny else (LABELED, 512 if args.device == "cuda" else 64)
    most = 2 * labeled
    measured = {
        (ratio, size): apart(args.device, memory_of, args, labeled, length, ratio, size)
        for ratio in RATIOS[:: 2 if args.tiny else 1]
        for size in (None, most)
    }
    rows = []
    for ratio in sorted({ratio for ratio, _ in measured}):
        whole, pieces = measured[ratio, None], measured[ratio, most]
        times = [f"{seconds:.3g}" for _, seconds in (whole, pieces)]
        rows.append([ratio, *(f"{bytes_ / 2**20:,.0f}" for bytes_, _ in (whole, pieces)), *times])
    print(f"MiniLM, {labeled} labeled texts of {length} tokens, {'bfloat16' if args.device == 'cuda' else 'float32'}")
    heads = ["mu", "MiB, at once", f"MiB, pieces of {most}", "s, at once", f"s, pieces of {most}"]
    print(table(heads, rows) + "\n")


def memory_of(
    args: argparse.Namespace, labeled: int, length: int, ratio: int, size: int | None
) -> tuple[float, float]:
    """The most bytes in a step beyond the weights, and its seconds."""
    torch.manual_seed(0)
    model, on_gpu = mini_lm(args.tiny).to(args.device), args.device == "cuda"
    step = Step(model, tokens(length, args.device), labeled, ratio, bf16=on_gpu, micro_batch=size)
    # What libraries and kernels take when they are first used.
    Step(model, tokens(8, args.device), 1, 1, bf16=on_gpu).run()
    if on_gpu:
        step.run()
    # As after an optimizer's step.
    model.zero_grad()
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated() if on_gpu else resident_now()
    seconds = step.run()
    most = torch.cuda.max_memory_allocated() if on_gpu else most_resident()
    # The kernel counts the two resident sizes in different ways: a tiny step may come out below nothing.
    return max(most - before, 0.0), seconds


def resident_now() -> float:
    """The resident bytes of this process; the most so far where there is no /proc."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()
    except OSError:
        return most_resident()


def most_resident() -> float:
    """The most resident bytes of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def apart(device: str, function: Callable[..., Any], *given: Any) -> Any:
    """On a CPU `function(*given)` in a process of its own, whose memory nobody else has used."""
    if device == "cuda":
        return function(*given)
    context = multiprocessing.get_context("fork")
    with context.Pool(1, initializer=return_memory) as pool:
        return pool.apply(function, given)


def return_memory() -> None:
    """Let glibc give freed blocks of 64 KiB and more back at once: others it keeps, in pieces that may fit nothing."""
    if sys.platform == "linux":
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, 1 << 16)


# ---- Hours ----


def hours(args: argparse.Namespace) -> None:
    seconds: dict[str, float] = {}
    rows, whole = [], 0.0
    for task in (task for task in TASKS.values() if task.usb_backbone.startswith("ViT-")):
        backbone = task.usb_backbone
        if backbone not in seconds:
            seconds[backbone] = step_seconds(args, *re.findall(r"ViT-(\w+)/(\d+) at (\d+) px", backbone)[0])
        runs = len(task.label_settings) * len(task.seeds)
        spent = runs * USB_STEPS * seconds[backbone] / 3600
        whole += spent
        rows.append([task.title, backbone, runs, f"{1e3 * seconds[backbone]:.1f}", f"{spent:,.1f}"])
    print(table(["task", "backbone", "runs", "ms per step", "hours"], rows))
    print(f"FixMatch's row of USB's images, {USB_STEPS:,} steps each: {whole:,.1f} hours\n")


def step_seconds(args: argparse.Namespace, letter: str, patch: str, size: str) -> float:
    """The median seconds of a step with fused AdamW."""
    model = vit(letter, int(patch), int(size), args.tiny).to(args.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    step = Step(model, pixels_of(int(size), args.device), LABELED, 1, bf16=args.device == "cuda")
    taken = []
    for _ in range(2 if args.tiny else 30):
        began = time.perf_counter()
        step.run()
        optimizer.step()
        optimizer.zero_grad()
        step.wait()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken[len(taken) // 3 :])


def main(words: Iterable[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", default=PARTS, choices=PARTS, help="what to measure; all by default")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--tiny", action="store_true", help="models of one layer and few steps: numbers mean nothing")
    args = parser.parse_args(None if words is None else list(words))
    if args.device == "cuda" and not torch.cuda.is_available():
        print("gpu.py must have a GPU, and torch sees none; try --device cpu --parts memory", file=sys.stderr)
        return 1
    datasets.disable_progress_bars()
    transformers.utils.logging.set_verbosity_error()
    name = torch.cuda.get_device_name() if args.device == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    print(f"{name}, torch {torch.__version__}, transformers {transformers.__version__}\n")
    for part in args.parts:
        {"steps": steps, "waits": waits, "memory": memory, "hours": hours}[part](args)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What a step through SSLTrainer costs beyond the computation that it cannot do without.

    python examples/benchmarks/step_time.py --output examples/benchmarks/results/step_time

For images, texts and recordings two things are timed in one process with the same model, batch sizes and precision:

- bare: a hand-written FixMatch step on the trainer's batches, which are ready in memory: the weak views without
  gradient, the labeled and strong views in one pass, the loss, backward, fused AdamW. No clipping, no average, no log,
  no loader.
- SSLTrainer: `train()` with its defaults, and an average of the weights with `--ema`: views of encoded files made by
  worker processes, joint batches, clipping, checks for losses that are not finite, log lines.

They take turns: a block of bare steps whenever the trainer has done as many, so that other load on the machine affects
both. The first two steps of each block are not counted, since the loader went on during the other's block. The ratio
is the median over the blocks of the ratio of their median steps; "CPU" is the same for the CPU time of the process
instead of the clock, which other programs hardly change. Only ratios can be compared between machines.

The steps are also taken apart: waiting for data, forward, backward, optimizer (with clipping), average, and the rest,
which is the bookkeeping of the algorithm and of Trainer. On a GPU separate steps are used for this, since each part is
waited for, so the parts add up to more than a step. Writes OUTPUT.json and OUTPUT.png.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from pathlib import Path

import datasets
import numpy as np
import torch
import transformers
from torch.nn import functional as F
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

from hf_ssl import SSLBatch, SSLConfig, SSLTrainer
from hf_ssl.report.tables import table

CLASSES, THRESHOLD, LEARNING_RATE = 10, 0.95, 1e-4
UNCOUNTED = 2
PROCESSORS = ("processor", "tokenizer", "feature_extractor")
PARTS = {
    "data": "#bbbbbb",
    "forward": "#0b6fb8",
    "backward": "#5aa9dd",
    "optimizer": "#3a7d44",
    "EMA": "#8f4fa8",
    "rest": "#d1495b",
}
COLUMNS = {"image": datasets.Image(), "text": datasets.Value("string"), "audio": datasets.Audio(sampling_rate=16_000)}


def vit_tiny():
    size = {"image_size": 32, "patch_size": 4, "hidden_size": 192, "num_attention_heads": 3, "intermediate_size": 768}
    return ViTForImageClassification(ViTConfig(**size, num_labels=CLASSES))


def bert_small():
    size = {
        "hidden_size": 256,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "intermediate_size": 1024,
        "vocab_size": 8000,
    }
    return BertForSequenceClassification(BertConfig(**size, num_labels=CLASSES))


def wav2vec2_small():
    size = {"hidden_size": 192, "num_hidden_layers": 4, "num_attention_heads": 3, "intermediate_size": 768}
    convolutions = {"conv_dim": (128,) * 7, "num_conv_pos_embedding_groups": 16, "classifier_proj_size": 64}
    # Time masking would draw random places in NumPy in one of the two and not in the other.
    return Wav2Vec2ForSequenceClassification(
        Wav2Vec2Config(**size, **convolutions, num_labels=CLASSES, apply_spec_augment=False)
    )


def news_lengths(count: int) -> list[int]:
    """Numbers of words that are distributed like those of AG News: log-normal, mean 38, standard deviation 10."""
    return np.random.default_rng(0).lognormal(3.6, 0.26, count).round().astype(int).tolist()


TASKS = {
    "ViT-Tiny, 32 px": ("image", vit_tiny, lambda: images(32, 32, 32, "PNG")),
    "BERT, news": ("text", bert_small, lambda: texts(news_lengths(256))),
    "wav2vec 2.0, 1 s": ("audio", wav2vec2_small, lambda: clips(1.0, 16_000)),
}


class Clock:
    """Seconds of the parts of a step, waiting for the device before each reading."""

    def __init__(self, device: torch.device):
        self.synchronize = torch.cuda.synchronize if device.type == "cuda" else None
        self.parts: dict[str, float] | None = None

    @contextmanager
    def part(self, name: str):
        if self.parts is None:
            yield
            return
        start = self.read()[0]
        yield
        self.parts[name] = self.parts.get(name, 0.0) + self.read()[0] - start

    def read(self) -> tuple[float, float]:
        """The time and the CPU time in seconds, when the device has done all."""
        if self.synchronize is not None:
            self.synchronize()
        return time.perf_counter(), time.process_time()

    def wrap(self, owner, name: str, part: str) -> None:
        """Count the calls of a method of this one object as a part."""
        method = getattr(owner, name)

        def timed(*args, **kwargs):
            with self.part(part):
                return method(*args, **kwargs)

        setattr(owner, name, timed)


class Bare:
    """The loop that one would write by hand."""

    def __init__(self, model, clock: Clock, bf16: bool):
        self.model, self.clock = model.train(), clock
        device = next(model.parameters()).device.type
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.0, fused=True)
        self.precision = lambda: torch.autocast(device, torch.bfloat16) if bf16 else nullcontext()

    def step(self, batch: SSLBatch) -> None:
        labels, part = batch.labels, self.clock.part
        with self.precision():
            with part("forward"), torch.no_grad():
                weak = self.model(**batch.unlabeled["weak"]).logits
            confidence, targets = weak.float().softmax(dim=-1).max(dim=-1)
            with part("forward"):
                logits = self.model(**joined(batch.labeled, batch.unlabeled["strong"])).logits.float()
            supervised = F.cross_entropy(logits[: len(labels)], labels)
            losses = F.cross_entropy(logits[len(labels) :], targets, reduction="none")
            loss = supervised + (losses * (confidence >= THRESHOLD)).mean()
        with part("backward"):
            loss.backward()
        with part("optimizer"):
            self.optimizer.step()
            self.optimizer.zero_grad()


def joined(first, second):
    """Two views as one, the shorter sequences padded with zeros."""
    together = {}
    for name in first:
        length = max(first[name].shape[-1], second[name].shape[-1])
        together[name] = torch.cat([F.pad(view[name], (0, length - view[name].shape[-1])) for view in (first, second)])
    return together


class TakeTurns(TrainerCallback):
    """Lets the bare loop do as many steps after each block of the trainer's, and notes how long each step took."""

    def __init__(self, bare: Bare, clock: Clock, block: int, rounds: int):
        self.bare, self.clock, self.block, self.rounds = bare, clock, block, rounds
        # From which step on they are taken apart: on a CPU to look at the clock costs nothing.
        self.apart = 0 if clock.synchronize is None else block * rounds
        self.batches: list[SSLBatch] = []
        self.times = {"bare": [], "SSLTrainer": []}
        self.parts = {"bare": [], "SSLTrainer": []}

    def note(self, who: str) -> None:
        now = self.clock.read()
        self.times[who].append([after - before for after, before in zip(now, self.before, strict=True)])
        if self.clock.parts is not None:
            self.parts[who].append(dict(self.clock.parts))
            self.clock.parts.clear()

    def on_train_begin(self, args, state, control, **kwargs):
        self.clock.parts = {} if self.apart == 0 else None
        self.before = self.clock.read()

    def on_step_end(self, args, state, control, **kwargs):
        self.note("SSLTrainer")
        if state.global_step % self.block == 0:
            for batch in self.batches:
                self.before = self.clock.read()
                self.bare.step(batch)
                self.note("bare")
            self.batches.clear()
        if state.global_step == self.apart:
            self.clock.parts = {}
        self.before = self.clock.read()

    def result(self) -> dict:
        """Medians in ms, ratios, and the medians of the parts in ms."""
        measured, ratios = {}, {}
        for who, times in self.times.items():
            blocks = np.asarray(times[: self.block * self.rounds]).reshape(self.rounds, self.block, 2)
            measured[who] = np.median(blocks[:, UNCOUNTED:], axis=1)
        for which, name in enumerate(("ratio", "cpu_ratio")):
            ratios[name] = float(np.median(measured["SSLTrainer"][:, which] / measured["bare"][:, which]))
        parts = {}
        for who, steps in self.parts.items():
            counted = [i for i in range(len(steps)) if i % self.block >= UNCOUNTED]
            medians = {
                name: statistics.median(steps[i].get(name, 0.0) for i in counted) for name in PARTS if name != "rest"
            }
            whole = statistics.median(self.times[who][self.apart + i][0] for i in counted)
            medians["rest"] = max(whole - sum(medians.values()), 0.0)
            parts[who] = {name: 1e3 * seconds for name, seconds in medians.items()}
        milliseconds = {who: 1e3 * float(np.median(steps[:, 0])) for who, steps in measured.items()}
        return {"ms": milliseconds, **ratios, "parts_ms": parts}


def measure(name: str, args: argparse.Namespace, folder: str) -> dict:
    """The two contenders on one task."""
    modality, new_model, new_data = TASKS[name]
    rows, views = new_data()
    torch.manual_seed(0)
    model = new_model()
    steps = args.block * args.rounds * (2 if torch.cuda.is_available() else 1)
    config = SSLConfig(
        output_dir=folder,
        max_steps=steps,
        per_device_train_batch_size=args.labeled,
        unlabeled_batch_ratio=args.ratio,
        learning_rate=LEARNING_RATE,
        ema_role="evaluation" if args.ema else "none",
        bf16=args.bf16,
        torch_compile=args.compile,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        duplicate_check_seconds=0,
        dataloader_num_workers=args.workers,
        dataloader_pin_memory=torch.cuda.is_available(),
        use_cpu=not torch.cuda.is_available(),
    )
    pool = dataset(rows, modality, args.labeled * args.ratio * (steps + 10))
    trainer = SSLTrainer(
        model,
        config,
        train_dataset=dataset(rows, modality, 4 * args.labeled),
        unlabeled_dataset=pool,
        processing_class=next(getattr(views, name) for name in PROCESSORS if hasattr(views, name)),
    )
    clock = Clock(trainer.args.device)
    callback = TakeTurns(Bare(deepcopy(trainer.model), clock, args.bf16), clock, args.block, args.rounds)
    trainer.add_callback(callback)
    forward = trainer.algorithm.forward

    def keep(model_forward, batch, progress):
        callback.batches.append(batch)
        return forward(model_forward, batch, progress)

    trainer.algorithm.forward = keep
    clock.wrap(trainer, "get_batch_samples", "data")
    clock.wrap(trainer.accelerator, "backward", "backward")
    clock.wrap(trainer, "_clip_grad_norm", "optimizer")
    if not args.compile:
        clock.wrap(trainer.model, "forward", "forward")
    new_optimizer, new_scheduler = trainer.create_optimizer, trainer.create_scheduler

    def create_optimizer(*given):
        optimizer = new_optimizer(*given)
        clock.wrap(optimizer, "step", "optimizer")
        return optimizer

    def create_scheduler(*given, **named):
        # The average starts here, when the model is wrapped.
        scheduler = new_scheduler(*given, **named)
        if trainer.ema is not None:
            clock.wrap(trainer.ema, "update", "EMA")
        return scheduler

    trainer.create_optimizer, trainer.create_scheduler = create_optimizer, create_scheduler
    trainer.train()
    return {"task": name, "labeled": args.labeled, "unlabeled": args.labeled * args.ratio, **callback.result()}


def dataset(rows, modality: str, count: int) -> datasets.Dataset:
    """The rows again and again, with labels."""
    many = [rows[i % len(rows)][modality] for i in range(count)]
    made = datasets.Dataset.from_dict({modality: many, "label": [i % CLASSES for i in range(count)]})
    return made.cast_column(modality, COLUMNS[modality]).cast_column("label", datasets.ClassLabel(num_classes=CLASSES))


def draw(path: Path, results: list[dict], title: str) -> None:
    """Two bars for each task: where the milliseconds of a step go."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        1, len(results), figsize=(4.6 * len(results), 3.9), layout="constrained", squeeze=False
    )
    for axis, result in zip(axes[0], results, strict=True):
        for place, who in enumerate(("bare", "SSLTrainer")):
            start = 0.0
            for name, color in PARTS.items():
                value = result["parts_ms"][who][name]
                axis.bar(place, value, bottom=start, color=color, width=0.62, label=name if place else None)
                start += value
            axis.text(place, start, f"{start:.0f} ms", ha="center", va="bottom", fontsize=10)
        axis.set_xticks([0, 1], ["bare loop", "SSLTrainer"])
        axis.set_ylim(0, 1.12 * max(sum(result["parts_ms"][who].values()) for who in ("bare", "SSLTrainer")))
        axis.set_title(
            f"{result['task']}, {result['labeled']} + {result['unlabeled']}\nratio {result['ratio']:.2f}", fontsize=11
        )
        axis.spines[["top", "right"]].set_visible(False)
    axes[0][0].set_ylabel("milliseconds of a step")
    handles, labels = axes[0][-1].get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="outside right center", frameon=False)
    figure.suptitle(title, fontsize=12)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--tasks", nargs="+", default=list(TASKS), choices=list(TASKS), metavar="TASK", help="; ".join(TASKS)
    )
    parser.add_argument("--labeled", type=int, default=8, help="labeled examples of a step")
    parser.add_argument("--ratio", type=int, default=1, help="unlabeled examples for each labeled one")
    parser.add_argument("--block", type=int, default=6, help="steps of a block")
    parser.add_argument("--rounds", type=int, default=10, help="blocks of each of the two that are compared")
    parser.add_argument("--workers", type=int, default=1, help="processes that make views for the trainer")
    parser.add_argument("--threads", type=int, default=max((os.cpu_count() or 2) - 1, 1), help="of torch")
    parser.add_argument("--ema", action="store_true", help="let the trainer keep an average of the weights")
    parser.add_argument(
        "--compile", action="store_true", help="compile the trainer's model; its forward counts as rest then"
    )
    gpu = torch.cuda.is_available()
    parser.add_argument("--bf16", action="store_true", default=gpu, help="autocast to bfloat16 (default on a GPU)")
    parser.add_argument("--output", type=Path, help="write OUTPUT.json and OUTPUT.png")
    args = parser.parse_args()
    if args.block <= UNCOUNTED:
        parser.error(f"--block must be above {UNCOUNTED}, the steps of a block that are not counted, got {args.block}")
    torch.set_num_threads(args.threads)
    datasets.disable_progress_bars()
    transformers.utils.logging.set_verbosity_error()
    machine = {
        "device": torch.cuda.get_device_name() if gpu else "CPU",
        "cores": os.cpu_count(),
        "threads": args.threads,
        "workers": args.workers,
        "precision": "bfloat16" if args.bf16 else "float32",
        "compiled": args.compile,
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for name in args.tasks:
            results.append(measure(name, args, folder))
    rows = []
    for result in results:
        milliseconds = [f"{result['ms'][who]:.1f}" for who in ("bare", "SSLTrainer")]
        ratios = [f"{result['ratio']:.3f}", "-" if gpu else f"{result['cpu_ratio']:.3f}"]
        rows.append([result["task"], f"{result['labeled']} + {result['unlabeled']}", *milliseconds, *ratios])
    print(", ".join(f"{name} {value}" for name, value in machine.items()) + "\n")
    print(table(["task", "examples", "bare, ms", "SSLTrainer, ms", "ratio", "CPU"], rows))
    if args.output:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        args.output.with_suffix(".json").write_text(
            json.dumps({"machine": machine, "results": results}, indent=1) + "\n"
        )
        threads = f"{args.threads} thread{'s' if args.threads > 1 else ''}"
        title = f"A FixMatch step: {machine['device']}, {threads}, {machine['precision']}"
        draw(args.output.with_suffix(".png"), results, title)


if __name__ == "__main__":
    main()

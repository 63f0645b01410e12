"""What a large pool costs: the start of a training, its memory, and the sampling and bookkeeping of a step.

    python examples/benchmarks/pool_size.py --output results.json

One table, with a row for each size of the pool (10,000 to 10 million examples):

- start: seconds from the call of `SSLTrainer(...)` until the first batch is there, by the clock and in CPU time, in a
  separate process, with 200 labeled and 1,000 evaluation examples, FlexMatch and a tiny BERT. The pool is a
  memory-mapped `datasets.Dataset` of short texts, written to a temporary folder. "of it sampler": CPU time of the
  order of an epoch;
- memory: by how much the peak of the process's memory exceeds what it was before that call, pages of the memory-mapped
  file included;
- sampling: microseconds for the keys of one joint batch of 8 labeled and 56 unlabeled examples;
- bookkeeping: microseconds per step that an algorithm and the sums for the log line take beyond the model, whose
  logits and features are made up here; 448 unlabeled examples, 100 classes;
- ratio: of the last two to those of the smallest pool.

Sizes take turns, so that other load on the machine affects all alike. Medians are printed (on the CPU, of CPU time in
one thread). Ratios say more than times.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast, TrainerCallback

from hf_ssl import SSLConfig, SSLTrainer
from hf_ssl.algorithms import Progress, get_algorithm
from hf_ssl.batches.batch import SSLBatch
from hf_ssl.batches.sampler import JointBatchSampler
from hf_ssl.model.forward import ViewOutput
from hf_ssl.report.results import versions
from hf_ssl.report.tables import table
from hf_ssl.training.log_sums import LogSums

SIZES = [10_000, 100_000, 1_000_000, 10_000_000]
# Those with a state: of each example, of each class, and of past batches.
ALGORITHMS = ("fixmatch", "flexmatch", "freematch", "dash", "simmatch", "comatch")
NAMES = ["red", "green", "blue"]
WORDS = ["a", "the", "sky", "sea", "leaf", "rose", "is", "was", "very", *NAMES]
LABELED, UNLABELED, CLASSES, FEATURES = 64, 448, 100, 32


def write_pool(path: Path, size: int, chunk: int = 100_000) -> datasets.Dataset:
    """A memory-mapped dataset of `size` texts with labels."""
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=NAMES)})
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, min(chunk, size))
    texts = [" ".join([*rng.choice(WORDS[:-3], rng.integers(3, 9)), NAMES[label]]) for label in labels]
    part = pa.table({"text": texts, "label": labels}, schema=features.arrow_schema)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, features.arrow_schema) as writer:
        for start in range(0, size, chunk):
            writer.write_table(part.slice(0, min(chunk, size - start)))
    return datasets.Dataset.from_file(str(path))


def peak() -> float:
    """Largest memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


class _FirstStep(TrainerCallback):
    seconds = None

    def on_step_begin(self, args, state, control, **kwargs):
        self.seconds = self.seconds or (time.perf_counter(), time.process_time())


def start(path: str) -> dict[str, float]:
    """Seconds and memory until the first batch of a training with the pool in the file `path`."""
    torch.set_num_threads(1)
    datasets.disable_progress_bars()
    pool = datasets.Dataset.from_file(path)
    # Texts that are not in the pool, and each another one.
    other = {
        "text": [f"{place} {text}" for place, text in enumerate(pool[:1200]["text"])],
        "label": pool[:1200]["label"],
    }
    small = datasets.Dataset.from_dict(other, features=pool.features)
    vocabulary = {word: i for i, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "mask_token": "[MASK]"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, model_max_length=16, **special)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    model = BertForSequenceClassification(BertConfig(vocab_size=len(vocabulary), num_labels=3, **sizes))
    first = _FirstStep()
    with tempfile.TemporaryDirectory() as folder:
        args = SSLConfig(
            folder,
            algorithm="flexmatch",
            max_steps=1,
            unlabeled_batch_ratio=7,
            use_cpu=True,
            dataloader_num_workers=0,
            dataloader_pin_memory=False,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
        )
        before, begin, cpu = peak(), time.perf_counter(), time.process_time()
        trainer = SSLTrainer(
            model,
            args,
            train_dataset=small.select(range(200)),
            unlabeled_dataset=pool,
            eval_dataset=small.select(range(200, 1200)),
            processing_class=tokenizer,
            callbacks=[first],
        )
        trainer.train()
    result = {"start_s": first.seconds[0] - begin, "start_cpu_s": first.seconds[1] - cpu, "memory_mb": peak() - before}
    begin = time.process_time()
    list(next(iter(JointBatchSampler(200, len(pool), 8, 56))))
    return {**result, "sampler_cpu_s": time.process_time() - begin}


def take_turns(actions: dict[int, Callable], repeats: int, clock: Callable = time.process_time) -> dict[int, float]:
    """Median microseconds of each action, which take turns."""
    seconds = {size: [] for size in actions}
    for _ in range(repeats):
        for size, action in actions.items():
            before = clock()
            action()
            seconds[size].append(clock() - before)
    # The first rounds meet cold caches.
    return {size: 1e6 * statistics.median(times[repeats // 10 :]) for size, times in seconds.items()}


def sampling(sizes: list[int], repeats: int) -> dict[int, float]:
    """Microseconds for the keys of a batch; the mean over 50 batches, which are found together."""

    def batches(size):
        while True:
            yield from JointBatchSampler(200, size, 8, 56)

    streams = {size: batches(size) for size in sizes}
    actions = {
        size: lambda stream=stream: [list(batch) for batch in islice(stream, 50)] for size, stream in streams.items()
    }
    return {size: time / 50 for size, time in take_turns(actions, repeats).items()}


class _Logits:
    """In the place of the model: logits and features that are made up."""

    teacher_model = None

    def __init__(self, device: str):
        generator = torch.Generator().manual_seed(0)
        rows = LABELED + 3 * UNLABELED
        self.logits = (3 * torch.randn(rows, CLASSES, generator=generator)).to(device)
        self.features = torch.randn(rows, FEATURES, generator=generator).to(device)

    def __call__(self, no_grad=None, frozen=None, update_statistics=True, **views):
        sizes = {"labeled": LABELED}
        return {
            name: ViewOutput(self.logits[: sizes.get(name, UNLABELED)], self.features[: sizes.get(name, UNLABELED)])
            for name in {**views, **(no_grad or {}), **(frozen or {})}
        }


def bookkeeping(name: str, sizes: list[int], repeats: int, device: str) -> dict[int, float]:
    """Microseconds of an algorithm and of the log sums in one step."""
    model = _Logits(device)
    view = {"pixel_values": torch.zeros(UNLABELED, 1, device=device)}
    labels = torch.arange(LABELED, device=device) % CLASSES
    hidden = torch.arange(UNLABELED, device=device) % CLASSES

    def action(size):
        algorithm = get_algorithm(
            name,
            num_classes=CLASSES,
            num_labeled=200,
            num_unlabeled=size,
            feature_size=FEATURES,
            labeled_batch_size=LABELED,
            unlabeled_batch_size=UNLABELED,
        ).to(device)
        sums, step = LogSums(), 1_000  # when all warm-ups are over
        rng = np.random.default_rng(0)

        def run():
            nonlocal step
            batch = SSLBatch(
                {"pixel_values": view["pixel_values"][:LABELED]},
                labels,
                dict.fromkeys(algorithm.views, view),
                labeled_index=torch.from_numpy(rng.integers(0, 200, LABELED)).to(device),
                unlabeled_index=torch.from_numpy(rng.integers(0, size, UNLABELED)).to(device),
            )
            sums.add(algorithm(model, batch, Progress(step, 10_000, 10)), hidden)
            if device.startswith("cuda"):
                torch.cuda.synchronize()
            step += 1

        return run

    clock = time.perf_counter if device.startswith("cuda") else time.process_time
    return take_turns({size: action(size) for size in sizes}, repeats, clock)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="sizes of the pool")
    parser.add_argument("--repeats", type=int, default=200, help="measurements of a step")
    parser.add_argument(
        "--device", default="cuda" if torch.cuda.is_available() else "cpu", help="where bookkeeping is done"
    )
    parser.add_argument("--output", type=Path, help="write the numbers to this file as JSON")
    parser.add_argument("--start", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.start:
        print(json.dumps(start(args.start)))
        return
    rows = {size: {} for size in args.sizes}
    for size in args.sizes:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "pool.arrow"
            write_pool(path, size)
            done = subprocess.run(
                [sys.executable, __file__, "--start", str(path)], stdout=subprocess.PIPE, text=True, check=True
            )
            rows[size].update(json.loads(done.stdout.splitlines()[-1]))
    torch.set_num_threads(1)
    columns = {"sampling": sampling(args.sizes, args.repeats)}
    columns |= {name: bookkeeping(name, args.sizes, args.repeats, args.device) for name in ALGORITHMS}
    for name, times in columns.items():
        for size in args.sizes:
            rows[size][f"{name}_us"] = times[size]
    smallest = rows[min(args.sizes)]
    shown = [
        [
            f"{size:,}",
            f"{row['start_s']:.2f}",
            f"{row['start_cpu_s']:.2f}",
            f"{row['sampler_cpu_s']:.2f}",
            f"{row['memory_mb']:.0f}",
            *(f"{row[f'{name}_us']:.0f} ({row[f'{name}_us'] / smallest[f'{name}_us']:.2f})" for name in columns),
        ]
        for size, row in rows.items()
    ]
    header = ["pool", "start, s", "CPU s", "of it sampler", "memory, MB", "sampling, us", *ALGORITHMS]
    print(table(header, shown))
    print("\nColumns from sampling on: microseconds of a step, in parentheses the ratio to the smallest pool.")
    if args.output:
        content = {"pools": rows, "device": args.device, "threads": 1, "versions": versions()}
        args.output.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

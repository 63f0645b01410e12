"""How much faster two processes train than one, on one machine.

    python examples/benchmarks/two_processes.py --output results.json

FlexMatch on a ViT-Tiny (32 pixels, patches of 4), with 8 labeled and 8 unlabeled examples in each process's batch, on
the CPU with gloo and one thread per process. So two processes do twice the work in a step, and what the algorithm
remembers is the same in both. Each process makes its own views (`dataloader_num_workers=0`), since there is one core
for each.

One and two processes take turns (1, 2, 1, 2, ...), so that other load on the machine affects both. The samples per
second of a run follow from its median step after `--warmup` steps, and the ratio is that of the medians over the runs.
On a machine with two idle cores it should be at least 1.6. The CPU time of a step in the first process shows what the
communication costs, also on a busy machine. Our own collective operations in a step are counted, too; those of
DistributedDataParallel, which averages the gradients of the model, come on top.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import datasets
import numpy as np
import torch
import torch.distributed as dist
from PIL import Image
from transformers import TrainerCallback, ViTConfig, ViTForImageClassification, ViTImageProcessor

from hf_ssl import SSLConfig, SSLTrainer
from hf_ssl.report.results import versions
from hf_ssl.report.tables import table

BATCH, CLASSES, SIZE = 8, 10, 32


class Times(TrainerCallback):
    """When each step began, and the collective operations before it."""

    def __init__(self):
        self.begun, self.cpu, self.collectives, self._count = [], [], [], 0
        for name in ("all_reduce", "all_gather", "broadcast", "all_gather_into_tensor"):
            setattr(dist, name, self._counted(getattr(dist, name)))

    def _counted(self, function):
        def counted(*args, **kwargs):
            self._count += 1
            return function(*args, **kwargs)

        return counted

    def on_step_begin(self, args, state, control, **kwargs):
        self.begun.append(time.perf_counter())
        self.cpu.append(time.process_time())
        self.collectives.append(self._count)


def make_images(count: int, seed: int) -> datasets.Dataset:
    """Smooth random pictures."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, 6, 6, 3), dtype=np.uint8)
    pictures = [Image.fromarray(pixels).resize((SIZE, SIZE), Image.Resampling.BICUBIC) for pixels in coarse]
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=[f"class {i}" for i in range(CLASSES)])}
    )
    return datasets.Dataset.from_dict(
        {"image": pictures, "label": [i % CLASSES for i in range(count)]}, features=features
    )


def train(algorithm: str, layers: int, steps: int, warmup: int, output: Path) -> None:
    """One training; the first process writes its times to `output`."""
    torch.set_num_threads(1)
    datasets.disable_progress_bars()
    sizes = {"hidden_size": 192, "num_hidden_layers": layers, "num_attention_heads": 3, "intermediate_size": 768}
    model = ViTForImageClassification(ViTConfig(image_size=SIZE, patch_size=4, num_labels=CLASSES, **sizes))
    times = Times()
    with tempfile.TemporaryDirectory() as folder:
        args = SSLConfig(
            folder,
            algorithm=algorithm,
            per_device_train_batch_size=BATCH,
            max_steps=steps + warmup + 1,
            logging_steps=1000,
            use_cpu=True,
            ddp_backend="gloo" if int(os.environ.get("WORLD_SIZE", 1)) > 1 else None,
            dataloader_num_workers=0,
            dataloader_pin_memory=False,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
        )
        trainer = SSLTrainer(
            model,
            args,
            train_dataset=make_images(40, 0),
            unlabeled_dataset=make_images(2000, 1),
            processing_class=ViTImageProcessor(size={"height": SIZE, "width": SIZE}),
            callbacks=[times],
        )
        trainer.train()
        if trainer.is_world_process_zero():
            step = statistics.median(np.diff(times.begun)[warmup:])
            result = {
                "processes": args.world_size,
                "step_ms": 1e3 * step,
                "cpu_ms": 1e3 * statistics.median(np.diff(times.cpu)[warmup:]),
                "samples_per_second": 2 * BATCH * args.world_size / step,
                "collectives": statistics.median(np.diff(times.collectives)[warmup:]),
            }
            output.write_text(json.dumps(result), encoding="utf-8")
        trainer.accelerator.end_training()


def launch(processes: int, arguments: list[str]) -> dict[str, float]:
    """The times of a training in this many processes."""
    command = [sys.executable]
    if processes > 1:
        # `--cpu` would start a single process; `use_cpu` and `ddp_backend` make it the CPU and gloo.
        command += ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", str(processes)]
        command += [
            "--num_machines",
            "1",
            "--mixed_precision",
            "no",
            "--dynamo_backend",
            "no",
            "--main_process_port",
            "0",
        ]
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "times.json"
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        command += [__file__, "--worker", str(output), *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"the run with {processes} processes failed:\n{done.stderr[-3000:]}")
        return json.loads(output.read_text(encoding="utf-8"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--algorithm", default="flexmatch")
    parser.add_argument("--layers", type=int, default=12, help="of the model")
    parser.add_argument("--rounds", type=int, default=3, help="runs of one and of two processes")
    parser.add_argument("--steps", type=int, default=30, help="measured steps of a run")
    parser.add_argument("--warmup", type=int, default=5, help="steps before them")
    parser.add_argument("--output", type=Path, help="write the numbers to this file as JSON")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        train(args.algorithm, args.layers, args.steps, args.warmup, args.worker)
        return
    passed_on = ("algorithm", "layers", "steps", "warmup")
    arguments = [part for name in passed_on for part in (f"--{name}", str(getattr(args, name)))]
    runs = [launch(processes, arguments) for _ in range(args.rounds) for processes in (1, 2)]
    rows, speed = [], {}
    for processes in (1, 2):
        mine = [run for run in runs if run["processes"] == processes]
        speed[processes] = statistics.median(run["samples_per_second"] for run in mine)
        step = statistics.median(run["step_ms"] for run in mine)
        each = ", ".join(f"{run['samples_per_second']:.1f}" for run in mine)
        cpu = statistics.median(run["cpu_ms"] for run in mine)
        count = f"{mine[0]['collectives']:.0f}"
        rows.append([str(processes), f"{step:.1f}", f"{cpu:.1f}", f"{speed[processes]:.1f}", each, count])
    header = [
        "processes",
        "ms per step",
        "CPU ms of the first",
        "samples per second",
        "in each run",
        "our collectives per step",
    ]
    print(table(header, rows))
    print(f"\nratio {speed[2] / speed[1]:.2f}")
    if args.output:
        content = {"runs": runs, "ratio": speed[2] / speed[1], "cores": os.cpu_count(), "versions": versions()}
        args.output.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

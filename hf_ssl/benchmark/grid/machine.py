"""What a training costs on this machine: time, memory, energy where it can be read; and what the machine is."""

import importlib.util
import os
import platform
import time
from functools import cache
from pathlib import Path
from typing import Any

import psutil
import torch

_RAPL = Path("/sys/class/powercap")


@cache
def machine(cores: int) -> dict[str, Any]:
    """The processor, its cores, memory and accelerators; no names of hosts or people.

    Args:
        cores: that a cell may use, which decides in which order sums are added.
    """
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "cpu": _processor(),
        "cores": os.cpu_count(),
        "cores_per_cell": cores,
        "memory_gb": round(psutil.virtual_memory().total / 2**30),
        "gpus": gpus,
        "system": f"{platform.system()} {platform.machine()}",
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


class Meter:
    """Measures one training, from its making on.

    Example:
        >>> meter = Meter(cores=1, gpus=0)
        >>> meter.look()
        >>> cost = meter.cost(seconds=2.0)
        >>> cost["seconds"], cost["gpu_hours"], cost["peak_memory_mb"] > 1
        (2.0, 0.0, True)
    """

    def __init__(self, cores: int, gpus: int):
        self.cores, self.gpus = cores, gpus
        self._cpu, self._joules = _cpu_seconds(), _energy()
        self._began, self._peak = time.perf_counter(), 0
        self._process = psutil.Process()
        if gpus and torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()

    def look(self) -> None:
        """Note how much memory this process uses now."""
        self._peak = max(self._peak, self._process.memory_info().rss)

    @property
    def seconds(self) -> float:
        """Since the meter was made."""
        return time.perf_counter() - self._began

    def cost(self, seconds: float) -> dict[str, Any]:
        """The block "cost" of a cell's file.

        Args:
            seconds: of the training, earlier sittings included; CPU time and energy are those of this one.
        """
        self.look()
        joules = _energy()
        used = None if joules is None or self._joules is None else max(joules - self._joules, 0.0)
        found = {
            "seconds": round(seconds, 1),
            "cpu_seconds": round(_cpu_seconds() - self._cpu, 1),
            "gpu_hours": round(seconds * self.gpus / 3600, 4),
            "energy_kwh": None if used is None else round(used / 3.6e6, 6),
            "peak_memory_mb": round(self._peak / 2**20),
            "machine": machine(self.cores),
        }
        if self.gpus and torch.cuda.is_available():
            found["peak_gpu_memory_mb"] = round(torch.cuda.max_memory_allocated() / 2**20)
        return found


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _energy() -> float | None:
    """Joules since some time ago, of the processors and this process's GPUs; None if neither can be read."""
    readings = [*_processor_energy(), *_gpu_energy()]
    return sum(readings) if readings else None


def _processor_energy() -> list[float]:
    found = []
    for path in sorted(_RAPL.glob("intel-rapl:?/energy_uj")):
        try:
            found.append(int(path.read_text()) / 1e6)
        except (OSError, ValueError):  # readable for the administrator alone, on many machines
            continue
    return found


def _gpu_energy() -> list[float]:
    if not torch.cuda.is_available() or importlib.util.find_spec("pynvml") is None:
        return []
    import pynvml

    try:
        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByIndex(torch.cuda.current_device())
        return [pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3]
    except pynvml.NVMLError:
        return []

"""The processes that make views: how many there are if nobody says, and what they need."""

import multiprocessing
import os

# With eight processes a step of 8 labeled and 56 unlabeled images of 224 pixels gets its views in about 80 ms.
_MOST_WORKERS = 8


def usual_workers() -> int:
    """Number of processes that make views by default: per training process one less than the CPU cores, at most 8."""
    # The first of all methods is the platform's default. Asking for the current one alone would settle it for good.
    method = multiprocessing.get_start_method(allow_none=True) or multiprocessing.get_all_start_methods()[0]
    if method != "fork":
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(max(cores // int(os.environ.get("LOCAL_WORLD_SIZE", 1)) - 1, 0), _MOST_WORKERS)


def quiet_tokenizers(workers: int) -> None:
    """Keep tokenizers from warning of threads that were used before a fork, if processes are to make views.

    Each of them tokenizes one text at a time, for which no threads are needed.
    """
    if workers > 0:
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

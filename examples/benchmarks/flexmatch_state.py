"""How long FlexMatch's bookkeeping takes for a small and a large pool: it should not depend on the pool.

    python examples/benchmarks/flexmatch_state.py

The two sizes take turns, so that whatever else the machine does meets both alike; the medians are printed.
"""

import argparse
import statistics
import time

import torch

from hf_ssl.pseudo_labels import FlexibleThreshold


def measure(pools: list[int], batch: int, classes: int, repeats: int, device: str) -> dict[int, float]:
    """Median seconds of one update, by size of the pool."""
    rules = {pool: FlexibleThreshold(0.95, classes, pool).to(device) for pool in pools}
    seconds = {pool: [] for pool in pools}

    def synchronize():
        if device.startswith("cuda"):
            torch.cuda.synchronize()

    for _ in range(repeats):
        labels = torch.randint(classes, (batch,), device=device)
        confident = torch.rand(batch, device=device) < 0.7
        for pool, rule in rules.items():
            index = torch.randint(pool, (batch,), device=device)
            synchronize()
            start = time.perf_counter()
            rule.update(index, labels, confident)
            synchronize()
            seconds[pool].append(time.perf_counter() - start)
    return {pool: statistics.median(times) for pool, times in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pools", type=int, nargs=2, default=[10_000, 1_000_000], help="the two sizes to compare")
    parser.add_argument("--batch", type=int, default=448, help="unlabeled examples in one step")
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=2000)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    medians = measure(args.pools, args.batch, args.classes, args.repeats, args.device)
    for pool, median in medians.items():
        print(f"pool {pool:>9,}: {1e6 * median:8.1f} microseconds")
    small, large = (medians[pool] for pool in args.pools)
    print(f"ratio {large / small:.2f}")


if __name__ == "__main__":
    main()

"""An algorithm in a plain PyTorch loop: no Trainer, no datasets, a model that is not transformers'.

The three pieces are `get_algorithm`, which makes a module that turns a batch into a loss; `ModelForward`, which calls
the model on several views at once; and `ModelEma`, the moving average of the weights. The data are scikit-learn's
handwritten digits, 40 of them labeled.

    python examples/scripts/plain_pytorch_loop.py --algorithm fixmatch --steps 1500
"""

import argparse
import sys

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

from hf_ssl import ModelEma, ModelForward, Progress, SSLBatch, get_algorithm

NUM_CLASSES = 10


class Network(nn.Module):
    """Images [N, 1, 8, 8] -> logits [N, 10]. The last linear layer is the head whose input are the features."""

    def __init__(self, width: int = 32):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
        )
        self.head = nn.Linear(8 * width, NUM_CLASSES)

    def forward(self, pixel_values):
        return self.head(self.body(pixel_values))


def weak(images: torch.Tensor, generator: torch.Generator) -> dict[str, torch.Tensor]:
    """Model keywords of images [N, 1, 8, 8], each shifted by up to one pixel."""
    padded = nn.functional.pad(images, (1, 1, 1, 1))
    shifts = torch.randint(0, 3, (len(images), 2), generator=generator).tolist()
    return {
        "pixel_values": torch.stack(
            [image[:, y : y + 8, x : x + 8] for image, (y, x) in zip(padded, shifts, strict=True)]
        )
    }


def strong(images: torch.Tensor, generator: torch.Generator) -> dict[str, torch.Tensor]:
    """Shifted, with noise, and a square of 2 x 2 pixels cut out."""
    shifted = weak(images, generator)["pixel_values"]
    noisy = shifted + 0.1 * torch.randn(shifted.shape, generator=generator)
    for image, (y, x) in zip(noisy, torch.randint(0, 7, (len(images), 2), generator=generator).tolist(), strict=True):
        image[:, y : y + 2, x : x + 2] = 0.0
    return {"pixel_values": noisy}


def train(name: str, steps: int, labels_per_class: int, seed: int, batch_size: int = 16, ratio: int = 4) -> float:
    """Train with an algorithm and return the share of test digits that the averaged weights get right."""
    digits = load_digits()
    images = torch.tensor(digits.images / 16, dtype=torch.float32)[:, None]
    labels = torch.tensor(digits.target)
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(labels)))
    pool, test = order[:1347], order[1347:]
    draw = pool[torch.from_numpy(np.random.default_rng(seed).permutation(len(pool)))]
    labeled = torch.cat([draw[labels[draw] == c][:labels_per_class] for c in range(NUM_CLASSES)])

    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = Network()
    ema = ModelEma(model, decay=0.99)
    algorithm = get_algorithm(
        name,
        num_classes=NUM_CLASSES,
        num_labeled=len(labeled),
        num_unlabeled=len(pool),
        feature_size=model.head.in_features,
        labeled_batch_size=batch_size,
        unlabeled_batch_size=batch_size * ratio,
    )
    wrapped = ModelForward(model, teacher=ema if algorithm.uses_teacher else None)
    # Algorithms with heads (CoMatch, SimMatch) have parameters to train.
    optimizer = torch.optim.AdamW([*model.parameters(), *algorithm.parameters()], lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    makers = {"weak": weak, "strong": strong}
    for step in range(steps):
        labeled_index = torch.randint(len(labeled), (batch_size,), generator=generator)
        unlabeled_index = torch.randint(len(pool), (batch_size * ratio,), generator=generator)
        shown = images[pool[unlabeled_index]]
        batch = SSLBatch(
            labeled=weak(images[labeled[labeled_index]], generator),
            labels=labels[labeled[labeled_index]],
            unlabeled={
                view: makers[kind](shown, generator) for view, kind in algorithm.views.items() if kind in makers
            },
            labeled_index=labeled_index,
            unlabeled_index=unlabeled_index,
        )
        output = algorithm(wrapped, batch, Progress.in_run(step, steps))
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
        schedule.step()
        ema.update()
        if (step + 1) % max(steps // 3, 1) == 0:
            numbers = {key: value.item() for key, value in {**output.terms, **output.metrics}.items()}
            print(f"  step {step + 1}: " + ", ".join(f"{key} {value:.3f}" for key, value in numbers.items()))
    model.eval()
    with ema.swapped_into(model), torch.no_grad():
        return (model(pixel_values=images[test]).argmax(dim=-1) == labels[test]).float().mean().item()


def main(arguments: list[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--algorithm", default="fixmatch", help="compared with labeled-only training")
    parser.add_argument("--steps", type=int, default=1500, help="optimizer steps")
    parser.add_argument("--labels-per-class", type=int, default=4, help="digits of each class that keep their label")
    parser.add_argument("--seed", type=int, default=0, help="of the draw of labels, the weights and the views")
    args = parser.parse_args(arguments)
    results = {}
    for name in ("supervised", args.algorithm):
        print(name)
        results[name] = train(name, args.steps, args.labels_per_class, args.seed)
    for name, accuracy in results.items():
        print(f"{name:<12} {100 * accuracy:.1f} % of 450 test digits")
    return results


if __name__ == "__main__":
    main(sys.argv[1:])

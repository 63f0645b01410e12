"""A custom algorithm, trained by SSLTrainer: no registration, no change to the package.

QuantileMatch trains on a fixed share of each batch, regardless of how confident the model is: its threshold is a
moving average of the quantile of confidences that lets this share pass. It has a setting (`share`), a running
statistic (`threshold`, a buffer, so that checkpoints hold it) and a metric. The data are scikit-learn's handwritten
digits, 40 of them labeled.

    python examples/scripts/custom_algorithm.py --max_steps 300
"""

import sys
from dataclasses import dataclass, field
from pathlib import Path

import torch
from transformers import HfArgumentParser, ViTImageProcessor, set_seed

from hf_ssl import SSLAlgorithm, SSLConfig, SSLTrainer, losses
from hf_ssl.cli.digits import IMAGE_SIZE, draw_labeled, load_digits, new_model


class QuantileMatch(SSLAlgorithm):
    """FixMatch whose threshold follows the model, so that about a given share of the pool is trained on.

    Args:
        share: share of the unlabeled examples that are trained on, in (0, 1).
        momentum: of the moving average of the threshold, in [0, 1).
    """

    title = "QuantileMatch"
    summary = "the most confident share of the pool is trained on"
    views = {"weak": "weak", "strong": "strong"}

    def __init__(self, *, share: float = 0.7, momentum: float = 0.9, **task):
        super().__init__(**task)
        self.share, self.momentum = share, momentum
        self.register_buffer("threshold", torch.tensor(1.0 / self.num_classes))

    def forward(self, model, batch, progress):
        unlabeled = batch.unlabeled
        out = model(labeled=batch.labeled, strong=unlabeled["strong"], no_grad={"weak": unlabeled["weak"]})
        confidence, pseudo_labels = losses.probabilities(out["weak"].logits).max(dim=-1)
        self.threshold.lerp_(confidence.quantile(1 - self.share), 1 - self.momentum)
        mask = (confidence >= self.threshold).float()
        supervised = self.labeled_loss(out["labeled"].logits, batch.labels)
        unsupervised = losses.cross_entropy(out["strong"].logits, pseudo_labels, mask)
        metrics = {"threshold": self.threshold.clone()}
        return self.total(supervised, unsupervised, mask=mask, pseudo_labels=pseudo_labels, metrics=metrics)


@dataclass
class DataArguments:
    """What to train on."""

    labels_per_class: int = field(default=4, metadata={"help": "Digits of each class that keep their label."})


def main(arguments: list[str] | None = None) -> dict[str, float]:
    parser = HfArgumentParser((DataArguments, SSLConfig))
    parser.set_defaults(
        output_dir="quantilematch",
        max_steps=600,
        per_device_train_batch_size=8,
        unlabeled_batch_ratio=3,
        learning_rate=5e-3,
        ema_role="evaluation",
        ema_decay=0.99,
        horizontal_flip=False,
        color_operations=False,
        save_strategy="no",
        logging_steps=100,
        per_device_eval_batch_size=256,
    )
    data_args, args = parser.parse_args_into_dataclasses(arguments)
    digits = load_digits()
    chosen = draw_labeled(digits["train"].with_format("numpy")["label"][:], data_args.labels_per_class, args.seed)
    processor = ViTImageProcessor(
        size={"height": IMAGE_SIZE, "width": IMAGE_SIZE}, image_mean=[0.5] * 3, image_std=[0.5] * 3
    )
    results = {}
    for algorithm, settings in (("supervised", None), (QuantileMatch, args.algorithm_kwargs)):
        set_seed(args.seed)
        args.algorithm_kwargs = settings
        trainer = SSLTrainer(
            model=new_model(args.seed),
            args=args,
            train_dataset=digits["train"].select(chosen),
            unlabeled_dataset=digits["train"],
            eval_dataset=digits["test"],
            processing_class=processor,
            algorithm=algorithm,
        )
        trainer.train()
        results[trainer.algorithm_name] = trainer.evaluate()["eval_accuracy"]
        if algorithm is QuantileMatch:
            trainer.save_model()
            print(f"threshold at the end: {trainer.algorithm.threshold:.3f}; model in {Path(args.output_dir)}")
    for name, accuracy in results.items():
        print(f"{name:<14} {100 * accuracy:.1f} % of the test digits")
    return results


if __name__ == "__main__":
    main(sys.argv[1:])

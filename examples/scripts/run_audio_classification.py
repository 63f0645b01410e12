"""Fine-tune an audio classifier with few labeled and many unlabeled recordings.

The dataset's training split is the pool; a few of its recordings per class keep their labels.
`examples/guides/from_trainer.md` has the command, what it printed, and the lines that differ from the same script with
transformers' Trainer.
"""

import sys
from dataclasses import dataclass, field
from pathlib import Path

import datasets
import numpy as np
from transformers import AutoFeatureExtractor, AutoModelForAudioClassification, HfArgumentParser, set_seed

from hf_ssl import SSLConfig, SSLTrainer


@dataclass
class ModelArguments:
    """Where to start from."""

    model_name_or_path: str = field(metadata={"help": "Hub id or folder of a pretrained audio model."})


@dataclass
class DataArguments:
    """What to train and test on."""

    dataset_name: str = field(metadata={"help": "Hub id or folder of a dataset with splits train and test."})
    dataset_config_name: str | None = field(default=None, metadata={"help": "Configuration of the dataset."})
    audio_column_name: str = field(default="audio", metadata={"help": "Column of the recordings."})
    label_column_name: str = field(default="label", metadata={"help": "Column of the classes."})
    labels_per_class: int = field(default=4, metadata={"help": "Training recordings per class that keep their label."})
    max_eval_samples: int | None = field(default=None, metadata={"help": "Test on this many recordings only."})


def draw_labeled(labels: list[int], per_class: int, seed: int) -> np.ndarray:
    """Positions of `per_class` examples of each class."""
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    classes = np.asarray(labels)[shuffled]
    return np.sort(np.concatenate([shuffled[classes == c][:per_class] for c in np.unique(classes)]))


def main(arguments: list[str] | None = None) -> dict[str, float]:
    parser = HfArgumentParser((ModelArguments, DataArguments, SSLConfig))
    if arguments and len(arguments) == 1 and arguments[0].endswith(".json"):
        model_args, data_args, args = parser.parse_json_file(arguments[0])
    else:
        model_args, data_args, args = parser.parse_args_into_dataclasses(arguments)
    set_seed(args.seed)

    dataset = datasets.load_dataset(data_args.dataset_name, data_args.dataset_config_name)
    dataset = dataset.rename_columns({data_args.audio_column_name: "audio", data_args.label_column_name: "label"})
    train, test = dataset["train"], dataset["test"]
    if data_args.max_eval_samples is not None:
        test = test.select(range(min(data_args.max_eval_samples, len(test))))
    labeled = train.select(draw_labeled(train["label"][:], data_args.labels_per_class, args.seed))
    names = train.features["label"].names

    model = AutoModelForAudioClassification.from_pretrained(
        model_args.model_name_or_path,
        num_labels=len(names),
        id2label=dict(enumerate(names)),
        label2id={name: i for i, name in enumerate(names)},
        ignore_mismatched_sizes=True,
    )
    feature_extractor = AutoFeatureExtractor.from_pretrained(model_args.model_name_or_path)

    trainer = SSLTrainer(
        model=model,
        args=args,
        train_dataset=labeled,
        unlabeled_dataset=train,
        eval_dataset=test,
        processing_class=feature_extractor,
    )
    trainer.train(resume_from_checkpoint=args.resume_from_checkpoint)
    trainer.save_model()
    trainer.save_state()
    metrics = trainer.evaluate()
    trainer.log_metrics("eval", metrics)
    trainer.save_metrics("eval", metrics)
    published = None if Path(data_args.dataset_name).exists() else data_args.dataset_name
    trainer.create_model_card(dataset=published)
    if args.push_to_hub:
        trainer.push_to_hub(dataset=published)
    return metrics


if __name__ == "__main__":
    main(sys.argv[1:])

"""The flow of transformers' four classification scripts, with SSLConfig, SSLTrainer and a pool instead of Trainer's.

Options, preprocessing and the order of calls are those of run_glue, run_classification, run_image_classification and
run_audio_classification; all of their options are given.
"""

import json
from dataclasses import make_dataclass
from functools import partial
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModelForAudioClassification,
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    HfArgumentParser,
    default_data_collator,
    set_seed,
)

from hf_ssl import SSLConfig, SSLTrainer
from hf_ssl.views.image import decode_image

from tests.helpers.command_data import save_model
from tests.helpers.tiny_tasks import TASKS

PARTS = {"train": (24, 0), "validation": (6, 1), "test": (6, 2)}
# The options of the scripts beside those of TrainingArguments: name -> default.
MODEL = {"model_name_or_path": "", "config_name": None, "cache_dir": None, "model_revision": "main", "token": None}
MODEL |= {"trust_remote_code": False, "ignore_mismatched_sizes": False}
TEXT_MODEL = MODEL | {"tokenizer_name": None, "use_fast_tokenizer": True}
SAMPLES = {"max_train_samples": None, "max_eval_samples": None, "max_predict_samples": None}
DATA = {"dataset_name": None, "dataset_config_name": None} | SAMPLES
TABLES = {"train_file": None, "validation_file": None, "test_file": None, "max_seq_length": 128}
TABLES |= {"overwrite_cache": False, "pad_to_max_length": True}
SPLITS = {"train_split_name": "train", "validation_split_name": None, "test_split_name": None}
COLUMNS = {"remove_splits": None, "remove_columns": None, "label_column_name": "label", "shuffle_seed": 42}
COLUMNS |= {"text_column_names": "text", "text_column_delimiter": " ", "metric_name": None}
COLUMNS |= {"do_regression": False, "shuffle_train_dataset": False}
IMAGES = {"train_dir": None, "validation_dir": None, "train_val_split": 0.15, "image_column_name": "image"}
SOUNDS = {"train_file": None, "eval_file": None, "train_split_name": "train", "eval_split_name": "validation"}
SOUNDS |= {"audio_column_name": "audio", "label_column_name": "label", "max_length_seconds": 20.0}
OPTIONS = {
    "run_glue": (TEXT_MODEL, DATA | TABLES | {"task_name": None}),
    "run_classification": (TEXT_MODEL, DATA | TABLES | SPLITS | COLUMNS),
    "run_image_classification": (MODEL | {"model_type": None, "image_processor_name": None}, DATA | IMAGES),
    "run_audio_classification": (
        MODEL | {"feature_extractor_name": None, "freeze_feature_encoder": True, "attention_mask": True},
        DATA | SOUNDS,
    ),
}
GIVEN = {
    "run_glue": ["--task_name", "sst2", "--max_seq_length", "12", "--use_fast_tokenizer", "true"],
    "run_classification": ["--text_column_names", "text", "--max_seq_length", "12", "--pad_to_max_length", "false"],
    "run_image_classification": ["--image_column_name", "image", "--train_val_split", "0.2"],
    "run_audio_classification": ["--max_length_seconds", "0.2", "--audio_column_name", "audio"],
}


def options_class(name, defaults):
    kinds = {type(None): str | None}
    return make_dataclass(name, [(key, kinds.get(type(value), type(value)), value) for key, value in defaults.items()])


def names_both_ways(model, names):
    model.config.id2label = dict(enumerate(names))
    model.config.label2id = {name: index for index, name in enumerate(names)}


def glue(path, data, raw):
    """Tokens beside the text, padded to one length."""
    names = raw["train"].features["label"].names
    config = AutoConfig.from_pretrained(path, num_labels=len(names), finetuning_task=data.task_name)
    tokenizer = AutoTokenizer.from_pretrained(path)
    model = AutoModelForSequenceClassification.from_pretrained(path, config=config)
    names_both_ways(model, names)

    def preprocess(rows):
        made = tokenizer(rows["text"], padding="max_length", max_length=data.max_seq_length, truncation=True)
        made["label"] = list(rows["label"])
        return made

    return model, tokenizer, raw.map(preprocess, batched=True), default_data_collator


def classification(path, data, raw):
    """Labels are strings in the files, and numbers by the model's names afterwards."""
    names = sorted(set(raw["train"]["label"]))
    number = {name: index for index, name in enumerate(names)}
    tokenizer = AutoTokenizer.from_pretrained(path)
    config = AutoConfig.from_pretrained(path, num_labels=len(names), finetuning_task="text-classification")
    model = AutoModelForSequenceClassification.from_pretrained(path, config=config, ignore_mismatched_sizes=True)
    names_both_ways(model, names)

    def preprocess(rows):
        made = tokenizer(rows["sentence"], padding=False, max_length=data.max_seq_length, truncation=True)
        made["label"] = [number[label] for label in rows["label"]]
        return made

    raw = raw.rename_column("text", "sentence").map(preprocess, batched=True)
    return model, tokenizer, raw, DataCollatorWithPadding(tokenizer, pad_to_multiple_of=8)


def images(path, data, raw):
    """`id2label` has strings as keys; a transform adds `pixel_values`, and the collator knows nothing else."""
    names = raw["train"].features["label"].names
    id2label = {str(index): name for index, name in enumerate(names)}
    label2id = {name: str(index) for index, name in enumerate(names)}
    config = AutoConfig.from_pretrained(path, num_labels=len(names), id2label=id2label, label2id=label2id)
    model = AutoModelForImageClassification.from_pretrained(path, config=config)
    processor = TASKS["image"][1]()

    def transform(rows, flip):
        made = [processor(decode_image(image), return_tensors="pt")["pixel_values"][0] for image in rows["image"]]
        rows["pixel_values"] = [image.flip(-1) if flip and torch.rand(()) < 0.5 else image for image in made]
        return rows

    def collate(rows):
        pixels = torch.stack([row["pixel_values"] for row in rows])
        return {"pixel_values": pixels, "labels": torch.tensor([row["label"] for row in rows])}

    for part, rows in raw.items():
        rows.set_transform(partial(transform, flip=part == "train"))
    return model, processor, raw, collate


def sounds(path, data, raw):
    """A transform whose rows hold nothing but `input_values` and labels; recordings are cut at random."""
    extractor = TASKS["audio"][1]()
    names = raw["train"].features["label"].names
    labels = {
        "label2id": {name: str(i) for i, name in enumerate(names)},
        "id2label": dict(map(pair, enumerate(names))),
    }
    config = AutoConfig.from_pretrained(path, num_labels=len(names), finetuning_task="audio-classification", **labels)
    model = AutoModelForAudioClassification.from_pretrained(path, config=config)
    model.freeze_feature_encoder()
    length = round(extractor.sampling_rate * data.max_length_seconds)

    def transform(rows, cut):
        waves = [np.frombuffer(cell["bytes"][44:], np.int16) / 32768 for cell in rows["audio"]]
        starts = [np.random.randint(0, len(wave) - length + 1) if cut else 0 for wave in waves]
        waves = [wave[start : start + length] for wave, start in zip(waves, starts, strict=True)]
        inputs = extractor(waves, sampling_rate=extractor.sampling_rate)
        return {"input_values": inputs.get("input_values"), "labels": list(rows["label"])}

    raw = raw.cast_column("audio", datasets.Audio(decode=False))
    for part, rows in raw.items():
        rows.set_transform(partial(transform, cut=part == "train"), output_all_columns=False)
    return model, extractor, raw, None


def pair(item):
    return str(item[0]), item[1]


FLOWS = {
    "run_glue": ("text", glue),
    "run_classification": ("text", classification),
    "run_image_classification": ("image", images),
    "run_audio_classification": ("audio", sounds),
}


def script(name: str, arguments: list[str]) -> tuple[SSLTrainer, SSLConfig, Any]:
    modality, preprocess = FLOWS[name]
    model_class, data_class = (options_class(f"Options{i}", defaults) for i, defaults in enumerate(OPTIONS[name]))
    parser = HfArgumentParser((model_class, data_class, SSLConfig))
    model_args, data_args, args = parser.parse_args_into_dataclasses(arguments)
    set_seed(args.seed)
    raw = datasets.DatasetDict({part: TASKS[modality][0](*size) for part, size in PARTS.items()})
    if name == "run_classification":
        words = raw["train"].features["label"].names
        raw = raw.cast_column("label", datasets.Value("int64")).map(lambda row: {"label": words[row["label"]]})
    model, processor, raw, collator = preprocess(model_args.model_name_or_path, data_args, raw)
    trainer = SSLTrainer(
        model=model,
        args=args,
        train_dataset=raw["train"].select(range(6)),
        unlabeled_dataset=raw["train"],
        eval_dataset=raw["validation"] if args.do_eval else None,
        compute_metrics=lambda p: {"accuracy": float((np.argmax(p.predictions, axis=1) == p.label_ids).mean())},
        processing_class=processor,
        data_collator=collator,
    )
    result = trainer.train(resume_from_checkpoint=args.resume_from_checkpoint)
    trainer.save_model()
    trainer.log_metrics("train", result.metrics | {"train_samples": 6})
    trainer.save_metrics("train", result.metrics)
    trainer.save_state()
    metrics = trainer.evaluate(eval_dataset=raw["validation"])
    trainer.save_metrics("eval", metrics)
    test = raw["test"]
    if modality == "text":
        test = test.remove_columns("label")
    predictions = trainer.predict(test, metric_key_prefix="predict").predictions
    trainer.create_model_card(finetuned_from=None, tasks="text-classification", dataset="tiny", language="en")
    return trainer, args, np.argmax(predictions, axis=1)


@pytest.mark.parametrize("name", FLOWS)
def test_the_script_runs_with_all_its_options(name, tmp_path):
    model = save_model(FLOWS[name][0], tmp_path / "model")
    words = ["--model_name_or_path", model, "--output_dir", str(tmp_path / "out"), "--do_train", "--do_eval"]
    words += ["--do_predict", "--num_train_epochs", "2", "--per_device_train_batch_size", "4", "--use_cpu"]
    words += ["--unlabeled_batch_ratio", "2", "--save_strategy", "epoch", "--eval_strategy", "epoch"]
    words += ["--load_best_model_at_end", "--metric_for_best_model", "accuracy", "--report_to", "none"]
    words += ["--label_smoothing_factor", "0.1", "--warmup_steps", "0.2", "--seed", "3", "--disable_tqdm", "true"]
    words += ["--dataloader_num_workers", "0", "--cache_dir", str(tmp_path), *GIVEN[name]]
    trainer, args, predicted = script(name, words)
    # Two passes over 24 examples in batches of 8.
    assert (args.max_steps, trainer.state.max_steps, trainer.state.global_step) == (-1, 6, 6)
    assert args.max_length_seconds is None and trainer.state.epoch == 2
    assert predicted.shape == (6,)
    names = TASKS[FLOWS[name][0]][0](3, 0).features["label"].names
    expected = sorted(names) if name == "run_classification" else names
    saved = json.loads((tmp_path / "out" / "config.json").read_text(encoding="utf-8"))
    assert list(saved["id2label"].values()) == expected
    assert (tmp_path / "out" / "README.md").is_file() and (tmp_path / "out" / "eval_results.json").is_file()

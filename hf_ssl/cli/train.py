"""`hf-ssl train`: from files, folders or Hub datasets to a model folder, its card, results.json and curves.png."""

import argparse
import copy
import dataclasses
import difflib
import json
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, get_type_hints

import yaml
from transformers import HfArgumentParser, TrainingArguments, set_seed
from transformers.trainer_utils import get_last_checkpoint

from ..algorithms import resolve_algorithm
from ..config import SSLConfig, is_private
from ..hub.card_facts import CardFacts
from ..modality import EXAMPLE_INPUTS, PIPELINES
from ..model.loading import load_classifier, load_processor
from ..report.plots import draw_curves
from ..report.results import result_of, write_results
from ..report.tables import results_table
from ..trainer import SSLTrainer
from .pretrained import check_modality, classified_by
from .quiet import quiet_datasets
from .repeat import repeat_command
from .train_data import TrainData, is_hub_id, load_train_data

# What the command sets otherwise than SSLConfig: something to see in ten places of any length of run.
DEFAULTS = {
    "output_dir": "ssl-run",
    "eval_strategy": "steps",
    "eval_steps": 0.1,
    "logging_steps": 0.05,
    "save_steps": 0.1,
    "save_total_limit": 1,
    "per_device_eval_batch_size": 32,
}
# The draws of labels of the benchmark's tasks are numbered 0, 1 and 2: its runs are seeded with the first.
TASK_SEED = 0


@dataclass
class TrainArguments:
    """What `hf-ssl train` takes beside the settings of `SSLConfig`."""

    _argument_group_name: ClassVar[str] = "data and model"

    model: str | None = field(
        default=None,
        metadata={"help": "Hub id or folder of the model to start from, with its tokenizer or processor."},
    )
    labeled: str | None = field(
        default=None,
        metadata={
            "help": "Labeled examples: a CSV, TSV, JSON, JSON Lines or Parquet file, a folder with a folder of images or "
            "recordings for each class, a save_to_disk folder, or a Hub dataset as ID, ID:CONFIGURATION or "
            "ID:CONFIGURATION@SPLIT. Rows without a label join the pool."
        },
    )
    unlabeled: str | None = field(
        default=None,
        metadata={"help": "The pool: any of these, a folder of any nesting, or a .txt with one text a line."},
    )
    test: str | None = field(
        default=None,
        metadata={"help": "Labeled examples to evaluate on, as --labeled. Without it nothing is evaluated."},
    )
    test_fraction: float | None = field(
        default=None, metadata={"help": "Instead of --test: put this share of the labeled examples aside, in (0, 1)."}
    )
    task: str | None = field(
        default=None, metadata={"help": "Instead of --labeled, --unlabeled and --test: a task of the USB benchmark."}
    )
    num_labels: int | None = field(default=None, metadata={"help": "Number of labels, for --task."})
    source: str | None = field(
        default=None, metadata={"help": "Folder or Hub account that holds the task, for --task."}
    )
    config: str | None = field(
        default=None,
        metadata={"help": "YAML or JSON file with any of these options by name; what the command line says wins."},
    )
    baseline: bool = field(
        default=False,
        metadata={"help": "Train on the labeled examples alone first, with the same settings, and compare."},
    )
    resume: bool = field(default=False, metadata={"help": "Go on from the last checkpoint in --output_dir."})
    overwrite: bool = field(
        default=False, metadata={"help": "Start anew in an --output_dir that holds an earlier run, whose files go."}
    )


class TrainParser(HfArgumentParser):
    """A parser whose errors are exceptions of one line that name the options meant."""

    def error(self, message: str):
        prefix = "unrecognized arguments: "
        if message.startswith(prefix):
            unknown = [word.split("=")[0] for word in message.removeprefix(prefix).split() if word.startswith("--")]
            if not unknown:
                raise ValueError(f"{message}; options start with --")
            known = [option for option in self._option_string_actions if option.startswith("--")]
            raise ValueError(near_names(unknown[0], known, "option"))
        raise ValueError(message)


def make_parser() -> TrainParser:
    """All options of the command in three groups: data and model, SSLConfig's own, and TrainingArguments'."""
    parser = TrainParser(
        [TrainArguments, *_config_groups()],
        prog="hf-ssl train",
        usage="hf-ssl train --model MODEL --labeled DATA --unlabeled DATA [--test DATA] [--config FILE] [options]",
        description="Train a classifier on few labeled and many unlabeled images, texts or recordings. Writes the model, its "
        "card (README.md), results.json and curves.png to --output_dir.",
        allow_abbrev=False,
    )
    parser.set_defaults(**DEFAULTS)
    return parser


def default_seed(task: str | None) -> int:
    """The seed of a run for which none was given."""
    return TrainingArguments.seed if task is None else TASK_SEED


def _config_groups() -> list[type]:
    # HfArgumentParser makes one group of a dataclass, and the fields of SSLConfig are to be shown as two.
    hints = get_type_hints(SSLConfig)
    inherited = {f.name: f for f in dataclasses.fields(TrainingArguments)}
    groups: dict[str, list] = {
        "semi-supervised training (SSLConfig)": [],
        "training (transformers' TrainingArguments)": [],
    }
    for item in dataclasses.fields(SSLConfig):
        if not item.init:
            continue
        default = {"default": item.default} if item.default_factory is dataclasses.MISSING else {}
        default = default or {"default_factory": item.default_factory}
        # A percent sign in a help text would be taken for a format.
        metadata = {
            **item.metadata,
            "help": " ".join(str(item.metadata.get("help", "")).replace("%", "%%").split()) or " ",
        }
        if item.name == "seed":
            # Not in the namespace unless it is given.
            default = {"default": argparse.SUPPRESS}
            metadata["help"] = (
                f"Seed of the model's head, of batches and views; of --task, which of its draws of labels, too (default: "
                f"{default_seed(None)}; with --task {default_seed('any')})"
            )
        title = list(groups)[item.name in inherited]
        groups[title].append((item.name, hints[item.name], field(metadata=metadata, **default)))
    return [
        dataclasses.make_dataclass(f"Group{i}", fields, namespace={"_argument_group_name": title})
        for i, (title, fields) in enumerate(groups.items())
    ]


def near_names(name: str, known: list[str], what: str) -> str:
    """ "unknown option '--max_stps'; did you mean --max_steps?" """
    plain = {item.replace("-", "_"): item for item in sorted(known)}  # --max_steps and --max-steps are one option
    near = [plain[item] for item in difflib.get_close_matches(name.replace("-", "_"), plain, n=3)]
    ask = f"did you mean {' or '.join(near)}?" if near else "`hf-ssl train --help` lists them all"
    return f"unknown {what} {name!r}; {ask}"


def read_recipe(path: str, known: list[str]) -> dict[str, Any]:
    """The options in a YAML or JSON file, as defaults for the parser.

    Raises:
        ValueError: if the file is not a mapping of options, or holds an unknown one; near names are listed.
    """
    try:
        # Every JSON document is a YAML document, too.
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no file {path} (--config)") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no YAML or JSON: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(
            f"{path} should hold options by name, such as 'algorithm: fixmatch', not {type(content).__name__}"
        )
    recipe = {}
    for name, value in content.items():
        key = str(name).replace("-", "_")
        if key not in known or key == "config":
            raise ValueError(f"{path}: {near_names(str(name), [k for k in known if k != 'config'], 'option')}")
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        # As text the parser checks it like an option; YAML reads 1e-4 as text anyway.
        recipe[key] = str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value
    return recipe


def parse(arguments: list[str]) -> tuple[TrainArguments, dict[str, Any]]:
    """The command's own arguments, and the keywords for SSLConfig."""
    parser = make_parser()
    namespace = vars(parser.parse_args(arguments))
    if namespace["config"] is not None:
        parser.set_defaults(**read_recipe(namespace["config"], [*namespace, "seed"]))
        namespace = vars(parser.parse_args(arguments))
    namespace.setdefault("seed", default_seed(namespace["task"]))
    names = [f.name for f in dataclasses.fields(TrainArguments)]
    own = TrainArguments(**{name: namespace.pop(name) for name in names})
    if own.model is None:
        raise ValueError("--model is missing: the Hub id or folder of the model to start from")
    if own.resume and own.overwrite:
        raise ValueError("--resume goes on with a run and --overwrite starts anew; give one of them")
    return own, namespace


def prepare_output(folder: Path, resume: bool, overwrite: bool) -> None:
    """Refuse to mix with an earlier run, or with anything else, unless told to.

    Raises:
        ValueError: if the folder holds something and neither flag says what is to happen with it.
    """
    present = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    if not present or resume:
        return
    runs = "results.json" in present or any(name.startswith("checkpoint-") for name in present)
    if not overwrite:
        choice = (
            "--resume goes on from its last checkpoint, --overwrite starts anew in it"
            if runs
            else "choose another one"
        )
        raise ValueError(f"the output folder {folder} is not empty; {choice}")
    if not runs:
        raise ValueError(
            f"the output folder {folder} holds files and no earlier run (no results.json); choose another one"
        )
    for entry in folder.glob("checkpoint-*"):
        shutil.rmtree(entry)
    shutil.rmtree(folder / "baseline", ignore_errors=True)


def run(arguments: list[str]) -> None:
    """`hf-ssl train`.

    Raises:
        ValueError, TypeError, OSError: in one line, for whatever is wrong with the request; nothing is written then.
    """
    own, settings = parse(arguments)
    resolve_algorithm(settings["algorithm"])
    folder = Path(settings["output_dir"])
    if not any(is_hub_id(source) for source in (own.labeled, own.unlabeled, own.test) if source):
        # Reading files takes a moment; downloads take long and keep their bars.
        quiet_datasets()
    able = classified_by(own.model)
    processor = load_processor(own.model, able[0]) if len(able) == 1 else None
    data = load_train_data(own, settings, able[0] if len(able) == 1 else None, processor)
    modality = data.summary.modality
    if processor is None:
        check_modality(own.model, able, modality)
        processor = load_processor(own.model, modality)
    if modality == "image" and settings["image_size"] is not None:
        # Saved with the model: whoever uses it shows it images of the size of the training.
        processor.size, processor.do_center_crop = (
            {"height": settings["image_size"], "width": settings["image_size"]},
            False,
        )
    if data.test is None:
        settings["eval_strategy"] = "no"
    args = SSLConfig(**copy.deepcopy(settings))
    command = repeat_command(own, settings, args.world_size)
    main = args.process_index == 0
    if main:
        prepare_output(folder, own.resume, own.overwrite)
        for note in data.notes:
            print(note, flush=True)
    shown = {**_shown(settings, args), "labeled": data.name, "base_model": _public(own.model), "model": "."}
    runs: list[dict] = []
    histories: dict[str, list[list[dict]]] = {}
    if own.baseline and settings["algorithm"] != "supervised":
        row, histories["supervised"] = _baseline(own, settings, data, processor, main)
        runs.append(row)
        if main:
            write_results(folder, runs, shown)
    checkpoint = settings["resume_from_checkpoint"] or (get_last_checkpoint(str(folder)) if own.resume else None)
    baseline = runs[0] if runs and runs[0]["test_accuracy"] is not None else None
    facts = CardFacts(dataset=data.hub_id or own.task, command=command)
    trainer, row = _train(own, args, data, processor, checkpoint, facts, baseline)
    histories[trainer.algorithm_name] = [trainer.state.log_history]
    runs.append(row)
    # What is pushed is pushed once, when all of it is there.
    trainer.curves_drawn = True
    trainer.save_model(_internal_call=True)
    trainer.save_state()
    if not main:
        return
    drawn = _draw(
        folder, histories, f"{data.name}: {row['num_labeled']:,} labeled, {row['num_unlabeled']:,} unlabeled"
    )
    trainer.create_model_card()
    write_results(folder, runs, shown)
    if args.push_to_hub:
        trainer.push_to_hub()
    print("\n" + results_table(runs))
    if data.test is None:
        print("\nNothing was evaluated: give --test, or --test-fraction to put a part of the labeled examples aside.")
    task = PIPELINES[modality]
    print(
        f"\nWritten to {folder}: the model with its card (README.md), results.json{', curves.png' if drawn else ''}.\n"
        f"Use it:  hf-ssl predict {folder} INPUT ...\n"
        f"or:      from transformers import pipeline\n"
        f'         pipeline("{task}", "{folder}")("{EXAMPLE_INPUTS[modality]}")'
    )


def _train(
    own: TrainArguments,
    args: SSLConfig,
    data: TrainData,
    processor,
    checkpoint: str | None = None,
    facts: CardFacts | None = None,
    baseline: dict | None = None,
):
    # The head starts from the same random weights in the baseline and in the run it is compared with.
    set_seed(args.seed)
    model = load_classifier(own.model, data.summary)
    trainer = SSLTrainer(
        model,
        args,
        train_dataset=data.labeled,
        unlabeled_dataset=data.unlabeled,
        eval_dataset=data.test,
        processing_class=processor,
    )
    trainer.card, trainer.baseline = facts or trainer.card, baseline
    start = time.perf_counter()
    trainer.train(resume_from_checkpoint=checkpoint)
    last = next((row["step"] for row in reversed(trainer.state.log_history) if "eval_accuracy" in row), None)
    if data.test is not None and last != trainer.state.global_step:
        trainer.evaluate()
    return trainer, result_of(trainer.run_facts(), time.perf_counter() - start)


def _baseline(own, settings, data, processor, main: bool) -> tuple[dict, list[list[dict]]]:
    """Labeled-only training with the same settings; on --resume, an earlier one is read back."""
    folder = Path(settings["output_dir"])
    inner = folder / "baseline"
    kept = inner / "trainer_state.json"
    if own.resume and kept.is_file() and (folder / "results.json").is_file():
        rows = json.loads((folder / "results.json").read_text(encoding="utf-8"))["runs"]
        rows = [row for row in rows if row["algorithm"] == "supervised" and row["seed"] == settings["seed"]]
        if rows:
            return rows[0], [json.loads(kept.read_text(encoding="utf-8"))["log_history"]]
    role = {"teacher": "none", "both": "evaluation"}.get(settings["ema_role"], settings["ema_role"])
    changed = {"algorithm": "supervised", "algorithm_kwargs": None, "ema_role": role, "output_dir": str(inner)}
    changed |= {"save_strategy": "no", "load_best_model_at_end": False, "push_to_hub": False}
    args = SSLConfig(**copy.deepcopy({**settings, **changed}))
    if main:
        print("\nLabeled-only baseline first:", flush=True)
    trainer, row = _train(own, args, data, processor)
    trainer.save_state()
    return row, [trainer.state.log_history]


def _draw(folder: Path, histories: dict, title: str) -> bool:
    try:
        draw_curves(folder / "curves.png", histories, title)
    except ImportError:
        print('curves.png was not drawn: matplotlib is missing; pip install "hf-ssl[plot]"')
        return False
    return True


def _shown(settings: dict[str, Any], args: SSLConfig) -> dict[str, Any]:
    """The semi-supervised settings, and those of TrainingArguments that differ from their defaults, as JSON can hold them."""
    inherited = {f.name: f for f in dataclasses.fields(TrainingArguments)}
    always = ("seed", "learning_rate", "lr_scheduler_type", "weight_decay", "per_device_train_batch_size", "max_steps")
    kept = {}
    for item in dataclasses.fields(SSLConfig):
        default = item.default if item.default_factory is dataclasses.MISSING else item.default_factory()
        ours = item.name not in inherited or item.name in always
        if item.init and not is_private(item.name) and (ours or settings.get(item.name, default) != default):
            kept[item.name] = settings.get(item.name, default)
    kept["algorithm_kwargs"] = args.algorithm_kwargs
    return json.loads(json.dumps(kept, default=str))


def _public(name: str) -> str:
    """A Hub id as it is; of a path its last part alone, which says nothing of the machine."""
    return Path(name).resolve().name if Path(name).exists() else name

"""The options of `hf-ssl train`: its own, those of SSLConfig, and those that a recipe (--config) holds."""

import argparse
import dataclasses
import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NoReturn, cast, get_type_hints

from transformers import HfArgumentParser, TrainingArguments

from ..algorithms import known_name
from ..config import NotSet, SSLConfig
from ..documents import parse_yaml, read_text
from ..settings.labels import known_problem_type, split_columns
from .durations import seconds_of
from .parser import HelpFormatter

# Where the command differs from SSLConfig: something to see in ten places of a run of any length.
DEFAULTS: dict[str, Any] = {
    "algorithm": "auto",
    "output_dir": "ssl-run",
    "eval_strategy": "steps",
    "eval_steps": 0.1,
    "logging_steps": 0.05,
    "save_steps": 0.1,
    "save_total_limit": 1,
    "per_device_eval_batch_size": 32,
}
# What options are called in other programs -> what they are called here.
_ELSEWHERE = {
    **dict.fromkeys(("lr", "learning_rate_init", "eta"), "learning_rate"),
    **dict.fromkeys(("bs", "batch_size", "batch", "train_batch_size", "b"), "per_device_train_batch_size"),
    **dict.fromkeys(("eval_batch_size", "test_batch_size"), "per_device_eval_batch_size"),
    **dict.fromkeys(("epochs", "epoch", "num_epochs", "n_epochs"), "num_train_epochs"),
    **dict.fromkeys(("steps", "iterations", "iters", "num_steps", "n_steps"), "max_steps"),
    **dict.fromkeys(("wd", "decay", "l2"), "weight_decay"),
    **dict.fromkeys(("warmup", "warmup_ratio"), "warmup_steps"),
    **dict.fromkeys(("out", "output", "o", "out_dir", "save_dir", "save"), "output_dir"),
    **dict.fromkeys(("data", "train", "train_data", "train_file", "train_dir", "dataset", "labels"), "labeled"),
    **dict.fromkeys(("pool", "unlabelled", "unlabeled_data", "unlab"), "unlabeled"),
    **dict.fromkeys(("labelled", "labeled_data"), "labeled"),
    **dict.fromkeys(
        ("val", "valid", "validation", "eval", "dev", "test_data", "test_file", "validation_file"), "test"
    ),
    **dict.fromkeys(("test_size", "test_split", "val_split", "validation_split"), "test_fraction"),
    **dict.fromkeys(("algo", "method", "alg"), "algorithm"),
    **dict.fromkeys(("m", "model_name", "model_name_or_path", "base_model", "pretrained", "backbone"), "model"),
    **dict.fromkeys(("text", "text_column", "image_column", "audio_column", "column"), "input_column"),
    **dict.fromkeys(("target", "target_column", "class_column", "labels_column"), "label_column"),
    **dict.fromkeys(("workers", "num_workers", "n_workers", "j"), "dataloader_num_workers"),
    **dict.fromkeys(("mu", "ratio", "uratio"), "unlabeled_batch_ratio"),
    **dict.fromkeys(("time", "budget", "timeout", "max_time"), "time_budget"),
    **dict.fromkeys(("cpu", "device", "no_cuda"), "use_cpu"),
    **dict.fromkeys(("force", "f"), "overwrite"),
    **dict.fromkeys(("max_len", "max_seq_length", "max_seq_len"), "max_length"),
    **dict.fromkeys(("continue", "restart"), "resume"),
    "threshold": "algorithm_kwargs",
}
# Words that --algorithm takes beside the names of algorithms: stages, with or without fine-tuning.
STAGED = ("auto", "features")
# The draws of labels of the benchmark's tasks are numbered 0, 1 and 2: runs on a task are seeded with the first.
TASK_SEED = 0


def _option(default: Any, metavar: str, help: str) -> Any:
    return field(default=default, metadata={"help": help, **({"metavar": metavar} if metavar else {})})


@dataclass
class TrainArguments:
    """What `hf-ssl train` takes beside the settings of `SSLConfig`; the help of each option is its documentation."""

    _argument_group_name: ClassVar[str] = "data and model"

    model: str = _option(
        "",
        "MODEL",
        "Hub id or folder of the model to start from, with its tokenizer, image processor or feature extractor.",
    )
    labeled: str | None = _option(
        None,
        "DATA",
        "Labeled examples: a CSV, TSV, JSON, JSON Lines or Parquet file; a folder with one folder of images or "
        "recordings per class; a folder that Dataset.save_to_disk wrote; or a Hub dataset as ID, ID:CONFIGURATION or "
        "ID:CONFIGURATION@SPLIT. Rows without a label join the pool.",
    )
    unlabeled: str | None = _option(
        None,
        "DATA",
        "The pool of unlabeled examples: any of these, a folder of files however nested, or a .txt file with one text "
        "per line.",
    )
    test: str | None = _option(
        None, "DATA", "Labeled examples to evaluate on, given like --labeled. Without them nothing is evaluated."
    )
    test_fraction: float | None = _option(
        None, "X", "Instead of --test: set this share of the labeled examples aside, between 0 and 1."
    )
    task: str | None = _option(
        None,
        "TASK",
        "Instead of --labeled, --unlabeled and --test: a task of the USB benchmark; `hf-ssl benchmark list` shows "
        "them.",
    )
    num_labeled: int | None = _option(None, "N", "Number of labeled examples, for --task.")
    source: str | None = _option(
        None,
        "PLACE",
        "Where the task is, for --task: a folder that `hf-ssl benchmark build` wrote, the raw data, or an account on "
        "the Hub.",
    )
    config: str | None = _option(
        None, "FILE", "YAML or JSON file with any of these options by name; options on the command line win over it."
    )
    baseline: bool = _option(
        False,
        "",
        "Train on the labeled examples alone first, and compare: with the settings of a named algorithm; with auto "
        "and features once all weights and once adapters (LoRA).",
    )
    time_budget: str | None = _option(
        None,
        "TIME",
        "With --algorithm auto: how long the whole command may take, such as 90s, 3m or 1h. Fine-tuning gets what the "
        "stages before it leave. By default it takes as long as they did.",
    )
    calibrate: bool = _option(
        False,
        "",
        "With --algorithm auto and features: divide the head of the saved model by the temperature that is fitted to "
        "labels held out in turn, so that its probabilities say how often it is right; its answers stay the same. "
        "Without this option the temperature is only told, by the card and results.json.",
    )
    resume: bool = _option(
        False,
        "",
        "Continue the run in --output-dir from its newest complete checkpoint, or from scratch if it has none yet.",
    )
    overwrite: bool = _option(
        False,
        "",
        "Start from scratch in an --output-dir that holds an earlier run; the files of that run are deleted.",
    )
    quiet: bool = _option(False, "", "Show nothing but errors; the files are written all the same.")


# What `--help` lists; `--help-all` lists every option.
_FIRST = set(
    """
    help model labeled unlabeled test test_fraction output_dir algorithm time_budget baseline calibrate resume
    overwrite config quiet max_steps learning_rate per_device_train_batch_size input_column label_column
    label_columns label_separator problem_type seed use_cpu
    """.split()  # noqa: SIM905 - one word per line would be long
)


class TrainParser(HfArgumentParser):
    """A parser whose errors are exceptions of one line that name the options meant, and whose first help is short."""

    def print_help(self, file: Any = None) -> None:
        """Print the options that people need first; `format_help` has all of them."""
        hidden = {action: action.help for action in self._actions if action.dest not in {*_FIRST, argparse.SUPPRESS}}
        epilog = self.epilog
        for action in hidden:
            action.help = argparse.SUPPRESS
        self.epilog = f"`hf-ssl train --help-all` lists {len(hidden)} more options. {epilog}"
        try:
            super().print_help(file)
        finally:
            self.epilog = epilog
            for action, text in hidden.items():
                action.help = text

    def error(self, message: str) -> NoReturn:
        prefix = "unrecognized arguments: "
        if message.startswith(prefix):
            unknown = [word.split("=")[0] for word in message.removeprefix(prefix).split() if word.startswith("--")]
            if not unknown:
                raise ValueError(f"{message}; options start with --")
            known = [option for option in self._option_string_actions if option.startswith("--") and "_" not in option]
            raise ValueError(near_names(unknown[0], known, "option"))
        raise ValueError(message)


class _HelpAll(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        print(parser.format_help(), end="")
        parser.exit()


def make_parser() -> TrainParser:
    """All options of the command in three groups: data and model, SSLConfig's additions, and TrainingArguments'."""
    parser = TrainParser(
        # The stub knows dataclasses by a type that no class has.
        cast(Any, [TrainArguments, *_config_groups()]),
        prog="hf-ssl train",
        usage="hf-ssl train --model MODEL --labeled DATA --unlabeled DATA\n"
        "                    [--test DATA] [--config FILE] [options]",
        description="Train a classifier on few labeled and many unlabeled images, texts or recordings. Writes the "
        "model, its card (README.md), results.json and curves.png to --output-dir.",
        epilog="Options may be written with - or _. An option that shows true|false is on if it has no value.",
        formatter_class=HelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--help-all",
        action=_HelpAll,
        nargs=0,
        dest=argparse.SUPPRESS,
        default=argparse.SUPPRESS,
        help="show every option and exit",
    )
    for action in parser._actions:
        if any(option.startswith("--no-") for option in action.option_strings):
            # Of `--x true|false`, HfArgumentParser makes a second option `--no-x`, with the help of the first.
            action.help = argparse.SUPPRESS
    parser.set_defaults(**DEFAULTS)
    return parser


def default_seed(task: str | None) -> int:
    """The seed of a run for which none was given.

    Example:
        >>> default_seed(None), default_seed("cifar100")
        (42, 0)
    """
    return TrainingArguments.seed if task is None else TASK_SEED


def _config_groups() -> list[type]:
    # HfArgumentParser turns a dataclass into one group, and the fields of SSLConfig are to be shown as two.
    hints = get_type_hints(SSLConfig)
    inherited = {f.name for f in dataclasses.fields(TrainingArguments)}
    groups: dict[str, list[tuple[str, Any, Any]]] = {
        "semi-supervised training (SSLConfig)": [],
        "training (transformers' TrainingArguments)": [],
    }
    for item in dataclasses.fields(SSLConfig):
        if item.init:
            title = list(groups)[item.name in inherited]
            groups[title].append((item.name, hints[item.name], _config_field(item)))
    return [
        dataclasses.make_dataclass(f"Group{i}", fields, namespace={"_argument_group_name": title})
        for i, (title, fields) in enumerate(groups.items())
    ]


def _config_field(item: dataclasses.Field) -> Any:
    """A field of SSLConfig as an option."""
    if item.name == "seed":
        # Absent from the parsed options unless given, because the default depends on --task.
        text = (
            "Seed of the model's head, of batches and of views; with --task also the draw of labels (default: "
            f"{default_seed(None)}; with --task {default_seed('any')})."
        )
        return field(default=argparse.SUPPRESS, metadata={**item.metadata, "help": text})
    if item.name == "algorithm":
        text = (
            "'auto': a probe of the labels, a classifier of labels and pool on frozen features, then fine-tuning from "
            "there, as far as --time-budget allows; the better model is kept. 'features': the same without "
            "fine-tuning. Or the name of an algorithm, which `hf-ssl algorithms` lists."
        )
        return field(default=item.default, metadata={**item.metadata, "help": text})
    if item.name == "resume_from_checkpoint":
        text = (
            "Folder of the checkpoint to continue from, instead of the newest complete one that --resume finds; "
            "--resume is not needed with it."
        )
        return field(default=item.default, metadata={**item.metadata, "help": text, "metavar": "FOLDER"})
    # Argparse takes a percent sign for a format; TrainingArguments doubles some of its own already.
    text = " ".join(str(item.metadata.get("help", "")).replace("%%", "%").replace("%", "%%").split()) or " "
    metadata = {**item.metadata, "help": text}
    if item.default_factory is not dataclasses.MISSING:
        return field(default_factory=item.default_factory, metadata=metadata)
    return field(default=item.default, metadata=metadata)


def near_names(name: str, known: Iterable[str], what: str) -> str:
    """The error for an unknown name, with known ones that are spelled like it.

    Example:
        >>> near_names("--max_stps", ["--max-steps", "--model"], "option")
        "unknown option '--max_stps'; did you mean --max-steps?"
    """
    plain = {item.replace("-", "_").strip("_"): item for item in sorted(known)}
    typed = name.replace("-", "_").strip("_")
    meant = _ELSEWHERE.get(typed)
    near = difflib.get_close_matches(typed, plain, n=3) if meant not in plain else [meant]
    if not near and len(typed) > 1:
        near = [item for item in plain if typed in item.split("_")][:3]
    near = [plain[item] for item in near]
    ask = f"did you mean {' or '.join(near)}?" if near else "`hf-ssl train --help-all` lists them all"
    return f"unknown {what} {name!r}; {ask}"


def read_recipe(path: str, known: Iterable[str]) -> dict[str, Any]:
    """The options in a YAML or JSON file, as defaults for the parser.

    Args:
        path: of the file, a mapping of options by name, spelled with - or _.
        known: names of the options, spelled with _.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is not a mapping of options, or holds an unknown one; near names are listed.
    """
    try:
        # Every JSON document is also a YAML document.
        content = parse_yaml(read_text(path), f"--config {path}")
    except FileNotFoundError:
        raise FileNotFoundError(f"--config must name a file, got {path}, but there is no file {path}") from None
    if not isinstance(content, dict):
        raise ValueError(
            f"--config must hold options by name, such as 'algorithm: fixmatch', got a {type(content).__name__} in "
            f"{path}"
        )
    known = [name for name in known if name != "config"]
    recipe = {}
    for name, value in content.items():
        key = str(name).replace("-", "_")
        if key not in known:
            raise ValueError(f"{path}: {near_names(str(name), known, 'option')}")
        if value is False and key.endswith("_strategy"):
            # YAML 1.1 reads a bare `no` as False, and none of these options is a switch.
            value = "no"
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        # As text, the parser checks it like an option; YAML reads 1e-4 as text anyway.
        recipe[key] = str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value
    return recipe


def parse(words: Sequence[str]) -> tuple[TrainArguments, dict[str, Any]]:
    """Read the words after `hf-ssl train`.

    Returns:
        the command's own arguments, and the keywords for SSLConfig.

    Raises:
        ValueError: in one line, for options that are unknown, wrong, or do not go together.

    Example:
        >>> arguments, settings = parse(["--model", "someone/model", "--max-steps", "9"])
        >>> arguments.model, settings["max_steps"], settings["output_dir"]
        ('someone/model', 9, 'ssl-run')
    """
    parser = make_parser()
    options = vars(parser.parse_args(words))
    if options["config"] is not None:
        parser.set_defaults(**read_recipe(options["config"], [*options, "seed"]))
        options = vars(parser.parse_args(words))
    options.setdefault("seed", default_seed(options["task"]))
    if isinstance(options["max_steps"], NotSet) and not isinstance(options["num_train_epochs"], NotSet):
        # As in SSLConfig, so that `results.json` says what was trained.
        options["max_steps"] = -1
    names = [f.name for f in dataclasses.fields(TrainArguments)]
    arguments = TrainArguments(**{name: options.pop(name) for name in names})
    if not arguments.model:
        raise ValueError("--model is missing: the Hub id or folder of the model to start from")
    options["algorithm"] = known_name(options["algorithm"], STAGED)
    if options.get("label_columns") is not None:
        options["label_columns"] = split_columns(options["label_columns"])
    if options.get("problem_type") is not None:
        options["problem_type"] = known_problem_type(options["problem_type"])
    if arguments.time_budget is not None:
        seconds_of(arguments.time_budget)
    if arguments.calibrate and options["algorithm"] not in STAGED:
        raise ValueError(
            f"--calibrate must be given with --algorithm auto or features, which hold labels out, got "
            f"{options['algorithm']}; leave it out, or let one of them train"
        )
    if options.get("start", "random") != "random" and options["algorithm"] in STAGED:
        raise ValueError(
            f"--start must be left out for --algorithm {options['algorithm']}, which fits a head by itself, got "
            f"{options['start']}; leave it out, or name another algorithm"
        )
    if arguments.resume and arguments.overwrite:
        raise ValueError("--resume continues a run and --overwrite starts from scratch; give only one of them")
    return arguments, options


def given_options(words: Sequence[str]) -> set[str]:
    """Names of the options that the words after `hf-ssl train` set, or a recipe among them.

    Example:
        >>> sorted(given_options(["--model", "someone/model", "--max-steps", "10000"]))
        ['max_steps', 'model']
    """
    parser = make_parser()
    parser._defaults.clear()
    for action in parser._actions:
        action.default = argparse.SUPPRESS
    given = set(vars(parser.parse_args(words)))
    if "config" in given:
        path = vars(make_parser().parse_args(words))["config"]
        given |= set(read_recipe(path, [*vars(make_parser().parse_args([])), "seed"]))
    return given

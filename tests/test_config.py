"""SSLConfig: its defaults, and what it refuses."""

import copy
import dataclasses
import pickle
from dataclasses import fields

import pytest
from transformers import HfArgumentParser

from hf_ssl import SSLConfig


def config(tmp_path, **changes):
    return SSLConfig(output_dir=str(tmp_path), use_cpu=True, report_to="none", **changes)


def test_the_defaults_it_changes(tmp_path):
    args = config(tmp_path)
    assert (args.max_steps, args.logging_steps) == (10_000, 50)
    assert args.remove_unused_columns is False
    assert args.logging_nan_inf_filter is False


@pytest.mark.parametrize(
    ("gpu", "changes", "expected"),
    [
        (True, {}, True),
        (False, {}, False),
        (True, {"dataloader_pin_memory": False}, False),
        (True, {"accelerator_config": {"even_batches": True}}, False),
    ],
)
def test_pinned_batches_are_copied_to_a_gpu_while_it_computes(tmp_path, monkeypatch, gpu, changes, expected):
    monkeypatch.setattr("torch.cuda.is_available", lambda: gpu)
    assert config(tmp_path, **changes).accelerator_config.non_blocking is expected


CONTRADICTIONS = [
    ({"unlabeled_batch_ratio": 0}, "unlabeled_batch_ratio must be at least 1, got 0"),
    ({"max_steps": "5"}, "max_steps must be a whole number, at least 1, or -1 for num_train_epochs, got '5'"),
    ({"max_steps": 10.5}, "max_steps must be a whole number, .* got 10.5"),
    ({"num_train_epochs": "2"}, "num_train_epochs must be above 0, got '2'"),
    ({"num_train_epochs": float("inf")}, "num_train_epochs must be above 0, got inf"),
    ({"learning_rate": float("nan")}, "learning_rate must be a number, at least 0, got nan"),
    ({"stream_buffer_size": 1.5}, "stream_buffer_size must be a whole number, at least 0, got 1.5"),
    ({"view_micro_batch": True}, "view_micro_batch must be a whole number, at least 1, got True"),
    ({"global_batch_size": "8"}, "global_batch_size must be a whole number, at least 1, got '8'"),
    ({"ignore_data_skip": True}, "ignore_data_skip must be False, got True: resuming"),
    ({"unsupervised_weight": -1.0}, "unsupervised_weight must be at least 0"),
    ({"unsupervised_warmup_steps": -1}, "unsupervised_warmup_steps must be at least 0"),
    ({"ema_decay": 1.0}, r"ema_decay must be in \[0, 1\)"),
    ({"ema_role": "student"}, "none, evaluation, teacher, both"),
    ({"crop_ratio": 0.0}, "crop_ratio"),
    ({"strong_operations": 0}, "strong_operations"),
    ({"on_broken_file": "ignore"}, "on_broken_file must be one of skip, error, got 'ignore'"),
    ({"token_delete_ratio": 1.0}, r"token_delete_ratio must be in \[0, 1\)"),
    ({"token_swap_ratio": -0.1}, "token_swap_ratio"),
    ({"token_mask_ratio": 1.5}, "token_mask_ratio"),
    ({"max_length": 0}, "max_length must be above 0"),
    ({"max_length_seconds": -1.0}, "max_length_seconds must be above 0"),
    ({"image_size": 0}, "image_size must be above 0"),
    ({"strong_effects": -1}, "strong_effects must be at least 0"),
    ({"ignore_data_skip": True}, "ignore_data_skip .* leave it off"),
    ({"remove_unused_columns": True}, "leave it off"),
    ({"label_smoothing_factor": 1.0}, r"label_smoothing_factor must be in \[0, 1\)"),
    ({"dataloader_in_order": False}, "dataloader_in_order must be True, got False: .*; leave it on"),
    ({"train_sampling_strategy": "sequential"}, "train_sampling_strategy must be one of random, group_by_length"),
    ({"accelerator_config": {"dispatch_batches": True}}, "dispatch_batches"),
    ({"accelerator_config": {"split_batches": True}}, "split_batches"),
    ({"algorithm_kwargs": "{threshold"}, "algorithm_kwargs"),
]


@pytest.mark.parametrize(("changes", "message"), CONTRADICTIONS, ids=lambda value: str(value)[:40])
def test_contradictions_say_what_to_do(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        config(tmp_path, **changes)


def test_one_process_with_several_gpus_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(SSLConfig, "n_gpu", property(lambda self: 2))
    with pytest.raises(ValueError, match="accelerate launch"):
        config(tmp_path)


def test_unknown_settings_are_errors(tmp_path):
    with pytest.raises(TypeError, match="unlabelled_batch_ratio"):
        config(tmp_path, unlabelled_batch_ratio=2)


def test_every_field_of_ours_has_help_and_is_in_the_docstring():
    inherited = {field.name for field in fields(SSLConfig.__mro__[1])}
    ours = [field for field in fields(SSLConfig) if field.name not in inherited]
    assert len(ours) > 10
    for field in ours:
        assert len(field.metadata["help"]) > 20, field.name
        assert f"`{field.name}`" in SSLConfig.__doc__, field.name


def test_the_command_line_reads_every_field(tmp_path):
    (args,) = HfArgumentParser(SSLConfig).parse_args_into_dataclasses(
        [
            "--output_dir",
            str(tmp_path),
            "--algorithm",
            "fixmatch",
            "--algorithm_kwargs",
            '{"threshold": 0.9}',
            "--use_cpu",
        ]
    )
    assert args.algorithm_kwargs == {"threshold": 0.9}
    assert args.augmentation_columns == ["aug_0", "aug_1"]


# ---- How long: steps or epochs ----

LENGTHS = [
    ({}, (10_000, 3.0)),
    ({"max_steps": 7}, (7, 3.0)),
    ({"num_train_epochs": 2}, (-1, 2.0)),
    # Also if what is set is the default of TrainingArguments, or that of ours.
    ({"num_train_epochs": 3}, (-1, 3.0)),
    ({"num_train_epochs": 2, "max_steps": 10_000}, (10_000, 2.0)),
    ({"num_train_epochs": 2, "max_steps": 7}, (7, 2.0)),
    ({"num_train_epochs": 2, "max_steps": -1}, (-1, 2.0)),
    ({"max_steps": -1}, (-1, 3.0)),
]


def length(args):
    return args.max_steps, args.num_train_epochs


@pytest.mark.parametrize(("given", "expected"), LENGTHS, ids=str)
def test_epochs_count_if_they_are_set_and_steps_are_not(given, expected, tmp_path):
    args = config(tmp_path, **given)
    assert length(args) == expected
    words = [word for name, value in given.items() for word in (f"--{name}", str(value))]
    (parsed,) = HfArgumentParser(SSLConfig).parse_args_into_dataclasses(
        ["--output_dir", str(tmp_path), "--use_cpu", *words]
    )
    assert length(parsed) == expected
    saved = {name: args.to_dict()[name] for name in ("max_steps", "num_train_epochs")}
    assert [type(value) for value in saved.values()] == [int, float]
    for other in (config(tmp_path, **saved), copy.deepcopy(args), pickle.loads(pickle.dumps(args))):
        assert length(other) == expected


def test_epochs_that_are_set_later_count_as_well(tmp_path):
    args = config(tmp_path)
    assert length(dataclasses.replace(args, num_train_epochs=2)) == (-1, 2)
    args.num_train_epochs = 1
    args.check()
    assert length(args) == (-1, 1)
    assert length(config(tmp_path).set_training(num_epochs=4)) == (-1, 4)


# ---- Options of scripts ----


@dataclasses.dataclass
class ScriptArguments:
    """Options of a script that are called like settings of ours."""

    max_length_seconds: float = 20.0
    image_size: int | None = 64
    horizontal_flip: bool = True


SHARED = ["--max_length_seconds", "5", "--image_size", "32", "--no_horizontal_flip"]


def test_an_option_of_a_script_is_the_script_s(tmp_path):
    own = ["--output_dir", str(tmp_path), "--use_cpu", "--strong_operations", "2"]
    parser = HfArgumentParser((ScriptArguments, SSLConfig))
    script, args = parser.parse_args_into_dataclasses([*own, *SHARED])
    assert script == ScriptArguments(5.0, 32, False)
    assert (args.max_length_seconds, args.image_size, args.horizontal_flip) == (None, None, True)
    assert args.strong_operations == 2
    script, args = parser.parse_args_into_dataclasses(own)
    assert (script, args.image_size) == (ScriptArguments(), None)
    script, args = parser.parse_dict({"output_dir": str(tmp_path), "use_cpu": True, "max_length_seconds": 3.0})
    assert (script.max_length_seconds, args.max_length_seconds) == (3.0, None)


def test_without_such_a_script_it_is_a_setting_as_any(tmp_path):
    (args,) = HfArgumentParser(SSLConfig).parse_args_into_dataclasses(
        ["--output_dir", str(tmp_path), "--use_cpu", *SHARED]
    )
    assert (args.max_length_seconds, args.image_size, args.horizontal_flip) == (5.0, 32, False)
    assert args.to_dict()["max_length_seconds"] == 5.0
    assert dataclasses.replace(args, max_length_seconds=2.0).max_length_seconds == 2.0
    assert copy.copy(args).max_length_seconds == 5.0


@pytest.mark.parametrize(
    ("cores", "processes", "workers"), [(1, 1, 0), (2, 1, 1), (8, 1, 7), (64, 1, 8), (16, 4, 3), (4, 8, 0)]
)
def test_the_number_of_workers_follows_from_the_cores(tmp_path, monkeypatch, cores, processes, workers):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cores)), raising=False)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    assert config(tmp_path).dataloader_num_workers == workers
    assert config(tmp_path, dataloader_num_workers=3).dataloader_num_workers == 3
    monkeypatch.setattr("multiprocessing.get_start_method", lambda allow_none: "spawn")
    assert config(tmp_path).dataloader_num_workers == 0


def test_label_columns_may_be_one_text_with_commas_as_on_a_command_line(tmp_path):
    (parsed,) = HfArgumentParser(SSLConfig).parse_args_into_dataclasses(
        ["--output_dir", str(tmp_path), "--label_columns", "a, b,c", "--problem_type", "regression", "--use_cpu"]
    )
    assert (parsed.label_columns, parsed.problem_type) == (["a", "b", "c"], "regression")
    assert SSLConfig(
        str(tmp_path), label_columns=["a", "b"], problem_type="multi-label", use_cpu=True
    ).problem_type == ("multi_label_classification")
    for settings, message in [
        ({"label_columns": "a,,b"}, "label_columns must be the names of different columns, got 'a,,b'"),
        ({"label_columns": "a,b", "label_column": "a"}, "label_column must be left out beside label_columns, got 'a'"),
        ({"label_separator": ""}, "label_separator must be a text that stands between labels, got ''"),
        ({"problem_type": "ranking"}, "problem_type must be one of single_label_classification, .* got 'ranking'"),
    ]:
        with pytest.raises(ValueError, match=message):
            SSLConfig(str(tmp_path), use_cpu=True, **settings)

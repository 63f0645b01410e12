"""Grid files: what they may say, and one line about what they may not."""

import json
from datetime import date

import pytest
import yaml

from hf_ssl.algorithms import ALGORITHMS
from hf_ssl.benchmark.grid.grid_file import load_grid, parse_grid, ready_grids
from hf_ssl.benchmark.tasks import TASKS, USB_TASKS

SMALL = {"tasks": ["digits"], "algorithms": ["fixmatch"], "labels": [40], "seeds": [0]}


def with_training(name, value):
    return {"schedule": {"base": "short", "training": {name: value}}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"algoritms": []}, "mine: unknown key 'algoritms', did you mean 'algorithms'?"),
        ({"tasks": ["digitz"]}, "mine: tasks: unknown task 'digitz', did you mean 'digits'?"),
        ({"tasks": []}, "mine: tasks is missing; list at least one"),
        ({"tasks": [{"task": "cifar100", "labels": [201]}]}, "mine: tasks: cifar100: unknown label setting 201"),
        ({"tasks": [{"task": "cifar100", "label": [200]}]}, "unknown key 'label', did you mean 'labels'?"),
        ({"tasks": ["ag_news"], "seeds": [7], "labels": None}, "mine: tasks: ag_news: unknown seed 7"),
        ({"tasks": [{"task": "cifar10", "labeled_imbalance": 100}]}, "must have its own name; add one"),
        ({"algorithms": ["fixmach"]}, "mine: algorithms: unknown algorithm 'fixmach', did you mean 'fixmatch'?"),
        (
            {"algorithms": [{"algorithm": "fixmatch", "settings": {"treshold": 1}}]},
            "mine: algorithms: fixmatch: unknown setting of fixmatch 'treshold', did you mean 'threshold'?",
        ),
        (
            {"algorithms": [{"algorithm": "fixmatch", "settings": {"threshold": 1.5}}]},
            "mine: algorithms: fixmatch: threshold must be in [0, 1], got 1.5",
        ),
        (
            {"algorithms": [{"algorithm": "uda", "training": {"max_stepz": 9}}]},
            "unknown setting 'max_stepz', did you mean 'max_steps'?",
        ),
        ({"schedule": "shrt"}, "mine: schedule: unknown schedule 'shrt', did you mean 'short'?"),
        ({"schedule": {"base": "short", "training": {"output_dir": "x"}}}, "unknown setting 'output_dir'"),
        ({"schedule": {"base": "short", "training": {"seed": 3}}}, "unknown setting 'seed'"),
        ({"schedule": "usb"}, "the schedule of digits must be short, got 'usb'; choose that"),
        (
            {"schedule": "classic", "tasks": ["ag_news"]},
            "must have one of cifar10, svhn, cifar100, stl10, got ag_news",
        ),
        ({"seeds": [-1]}, "mine: tasks: digits must have whole numbers of at least 0, got -1; correct it"),
        ({"budget": {"cel": "3m"}}, "mine: budget: unknown key 'cel', did you mean 'cell'?"),
        ({"algorithms": ["fixmatch", "fixmatch"]}, "is listed twice; leave one out"),
        (
            {"tasks": [{"task": "digits"}, {"task": "digits", "training": {"max_steps": 5}}]},
            "two entries must not have one result, got 'digits 40 fixmatch tiny-resnet seed 0' twice",
        ),
        (
            with_training("learning_rate", "1e-4"),
            "digits: fixmatch: learning_rate must be a number, at least 0, got '1e-4'; write",
        ),
        (with_training("max_steps", "many"), "mine: digits: fixmatch: max_steps must be a whole number"),
        (with_training("warmup_ratio", 0.1), "unknown setting 'warmup_ratio'"),
        (
            with_training("learning_rate", date(2024, 1, 1)),
            "mine: schedule: training: learning_rate must be a text, a finite",
        ),
        (
            with_training("learning_rate", float("nan")),
            "mine: schedule: training: learning_rate must be a text, a finite",
        ),
        (
            with_training("num_train_epochs", 3),
            "num_train_epochs is not in force beside the schedule's max_steps; set max_st",
        ),
        (
            with_training("per_device_train_batch_size", 3),
            "beside the schedule's global_batch_size; set global_batch_size",
        ),
        (
            with_training("lr_scheduler_type", "linear"),
            "is not in force beside lr_schedule 'cosine_7_16'; set that to trainer",
        ),
        ({"schedule": {"base": "short", "model": {"foo": 3}}}, "digits: model: unknown setting of tiny-resnet 'foo'"),
        (
            {"algorithms": [{"algorithm": "fixmatch", "imbalance": "abc", "imbalance_settings": {"foo": 3}}]},
            "mine: algorithms: fixmatch: imbalance_settings: ",
        ),
        ({"tasks": [{"task": "digits", "test_examples": -5}]}, "test_examples must have whole numbers of at least 0"),
        ({"tasks": [{"task": "digits", "test_examples": 0}]}, "test_examples must be at least 1, got 0"),
        (
            {"tasks": [{"task": "digits", "name": "lt", "labeled_imbalance": [3]}]},
            "mine: tasks: digits: labeled_imbalance must be a number other than 0, got [3]",
        ),
        ({"imbalance": []}, "imbalance must name at least one correction, got []; write null for none"),
        (
            {"schedule": {"base": "short", "name": "usb", "training": {"max_steps": 5}}},
            "mine: schedule: name must not be that of a ready schedule, got 'usb'; choose another",
        ),
        ({"imbalance": ["abcd"]}, "mine: algorithms: unknown correction 'abcd'"),
        ({"backbones": {"digitz": "x"}}, "mine: backbones: unknown task or modality 'digitz', did you mean 'digits'?"),
    ],
)
def test_a_wrong_name_is_one_line_with_the_nearest_known_one(change, message):
    with pytest.raises(ValueError, match=r"mine|schedule") as error:
        parse_grid({**SMALL, **change}, "mine")
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("content", [None, [], "smoke", 7])
def test_a_file_that_is_no_mapping_is_one_line(content):
    with pytest.raises(ValueError, match="mine must be a mapping with keys of name, description"):
        parse_grid(content, "mine")


def test_formatting_and_order_of_the_file_do_not_change_the_keys(tmp_path):
    content = {
        "schedule": {"base": "short", "training": {"max_steps": 9, "eval_steps": 3}},
        "tasks": ["digits", {"task": "tones", "labels": [18]}],
        "algorithms": [{"algorithm": "fixmatch", "settings": {"threshold": 0.8, "temperature": 0.5}}, "uda"],
    }
    turned = {
        "algorithms": ["UDA", {"settings": {"temperature": 0.50, "threshold": 8e-1}, "algorithm": "FixMatch"}],
        "tasks": [{"labels": 18, "task": "tones"}, "digits"],
        "schedule": {"training": {"eval_steps": 3, "max_steps": 9}, "base": "short"},
    }
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    (tmp_path / "b.yaml").write_text(json.dumps(turned, indent=4), encoding="utf-8")
    keys = [{cell.key: cell.path for cell in load_grid(tmp_path / f"{name}.yaml").cells} for name in "ab"]
    assert keys[0] == keys[1]
    assert len(keys[0]) == 2 * 3 * (2 + 1)


def test_a_grid_runs_seed_after_seed():
    cells = parse_grid({**SMALL, "seeds": [0, 1], "algorithms": ["fixmatch", "uda"]}, "mine").cells
    assert [(cell.seed, cell.algorithm) for cell in cells] == [
        *((0, "fixmatch"), (0, "uda")),
        *((1, "fixmatch"), (1, "uda")),
    ]


def test_settings_beyond_the_schedule_make_a_variant():
    entry = {"algorithm": "fixmatch", "settings": {"threshold": 0.7}}
    unnamed = parse_grid({**SMALL, "algorithms": ["fixmatch", entry]}, "mine").cells
    named = parse_grid({**SMALL, "algorithms": [{**entry, "name": "low"}]}, "mine").cells
    assert unnamed[0].variant is None and len(unnamed[1].variant) == 8
    assert named[0].label == "fixmatch-low" and named[0].key == unnamed[1].key
    assert named[0].settings["algorithm"] == {"threshold": 0.7}


def test_the_most_special_setting_wins():
    content = {
        **SMALL,
        "schedule": {"base": "short", "training": {"max_steps": 5, "eval_steps": 5, "learning_rate": 0.1}},
        "tasks": [{"task": "digits", "training": {"eval_steps": 6, "learning_rate": 0.2}}],
        "algorithms": [{"algorithm": "fixmatch", "training": {"learning_rate": 0.3}}],
    }
    training = parse_grid(content, "mine").cells[0].settings["training"]
    assert (training["max_steps"], training["eval_steps"], training["learning_rate"]) == (5, 6, 0.3)


def test_a_long_tailed_task_has_its_own_name_and_options():
    entry = {"task": "cifar10", "name": "lt100", "labels": [1500], "labeled_imbalance": 100}
    cell = parse_grid({**SMALL, "labels": None, "tasks": [entry]}, "mine").cells[0]
    assert cell.task == "lt100"
    assert cell.settings["task"] == {"labeled_imbalance": 100, "base": "cifar10"}


def test_backbones_by_modality_task_and_commit(tmp_path):
    content = {
        **SMALL,
        "labels": None,
        "tasks": ["ag_news", "aclImdb", "gtzan"],
        "backbones": {"text": "someone/encoder@0123abc", "aclImdb": ["a/b", "c/d"]},
    }
    found = {(cell.task, cell.backbone, cell.backbone_revision) for cell in parse_grid(content, "mine").cells}
    assert found == {
        *(("ag_news", "someone/encoder", "0123abc"), ("aclImdb", "a/b", None), ("aclImdb", "c/d", None)),
        ("gtzan", TASKS["gtzan"].backbone, None),
    }


def test_a_local_backbone_has_the_hash_of_its_files_as_revision(tmp_path):
    folder = tmp_path / "encoder"
    folder.mkdir()
    (folder / "config.json").write_text("{}", encoding="utf-8")
    content = {**SMALL, "backbones": str(folder)}
    grid = parse_grid(content, "mine")
    assert grid.cells[0].backbone == "encoder" and grid.places == {"encoder": str(folder)}
    assert str(tmp_path) not in json.dumps([grid.cells[0].record(), grid.cells[0].settings])
    (folder / "config.json").write_text('{"a": 1}', encoding="utf-8")
    assert parse_grid(content, "mine").cells[0].key != grid.cells[0].key


def test_two_local_backbones_of_one_name_are_refused(tmp_path):
    for name in ("ag", "yelp"):
        (tmp_path / name / "checkpoint-100").mkdir(parents=True)
    places = [str(tmp_path / name / "checkpoint-100") for name in ("ag", "yelp")]
    content = {
        **SMALL,
        "labels": None,
        "tasks": ["ag_news", "yelp_review"],
        "backbones": dict(zip(("ag_news", "yelp_review"), places, strict=True)),
    }
    with pytest.raises(ValueError, match=f"two folders must not have one name, got {places[0]} and {places[1]}"):
        parse_grid(content, "mine")


def test_the_current_folder_as_backbone_has_its_name(tmp_path, monkeypatch):
    (tmp_path / "encoder" / "part").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "encoder" / "part")
    for place, name in ((".", "part"), ("..", "encoder")):
        assert parse_grid({**SMALL, "backbones": place}, "mine").cells[0].backbone == name


def test_a_task_with_settings_of_its_own_is_not_of_the_published_schedule():
    tasks = ["ag_news", {"task": "aclImdb", "training": {"max_steps": 10}}]
    cells = parse_grid({**SMALL, "labels": None, "schedule": "usb", "tasks": tasks}, "mine").cells
    assert {(cell.task, cell.schedule) for cell in cells} == {("ag_news", "usb"), ("aclImdb", "usb, changed")}


@pytest.mark.parametrize(
    ("name", "tasks"),
    [
        ("usb_cv", [name for name in USB_TASKS if TASKS[name].modality == "image"]),
        ("usb_nlp", [name for name in USB_TASKS if TASKS[name].modality == "text"]),
        ("usb_audio", [name for name in USB_TASKS if TASKS[name].modality == "audio"]),
        ("usb_all", list(USB_TASKS)),
    ],
)
def test_the_ready_grids_of_usb_are_its_tasks_at_all_label_settings(name, tasks):
    cells = load_grid(name).cells
    found = {(cell.task, cell.num_labeled) for cell in cells}
    assert found == {(task, labels) for task in tasks for labels in TASKS[task].label_settings}
    # Every algorithm and the fully supervised training, three seeds.
    assert len(cells) == len({cell.key for cell in cells}) == len(found) * (len(ALGORITHMS) + 1) * 3


def test_every_ready_grid_loads_and_tells_what_it_is():
    assert {"smoke", "long_tail", "routes", "usb_cv", "usb_nlp", "usb_audio", "usb_all"} <= set(ready_grids())
    for name in ready_grids():
        grid = load_grid(name)
        assert grid.name == name and grid.description.endswith(".") and grid.cells


def test_a_grid_that_there_is_not_names_the_ready_ones():
    with pytest.raises(FileNotFoundError, match=r"must be a file or one of .*smoke.*, got smok; name one"):
        load_grid("smok")

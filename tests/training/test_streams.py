"""Training on a pool that is a stream: as in memory where the order is the same, and exact after resuming."""

import gc
import itertools

import pytest
import torch
from transformers import TrainerCallback

from hf_ssl import SSLConfig, SSLTrainer, get_algorithm
from hf_ssl.algorithms import ALGORITHMS
from hf_ssl.features import bank
from hf_ssl.report.results import result_of
from hf_ssl.training.checksums import write_checksums

from tests.helpers.resuming import everything, log_lines
from tests.helpers.tiny_tasks import make_sounds, new_model, task

STEPS = 10


class Counted(torch.utils.data.IterableDataset):
    """A torch stream of a dataset's rows, which counts how often it began."""

    def __init__(self, rows):
        self.rows, self.began = rows, 0

    def __iter__(self):
        self.began += 1
        yield from self.rows


def streamed(rows, kind="datasets", shards=3):
    return Counted(rows) if kind == "torch" else rows.to_iterable_dataset(num_shards=shards)


def make_trainer(folder, modality="text", algorithm="fixmatch", pool=None, trainer=None, seed=0, **config):
    defaults = {
        "max_steps": STEPS,
        "per_device_train_batch_size": 2,
        "unlabeled_batch_ratio": 2,
        "learning_rate": 1e-2,
        "algorithm_kwargs": {"threshold": 0.35} if algorithm == "fixmatch" else None,
        "ema_role": "evaluation",
        "ema_decay": 0.9,
        "save_strategy": "no",
        "report_to": "none",
        "use_cpu": True,
        "disable_tqdm": True,
        "logging_steps": 3,
        "dataloader_pin_memory": False,
        "dataloader_num_workers": 0,
        "stream_buffer_size": 5,
    }
    args = SSLConfig(output_dir=str(folder), algorithm=algorithm, **{**defaults, **config})
    given = dict(task(modality))
    given["unlabeled_dataset"] = streamed(given["unlabeled_dataset"]) if pool is None else pool
    return SSLTrainer(new_model(modality, seed), args, **{**given, **(trainer or {})})


def differing(first, second):
    expected, found = everything(first), everything(second)
    return [name for name in expected if not torch.equal(expected[name], found[name])]


IN_MEMORY = {
    "text": {"modality": "text"},
    "image, a torch stream": {"modality": "image", "kind": "torch"},
    "audio, workers": {"modality": "audio", "dataloader_num_workers": 2},
    "accumulation": {"gradient_accumulation_steps": 2, "max_steps": 3},
}


def cases(named, slow):
    """Names of cases; those that start processes or repeat in other combinations what others show are slow."""
    return [pytest.param(name, marks=pytest.mark.slow if name in slow else ()) for name in named]


@pytest.mark.parametrize("name", cases(IN_MEMORY, {"audio, workers"}))
def test_a_stream_that_fits_into_the_buffer_trains_what_the_dataset_trains(tmp_path, name):
    case = {"max_steps": 6, "stream_buffer_size": 100, **IN_MEMORY[name]}
    kind = case.pop("kind", "datasets")
    pool = task(case.get("modality", "text"))["unlabeled_dataset"]
    whole = make_trainer(tmp_path, pool=pool, **case)
    whole.train()
    stream = make_trainer(tmp_path, pool=streamed(pool, kind), **case)
    stream.train()
    assert differing(whole, stream) == []
    assert log_lines(whole) == log_lines(stream) != []


RESUMES = {
    "text": {},
    "a torch stream of images, workers": {"modality": "image", "kind": "torch", "dataloader_num_workers": 2},
    "accumulation, in the second pass": {"gradient_accumulation_steps": 2, "at": 5},
    "no buffer, workers": {"stream_buffer_size": 0, "dataloader_num_workers": 2, "at": 8},
    "a buffer of its own": {"kind": "shuffled"},
    "simmatch": {"algorithm": "simmatch", "algorithm_kwargs": {"threshold": 0.35, "projection_size": 4}},
    "supervised, which does not read it": {"algorithm": "supervised"},
}


def kind_of_pool(kind, modality="text"):
    rows = task(modality)["unlabeled_dataset"]
    stream = streamed(rows, kind)
    return stream.shuffle(seed=1, buffer_size=7) if kind == "shuffled" else stream


MORE = {"a torch stream of images, workers", "no buffer, workers", "simmatch", "supervised, which does not read it"}


@pytest.mark.parametrize("name", cases(RESUMES, MORE))
def test_resuming_in_mid_stream_is_bit_for_bit(tmp_path, name):
    case = {"modality": "text", "kind": "datasets", "save_strategy": "steps", **RESUMES[name]}
    at, kind = case.pop("at", 4), case.pop("kind")
    whole = make_trainer(tmp_path, pool=kind_of_pool(kind, case["modality"]), save_steps=at, **case)
    whole.train()
    resumed = make_trainer(tmp_path, pool=kind_of_pool(kind, case["modality"]), save_steps=at, seed=5, **case)
    resumed.train(resume_from_checkpoint=str(tmp_path / f"checkpoint-{at}"))
    assert differing(whole, resumed) == []
    assert log_lines(whole) == log_lines(resumed)


def test_workers_change_nothing(tmp_path):
    alone, shared = (make_trainer(tmp_path, dataloader_num_workers=workers) for workers in (0, 2))
    alone.train()
    shared.train()
    assert differing(alone, shared) == []


class Interrupt(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 7:
            raise KeyboardInterrupt


@pytest.mark.slow
def test_a_run_that_was_interrupted_goes_on_in_mid_stream(tmp_path):
    settings = {"save_strategy": "steps", "save_steps": 3, "dataloader_num_workers": 2}
    whole = make_trainer(tmp_path / "whole", **settings)
    whole.train()
    interrupted = make_trainer(tmp_path / "run", trainer={"callbacks": [Interrupt()]}, **settings)
    with pytest.raises(KeyboardInterrupt):
        interrupted.train()
    resumed = make_trainer(tmp_path / "run", seed=5, **settings)
    resumed.train(resume_from_checkpoint=True)
    assert differing(whole, resumed) == [] and resumed.state.global_step == STEPS


# What was changed in a checkpoint -> what is said.
CHANGED = {
    "of a dataset": (
        None,
        "ssl_stream_0.json is missing: this checkpoint is of a training whose pool was",
    ),
    "of another buffer": (
        ('"block_size": 5', '"block_size": 8'),
        "stream_buffer_size must be 8, as in the run that is resumed, got 5; set it, or start from scratch",
    ),
    "of two processes": (
        ('"processes": 1', '"processes": 2'),
        "was written by 2 processes, each with its part of the stream, and 1 cannot go on with them; resume with 2",
    ),
}


def test_a_checkpoint_that_does_not_fit_the_stream_is_refused(tmp_path):
    trainer = make_trainer(tmp_path, save_strategy="steps", save_steps=2, max_steps=2)
    trainer.train()
    file = tmp_path / "checkpoint-2" / "ssl_stream_0.json"
    kept = file.read_text()
    for change, message in CHANGED.values():
        file.unlink(missing_ok=True)
        if change is not None:
            file.write_text(kept.replace(*change))
        # Such a file comes from another run, with checksums of its own.
        write_checksums(file.parent)
        with pytest.raises(ValueError, match=message) as error:
            trainer.train(resume_from_checkpoint=str(file.parent))
        assert "\n" not in str(error.value)
    file.write_text(kept)
    write_checksums(file.parent)
    in_memory = make_trainer(tmp_path, pool=task("text")["unlabeled_dataset"])
    with pytest.raises(ValueError, match=r"the pool must be a stream, as in .*, got a dataset of 24; resume"):
        in_memory.train(resume_from_checkpoint=str(file.parent))
    file.write_text(kept + " ")
    with pytest.raises(ValueError, match=r"ssl_stream_0\.json"):
        trainer.train(resume_from_checkpoint=str(file.parent))


def test_what_is_said_of_a_stream(tmp_path):
    trainer = make_trainer(tmp_path, max_steps=3)
    trainer.train()
    said = trainer.describe()
    assert "unlabeled       a stream, with hidden labels" in said
    assert "steps           3, 12 unlabeled examples from the stream" in said
    trainer.create_model_card()
    card = (tmp_path / "README.md").read_text()
    assert "with 6 labeled and a stream of unlabeled examples" in card
    assert result_of(trainer.run_facts(), 1.0)["num_unlabeled"] is None


def test_labels_of_a_stream_may_be_tensors(tmp_path):
    pool = task("text")["unlabeled_dataset"]
    plain = make_trainer(tmp_path, pool=pool.to_iterable_dataset())
    tensors = make_trainer(tmp_path, pool=pool.to_iterable_dataset().with_format("torch"))
    for trainer in (plain, tensors):
        trainer.train()
    accuracies = [[row.get("pseudo_label_accuracy") for row in each.state.log_history] for each in (plain, tensors)]
    assert accuracies[0] == accuracies[1] and any(accuracy is not None for accuracy in accuracies[0])


def test_epochs_that_are_asked_for_later_are_refused_as_well(tmp_path):
    trainer = make_trainer(tmp_path, pool=streamed(task("text")["unlabeled_dataset"], "datasets"))
    trainer.args.max_steps = -1
    with pytest.raises(ValueError, match="max_steps must be at least 1 for a streamed pool"):
        trainer.train()


REFUSED = {
    "an algorithm that remembers": (
        {"algorithm": "flexmatch"},
        "FlexMatch keeps something for each example of the pool, and a stream has no end; use an algorithm that does "
        r"not \(freematch, softmatch\), or load the pool without streaming",
    ),
    "epochs": (
        {"max_steps": -1},
        "max_steps must be at least 1 for a streamed pool, which has no epochs to count",
    ),
    "lengths": (
        {"train_sampling_strategy": "group_by_length"},
        "train_sampling_strategy must be 'random' for a streamed pool, .* set it, or load the pool without streaming",
    ),
    "no row": (
        {"pool": Counted([])},
        "the stream must hold at least one example, got none; check its filter",
    ),
    "another column": (
        {"pool": make_sounds(2, 0).to_iterable_dataset()},
        "the unlabeled dataset has no column 'text'; its columns are audio, label",
    ),
    "a start without rows": (
        {"start": "features", "stream_buffer_size": 0},
        "stream_buffer_size must be at least 1 for start='features' with a streamed pool",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_stream_cannot_do_is_refused_in_one_line(tmp_path, name):
    settings, message = REFUSED[name]
    with pytest.raises(ValueError, match=message) as error:
        make_trainer(tmp_path, **settings)
    assert "\n" not in str(error.value)


def test_an_algorithm_that_remembers_the_pool_is_refused_without_the_trainer_as_well():
    sizes = {"num_classes": 3, "feature_size": 4, "num_labeled": 6, "labeled_batch_size": 2, "unlabeled_batch_size": 4}
    refused = []
    for name in ALGORITHMS:
        try:
            get_algorithm(name, num_unlabeled=None, **sizes)
        except ValueError:
            refused.append(name)
    assert refused == [
        "noisy_student",
        "propagation",
        "flexmatch",
        "sequencematch",
        "cgmatch",
        "multimatch",
        "semireward",
    ]


@pytest.mark.parametrize("start", cases(["head", "features"], {"head"}))
def test_a_head_is_fitted_to_the_first_rows_of_a_stream(tmp_path, start, monkeypatch):
    monkeypatch.setattr(bank, "default_cache", lambda: tmp_path / "features")
    pool = task("text")["unlabeled_dataset"]
    settings = {"start": start, "max_steps": 1, "learning_rate": 0.0, "stream_buffer_size": 17}
    weights = []
    for given in (streamed(pool), streamed(pool, "torch"), pool.select(range(17))):
        trainer = make_trainer(tmp_path, pool=given, **settings)
        trainer.train()
        weights.append(trainer.model.classifier.weight.detach().clone())
    assert torch.equal(weights[0], weights[2]) and torch.equal(weights[1], weights[2])


class Row(dict):
    """A row that is counted as long as it is in memory."""

    alive = 0

    def __init__(self, **columns):
        super().__init__(columns)
        Row.alive += 1

    def __del__(self):
        Row.alive -= 1


class Endless(torch.utils.data.IterableDataset):
    """Rows without end, and how many of them were ever in memory together."""

    def __init__(self):
        self.given, self.most = 0, 0

    def __iter__(self):
        texts = task("text")["unlabeled_dataset"]["text"][:]
        for place in itertools.count():
            self.given += 1
            self.most = max(self.most, Row.alive)
            yield Row(text=texts[place % len(texts)])


def test_a_stream_without_end_needs_the_memory_of_two_blocks_and_two_batches(tmp_path):
    gc.collect()
    before, pool = Row.alive, Endless()
    trainer = make_trainer(tmp_path, pool=pool, max_steps=60, stream_buffer_size=20)
    trainer.train()
    assert pool.given > 60 * 4
    # Batches of 4: the one in training and the one that accelerate holds. 16 rows are the sample.
    assert pool.most - before <= 2 * 20 + 2 * 4 + 16
    # The sample, and the row by which a resumed run knows the block.
    assert Row.alive - before <= 16 + 1

"""The published recipes, table against table: skipped where the benchmark's facts are not beside the repository."""

import json
from pathlib import Path

import pytest

from hf_ssl.algorithms import ALGORITHMS
from hf_ssl.benchmark.grid.recipes import FULLY_SUPERVISED, published_settings
from hf_ssl.benchmark.tasks import TASKS

FACTS = Path(__file__).resolve().parents[4] / "shared" / "usb" / "recipes.json"
pytestmark = pytest.mark.skipif(not FACTS.is_file(), reason="the published recipes are not beside the repository")

SPELLED = {"pseudolabel": "pseudo_label", "pimodel": "pi_model", "meanteacher": "mean_teacher"} | {
    "fullysupervised": FULLY_SUPERVISED
}
# Algorithms without a published configuration, and datasets that are none of the package's tasks.
UNPUBLISHED = {
    "entropy_minimization",
    "noisy_student",
    "propagation",
    "shrinkmatch",
    "cgmatch",
    "regmixmatch",
    "semireward",
    "allmatch",
    "openmatch",
    "iomatch",
}
FOREIGN_TASKS = {"semi_inat", "dbpedia", "imagenet"}
TRAINING = {
    "batch_size": "global_batch_size",
    "uratio": "unlabeled_batch_ratio",
    "lr": "learning_rate",
    "weight_decay": "weight_decay",
    "layer_decay": "layer_decay",
    "num_train_iter": "max_steps",
    "num_warmup_iter": "warmup_steps",
    "num_eval_iter": "eval_steps",
    "num_log_iter": "logging_steps",
    "eval_batch_size": "per_device_eval_batch_size",
    "ulb_loss_ratio": "unsupervised_weight",
    "img_size": "image_size",
    "crop_ratio": "crop_ratio",
    "max_length": "max_length",
    "max_length_seconds": "max_length_seconds",
}
OWN = {
    "p_cutoff": "threshold",
    "T": "temperature",
    "hard_label": "hard_labels",
    "ema_p": "momentum",
    "ent_loss_ratio": "fairness_weight",
    "use_quantile": "use_quantile",
    "clip_thresh": "clip_threshold",
    "n_sigma": "n_sigma",
    "per_class": "per_class",
    "dist_uniform": "uniform_alignment",
    "unsup_warm_up": "warmup_fraction",
    "mixup_alpha": "mixup_alpha",
    "kl_loss_ratio": "kl_weight",
    "rot_loss_ratio": "rotation_weight",
    "C": "c",
    "gamma": "gamma",
    "rho_min": "min_loss_threshold",
    "thresh_warmup": "threshold_warmup",
    "tsa_schedule": "tsa_schedule",
    "contrast_loss_ratio": "contrastive_weight",
    "contrast_p_cutoff": "graph_threshold",
    "da_len": "alignment_queue_size",
    "proj_size": "projection_size",
    "queue_batch": "queue_batches",
    "smoothing_alpha": "smoothing",
    "in_loss_ratio": "instance_weight",
    "apm_disagreement_weight": "disagreement_weight",
    "apm_percentile": "percentile",
    "no_low": "no_low",
    "num_heads": "num_heads",
    "smoothness": "smoothness",
    "threshold_algo": "base_threshold",
}
# What says which configuration it is, or follows from the task, the modality or the algorithm, as the module says.
IMPLIED = {"dataset", "num_classes", "num_labels", "net", "use_pretrain", "sample_rate", "epoch", "use_cat", "K"} | {
    *("dist_align", "mixup_manifold", "vat_embed", "use_epass", "use_refix")
}
ELSEWHERE = {"optim", "momentum", "ema_m", "amp", "num_wu_iter"}


def configurations():
    """(recipe, task, labels, algorithm, published) of every configuration."""
    for benchmark, settings in json.loads(FACTS.read_text(encoding="utf-8")).items():
        for name, content in settings.items():
            task, _, labels = name.rpartition("_")
            for algorithm, own in content["per_algorithm"].items():
                recipe = "classic" if benchmark == "classic_cv" else "usb"
                yield recipe, task, int(labels), SPELLED.get(algorithm, algorithm), {**content["common"], **own}


def differences(recipe, task, labels, algorithm, published):
    """(name, published, ours) of each setting that is not the same."""
    found = published_settings(recipe, TASKS[task], labels, algorithm)
    training, own = found["training"], found["algorithm"]
    known = ALGORITHMS[algorithm].settings() if algorithm in ALGORITHMS else {}
    yield from ((name, published[name], training.get(ours)) for name, ours in TRAINING.items() if name in published)
    # A configuration repeats settings of other algorithms, which its own does not read.
    pairs = ((name, ours) for name, ours in OWN.items() if name in published and ours in known)
    yield from ((name, published[name], own.get(ours, known[ours].default)) for name, ours in pairs)
    average = training["ema_decay"] if training["ema_role"] != "none" else 0.0
    yield "ema_m", published["ema_m"], average
    if algorithm in ALGORITHMS and ALGORITHMS[algorithm].uses_teacher:
        yield "teacher", published["ema_m"], training["ema_decay"]
    yield "optim", published["optim"], {"adamw_torch": "AdamW", "sgd": "SGD"}[training["optim"]]
    if published["optim"] == "SGD":
        yield "momentum", f"momentum={published['momentum']},nesterov=true", training["optim_args"]
    if "num_wu_iter" in published:
        yield "num_wu_iter", published["num_wu_iter"] / published["num_train_iter"], own["warmup_fraction"]
    yield "amp", published["amp"], training.get("bf16", False) or training.get("fp16", False)
    yield "decay", published.get("layer_decay", 1.0), training["layer_decay"]
    yield "warm-up", published.get("num_warmup_iter", 0), training["warmup_steps"]
    yield "schedule", "cosine_7_16", training["lr_schedule"]


def test_every_published_configuration_resolves_to_its_hyper_parameters():
    rows = list(configurations())
    checked = [row for row in rows if row[1] not in FOREIGN_TASKS]
    wrong = {
        (*row[:4], name): (theirs, ours)
        for row in checked
        for name, theirs, ours in differences(*row)
        if theirs != ours
    }
    assert wrong == {}
    assert (len(rows), len(checked)) == (843, 801)
    of_usb = {(task, algorithm) for recipe, task, _, algorithm, _ in checked if recipe == "usb"}
    assert {task for task, _ in of_usb} == {name for name in TASKS if name not in ("cifar10", "svhn")}
    # ReFixMatch is published for images alone.
    assert {algorithm for _, algorithm in of_usb} == {*ALGORITHMS, FULLY_SUPERVISED} - UNPUBLISHED


def test_no_published_setting_is_overlooked():
    names = {name for *_, published in configurations() for name in published}
    assert names == names & {*TRAINING, *OWN, *IMPLIED, *ELSEWHERE}


def test_what_is_implied_is_what_was_published():
    for recipe, task, _, algorithm, published in configurations():
        if task in FOREIGN_TASKS:
            continue
        row = TASKS[task]
        # The later configurations of TissueMNIST say 10 classes; the dataset has 8.
        assert published["num_classes"] in (len(row.class_names), 10)
        assert published.get("mixup_manifold", False) == (row.modality != "image") or "mix" not in algorithm
        assert published.get("vat_embed", False) == (algorithm == "vat" and row.modality == "text")
        assert published.get("dist_align", True) and not published.get("use_refix", False)
        assert recipe == "classic" or published["batch_size"] == 8

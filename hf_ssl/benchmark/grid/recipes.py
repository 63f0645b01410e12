"""The published training recipes of USB (arXiv 2208.07204), in the names of `SSLConfig` and of the algorithms.

"usb" is the benchmark's own: pretrained transformers, 15 tasks, batches of 8 + 8. "classic" is the older setting that
USB's code also has: batches of 64 + 448, over a million steps. Its wide residual networks from scratch are not here:
a grid with "classic" trains the task's pretrained model, unless it names another.

What the published configurations set beyond that has no counterpart here, because it follows from something else:
manifold mixup and VAT on word embeddings from the modality, the size of SimMatch's memory from the number of labels,
the alignment of SoftMatch from the algorithm; passes are always joint or separate as the algorithm's reference has
them. Two switches are left out: the several projection heads of `use_epass`, and `use_refix`, which is off.
"""

from typing import Any

from ...algorithms import ALGORITHMS
from ..tasks import Task

RECIPES = ("usb", "classic")
# Trains on every label there is; published beside the algorithms as the goal.
FULLY_SUPERVISED = "fully_supervised"

_USB: dict[str, Any] = {
    "global_batch_size": 8,
    "unlabeled_batch_ratio": 1,
    "optim": "adamw_torch",
    "weight_decay": 5e-4,
    "warmup_steps": 5_120,
    "eval_steps": 2_048,
    "logging_steps": 256,
}
_USB_MODALITIES: dict[str, dict[str, Any]] = {
    "image": {"max_steps": 204_800, "per_device_eval_batch_size": 16},
    "text": {"max_steps": 102_400, "per_device_eval_batch_size": 8},
    "audio": {"max_steps": 102_400, "per_device_eval_batch_size": 16, "weight_decay": 2e-5},
}
# Learning rate and its factor from layer to layer.
_USB_RATES: dict[str, tuple[float, float]] = {
    "cifar100": (5e-4, 0.5),
    "stl10": (1e-4, 0.65),
    "eurosat": (5e-5, 1.0),
    "tissuemnist": (5e-5, 0.95),
    "semi_aves": (1e-3, 0.65),
    "aclImdb": (5e-5, 0.75),
    "ag_news": (5e-5, 0.65),
    "amazon_review": (1e-5, 0.75),
    "yelp_review": (5e-5, 0.75),
    "yahoo_answers": (1e-4, 0.65),
    "gtzan": (2e-5, 1.0),
    "urbansound8k": (5e-5, 0.75),
    "fsdnoisy": (5e-4, 0.75),
    "superbks": (5e-5, 0.75),
    "esc50": (1e-4, 0.85),
}
# Settings of the labels that later papers added: without decay by layer.
_WITHOUT_DECAY = {("semi_aves", 400): 5e-5, ("tissuemnist", 100): 5e-5, ("tissuemnist", 500): 5e-5}

_CLASSIC: dict[str, Any] = {
    "global_batch_size": 64,
    "unlabeled_batch_ratio": 7,
    "optim": "sgd",
    "optim_args": "momentum=0.9,nesterov=true",
    "learning_rate": 0.03,
    "layer_decay": 1.0,
    "weight_decay": 5e-4,
    "max_steps": 1_048_576,
    "warmup_steps": 0,
    "eval_steps": 5_120,
    "logging_steps": 256,
    "per_device_eval_batch_size": 256,
    "ema_role": "evaluation",
    "ema_decay": 0.999,
}
_CLASSIC_TASKS = ("cifar10", "svhn", "cifar100", "stl10")
_ONE_TO_ONE = ("pseudo_label", "pi_model", "mean_teacher", "mixmatch", "remixmatch")

# Weight of the unsupervised term where it is not 1.
_WEIGHTS = {
    "mean_teacher": 50.0,
    "pi_model": 10.0,
    "mixmatch": 10.0,
    "remixmatch": 1.5,
    "defixmatch": 0.5,
    "multimatch": 3.0,
}
# Published hyper-parameters; the rest are the algorithms' defaults, written out.
_PUBLISHED: dict[str, dict[str, Any]] = {
    "pseudo_label": {"threshold": 0.95, "warmup_fraction": 0.4},
    "pi_model": {"warmup_fraction": 0.4},
    "mean_teacher": {"warmup_fraction": 0.4},
    "mixmatch": {"temperature": 0.5, "warmup_fraction": 0.4, "mixup_alpha": 0.5},
    "remixmatch": {"temperature": 0.5, "warmup_fraction": 1 / 64, "mixup_alpha": 0.75, "kl_weight": 0.5},
    "fixmatch": {"threshold": 0.95, "hard_labels": True, "temperature": 0.5},
    "uda": {"threshold": 0.8, "temperature": 0.4, "tsa_schedule": "none"},
    "flexmatch": {"threshold": 0.95, "hard_labels": True, "temperature": 0.5, "threshold_warmup": True},
    "adamatch": {"threshold": 0.95, "hard_labels": True, "temperature": 0.5, "momentum": 0.999},
    "dash": {"temperature": 0.5, "gamma": 1.27, "c": 1.0001, "min_loss_threshold": 0.05},
    "freematch": {"hard_labels": True, "temperature": 0.5, "momentum": 0.999, "fairness_weight": 0.001},
    "softmatch": {
        **{"hard_labels": True, "temperature": 0.5, "momentum": 0.999},
        **{"uniform_alignment": True, "n_sigma": 2, "per_class": False},
    },
    "crmatch": {"threshold": 0.95, "hard_labels": True},
    "defixmatch": {"threshold": 0.95, "hard_labels": True, "temperature": 0.5},
    "refixmatch": {"threshold": 0.95, "hard_labels": True, "temperature": 0.5},
    "comatch": {
        **{"threshold": 0.95, "hard_labels": False, "temperature": 0.2, "graph_threshold": 0.8},
        **{"contrastive_weight": 1.0, "projection_size": 64, "smoothing": 0.9, "alignment_queue_size": 32},
    },
    "simmatch": {
        **{"threshold": 0.95, "temperature": 0.1, "projection_size": 128, "instance_weight": 1.0},
        **{"smoothing": 0.9, "alignment_queue_size": 32},
    },
    "sequencematch": {"threshold": 0.95, "hard_labels": True, "temperature": 0.5, "threshold_warmup": True},
    "multimatch": {
        "num_heads": 3,
        "no_low": True,
        "disagreement_weight": 3.0,
        "percentile": 0.05,
        "smoothness": 0.997,
    },
}
_DASH_WARMUP = 2_048


def published_settings(recipe: str, task: Task, num_labeled: int, algorithm: str) -> dict[str, dict[str, Any]]:
    """The published settings of an algorithm on a task.

    Args:
        recipe: "usb" or "classic".
        task: a row of `TASKS`.
        num_labeled: the label setting; also one that only later papers use.
        algorithm: a key of `ALGORITHMS`, or "fully_supervised".

    Returns:
        "training", settings of `SSLConfig`, and "algorithm", those of the algorithm.

    Raises:
        ValueError: if nothing was published for the task.

    Example:
        >>> from hf_ssl.benchmark import TASKS
        >>> found = published_settings("usb", TASKS["ag_news"], 40, "uda")
        >>> found["training"]["learning_rate"], found["training"]["max_steps"], found["algorithm"]["tsa_schedule"]
        (5e-05, 102400, 'exp')
    """
    tasks = tuple(_USB_RATES) if recipe == "usb" else _CLASSIC_TASKS
    if task.name not in tasks:
        raise ValueError(
            f"the schedule {recipe!r} must have one of {', '.join(tasks)}, got {task.name}; choose another"
        )
    training = _usb(task, num_labeled, algorithm) if recipe == "usb" else _classic(task, algorithm)
    training |= {"unsupervised_weight": _WEIGHTS.get(algorithm, 1.0), **_views(task), "lr_schedule": "cosine_7_16"}
    own = dict(_PUBLISHED.get(algorithm, {}))
    _adapt(recipe, task, algorithm, training, own)
    return {"training": training, "algorithm": own}


def _usb(task: Task, num_labeled: int, algorithm: str) -> dict[str, Any]:
    rate, decay = _USB_RATES[task.name]
    if (without := _WITHOUT_DECAY.get((task.name, num_labeled))) is not None:
        rate, decay = without, 1.0
    training = {**_USB, **_USB_MODALITIES[task.modality], "learning_rate": rate, "layer_decay": decay}
    # Later papers' configurations, which replaced the rate of these.
    later = {("fixmatch", "stl10", 100), *(("sequencematch", name, num_labeled) for name in ("cifar100", "stl10"))}
    if algorithm == "refixmatch" or (algorithm, task.name, num_labeled) in later:
        training["learning_rate"] = 5e-5
    if algorithm == "flexmatch" and task.modality == "image" and task.name != "stl10":
        training["warmup_steps"] = 0
    return {**training, **_average(task.modality, algorithm)}


def _average(modality: str, algorithm: str) -> dict[str, Any]:
    """The moving average of the weights, which few of "usb" have; without one a teacher is the model itself."""
    averaged = {"image": ("mean_teacher", "comatch", "simmatch"), "text": ("pi_model",)}
    if algorithm in averaged.get(modality, ("mean_teacher", "simmatch")):
        return {"ema_role": "evaluation", "ema_decay": 0.999}
    teacher = algorithm in ALGORITHMS and ALGORITHMS[algorithm].uses_teacher
    return {"ema_role": "none", **({"ema_decay": 0.0} if teacher else {})}


def _classic(task: Task, algorithm: str) -> dict[str, Any]:
    ratio = 1 if algorithm in _ONE_TO_ONE else 7
    return {**_CLASSIC, "unlabeled_batch_ratio": ratio, "weight_decay": 1e-3 if task.name == "cifar100" else 5e-4}


def _views(task: Task) -> dict[str, Any]:
    """The task's settings of the views, under the names of `SSLConfig`."""
    names = {"size": "image_size"}
    return {names.get(name, name): value for name, value in task.views.items()}


def _adapt(recipe: str, task: Task, algorithm: str, training: dict[str, Any], own: dict[str, Any]) -> None:
    """What depends on algorithm and modality or task together."""
    image = task.modality == "image"
    if algorithm == "dash":
        own["warmup_fraction"] = _DASH_WARMUP / training["max_steps"]
    elif algorithm == "mixmatch" and (recipe == "classic" or task.modality == "text"):
        training["unsupervised_weight"] = 150.0 if (recipe, task.name) == ("classic", "cifar100") else 100.0
    elif algorithm in ("remixmatch", "crmatch"):
        own["rotation_weight"] = {"remixmatch": 0.5, "crmatch": 1.0}[algorithm] if image else 0.0
    elif algorithm == "comatch":
        own["queue_batches"] = 5 if recipe == "classic" else 32 if image else 128
        own["contrastive_weight"] = 5.0 if task.name == "stl10" else 1.0
    elif algorithm == "simmatch" and recipe == "usb":
        own["temperature"] = 0.1 if task.modality == "text" or task.name in ("cifar100", "stl10") else 0.2
    elif algorithm == "uda" and task.modality == "text":
        own["tsa_schedule"] = "exp"
    elif algorithm == "freematch" and recipe == "classic":
        own |= {"use_quantile": False, "clip_threshold": task.name == "svhn"}

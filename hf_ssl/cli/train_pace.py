"""How often `hf-ssl train` evaluates: so that it takes about a tenth of the time at most, and always at the end."""

import dataclasses
import math
from collections.abc import Collection

from ..algorithms import resolve_algorithm
from ..batches.batch import LABELED_VIEWS
from ..config import SSLConfig
from ..data.sources import count
from .train_options import DEFAULTS, STAGED
from .train_stages import Request

# Part of the time of training that evaluations may take.
_SHARE = 0.1
# Examples in all evaluations together below which it is not worth sparing any.
_FEW = 500
# What a training step costs in forward passes of an example: for one that is learned from, and for a view of the pool,
# of which about one half is learned from.
_LEARNED, _POOL_VIEW = 3, 2


def evaluations(test: int, steps: int, labeled: int, unlabeled: int, pool_views: int) -> int:
    """How many evaluations of a test set fit into a tenth of the training, from 1 to 10.

    Args:
        test: examples of the test set.
        steps: of the training.
        labeled, unlabeled: examples of a step.
        pool_views: views of each unlabeled example that pass through the model; 0 if the pool is not read.

    Example:
        A step of 8 labeled and 8 unlabeled examples costs FixMatch 8 * 3 + 8 * 2 * 2 = 56 passes; 500 such steps cost
        28,000, so that 2,800 passes may be spent on evaluation:

        >>> [evaluations(size, 500, 8, 8, 2) for size in (280, 700, 3000)]
        [10, 4, 1]
    """
    most = round(1 / DEFAULTS["eval_steps"])
    if test * most <= _FEW:
        return most
    cost = steps * (_LEARNED * labeled + _POOL_VIEW * pool_views * unlabeled)
    return min(max(int(_SHARE * cost / test), 1), most)


def steps_asked_for(config: SSLConfig, pool_size: int) -> int:
    """Optimizer steps of a training: `max_steps`, or as many as `num_train_epochs` are over a pool of this size.

    Example:
        >>> args = SSLConfig("run", num_train_epochs=2, per_device_train_batch_size=4, unlabeled_batch_ratio=2)
        >>> steps_asked_for(args, 80)
        20
    """
    if config.max_steps > 0:
        return config.max_steps
    batches = max(pool_size // (config.train_batch_size * config.unlabeled_batch_ratio * config.world_size), 1)
    return max(math.ceil(config.num_train_epochs * max(batches // config.gradient_accumulation_steps, 1)), 1)


def with_evaluation_steps(request: Request, given: Collection[str]) -> Request:
    """The request with as many evaluations as its test set allows, unless the user chose when to evaluate.

    Args:
        request: what was asked for; a note is added to its data if evaluations are spared.
        given: names of the settings that the user chose.
    """
    settings, test = request.settings, request.data.test
    chosen = {"eval_steps", "eval_strategy", "load_best_model_at_end"} & set(given)
    if chosen or test is None or settings["algorithm"] in STAGED:
        return request
    algorithm = resolve_algorithm(settings["algorithm"], request.data.summary.problem_type)
    config = request.config
    labeled = config.per_device_train_batch_size * config.gradient_accumulation_steps * config.world_size
    unlabeled = labeled * config.unlabeled_batch_ratio
    pool = request.data.labeled if request.data.unlabeled is None else request.data.unlabeled
    steps = steps_asked_for(config, len(pool))
    views = sum(name not in LABELED_VIEWS for name in algorithm.views)
    number = evaluations(len(test), steps, labeled, unlabeled, views)
    if number == round(1 / DEFAULTS["eval_steps"]):
        return request
    times = "once, at the end" if number == 1 else f"{number} times"
    request.data.notes.append(
        f"The {count(len(test), 'test example')} are evaluated {times}, which takes about a tenth of the training; "
        "--eval-steps says otherwise"
    )
    # Trainer takes a number below 1 for a share of all steps, and rounds the step up.
    share = 1 / number if number > 1 else 1 - 1e-9
    return dataclasses.replace(request, settings={**settings, "eval_steps": share})

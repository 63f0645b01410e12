"""Which output of a classifier is which class: a head is kept, put in order, or renewed, by the names of its classes.

the model's names       the dataset's names
red, green, blue        red, green, blue       kept as it is
red, green, blue        blue, green, red       kept, its rows in the dataset's order
Red, GREEN, blue        blue, green, red       kept likewise, and said
cat, dog, bird          blue, green, red       a new head, and said
(none: LABEL_0, ...)    blue, green, red       see `settle_classes`
"""

import copy
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, PreTrainedModel
from transformers.utils import logging

from ..data.label_kinds import LABEL_KINDS
from ..data.labels import shortened
from ..data.spelling import matched
from ..problem_types import REGRESSION, SINGLE_LABEL
from .head import find_head
from .wrapping import unwrap

logger = logging.get_logger(__name__)

# A tensor with one row per class: the module that holds it, its name there, and the axis of the classes.
ClassTensor = tuple[nn.Module, str, int]


def config_names(config: Any) -> list[str] | None:
    """Names of the classes in a model's configuration, in the order of their indices.

    Keys of `id2label` may be strings, as JSON and the example scripts of transformers write them.

    Returns:
        None if there are no names: no `id2label`, the default ones (`LABEL_0`, ...), or names that do not tell the
        outputs apart.

    Example:
        >>> from types import SimpleNamespace
        >>> config_names(SimpleNamespace(num_labels=2, id2label={"1": "spam", "0": "ham"}))
        ['ham', 'spam']
    """
    given, count = getattr(config, "id2label", None), getattr(config, "num_labels", None)
    if not isinstance(given, Mapping) or count is None:
        return None
    try:
        by_index = {int(index): str(name) for index, name in given.items()}
    except ValueError:
        return None
    names = [by_index.get(index, "") for index in range(count)]
    usual = [f"LABEL_{index}" for index in range(count)]
    return names if len(by_index) == len(set(names) - {""}) == count and names != usual else None


def name_classes(config: Any, names: Sequence[str], problem_type: str = SINGLE_LABEL) -> None:
    """Write the names of the classes, labels or numbers into a model's configuration, and the kind of problem.

    A base model may have been trained for another kind: with its `problem_type` the loss, and the probabilities of a
    pipeline, would be those of that task.
    """
    config.id2label = dict(enumerate(names))
    config.label2id = {name: index for index, name in enumerate(names)}
    if hasattr(config, "label_names"):
        # timm's wrapper saves these in place of id2label, and would save those of the base model.
        config.label_names = list(names)
    if hasattr(config, "problem_type"):
        config.problem_type = problem_type
    if hasattr(config, "label_thresholds"):
        # They were found for the probabilities that the model had before it is trained again.
        del config.label_thresholds


def is_of_other_kind(config: Any, problem_type: str) -> bool:
    """Whether a model says that it predicts numbers and is to predict classes or labels, or the other way round.

    Scores of one class and of several labels mean the same names: such a head is kept.

    Example:
        >>> from types import SimpleNamespace
        >>> is_of_other_kind(SimpleNamespace(problem_type="regression"), "multi_label_classification")
        True
    """
    known = getattr(config, "problem_type", None)
    return known is not None and (known == REGRESSION) != (problem_type == REGRESSION)


def settle_classes(
    model: nn.Module,
    known: Sequence[str] | None,
    names: Sequence[str],
    what: str,
    *,
    by_path: bool = False,
    missing: Collection[str] = (),
    problem_type: str = SINGLE_LABEL,
    is_other: bool = False,
) -> None:
    """Make output i of a model the class, label or number `names[i]`: reorder its head's rows, or give it a new one.

    A head without names that was loaded by path is kept only if the classes have no names either: "0", "1", ... are
    the numbers in LABEL_0, LABEL_1, .... In a model that is given as an object the user decides which output is which
    class: it is used as it is, with a warning if its head is not new.

    Args:
        model: has an output for each of `names`.
        known: names of its outputs so far; None if they have none.
        names: of the dataset's classes.
        what: what to call the model.
        by_path: whether it was loaded by its path or Hub id, not given as an object.
        missing: names of the parameters that were not in its files, and so are new already.
        problem_type: what the dataset asks for.
        is_other: whether the model predicts something of another kind, see `is_of_other_kind`: its head is renewed.

    Raises:
        ValueError: if the rows of the head cannot be changed; one line says what to do.
    """
    if known is None and not by_path and not is_other:
        _warn_if_trained(model, names, what)
        return
    order = matched(names, known) if known is not None else _numbered_order(names, problem_type)
    if is_other:
        order = None
    elif known is not None and list(known) == list(names):
        return
    tensors = list(_class_tensors(model))
    if tensors and set(_names_in(model, tensors)) <= set(missing):
        return
    if order is None:
        _check_changeable(model, tensors, what)
        _renew(model, tensors)
        say_new_head(known, names, what, problem_type)
        return
    if order != list(range(len(names))):
        _check_changeable(model, tensors, what)
        _reorder(tensors, order)
    if known is None or set(known) != set(names):
        plural = LABEL_KINDS[problem_type].plural
        had = f"spells its {plural} {shortened(known, 5)}" if known is not None else f"numbers its {plural}"
        logger.warning_once(f"{what} {had}: its head is kept, for the {plural} {shortened(names, 5)}")


def say_new_head(
    known: Sequence[str] | None, names: Sequence[str], what: str, problem_type: str = SINGLE_LABEL
) -> None:
    """Say in one line that the head of a model was not kept, what it classified, and what the new one does."""
    had = f"classifies {shortened(known, 5)}" if known is not None else "names no classes"
    kind = LABEL_KINDS[problem_type]
    ones = kind.plural if len(names) > 1 else kind.singular
    logger.warning_once(f"{what} {had}: it gets a new head, for the {ones} {shortened(names, 5)}")


def check_same_classes(folder: str, model: Any) -> None:
    """Raise a ValueError if a checkpoint has other classes than the model, or has them in another order.

    Its weights fit as they are, and its outputs would be taken for other classes.

    Args:
        folder: of the checkpoint; one without a configuration, as that of an adapter, is not checked.
        model: what its weights are loaded into.
    """
    try:
        known = config_names(AutoConfig.from_pretrained(folder))
    except (OSError, ValueError, KeyError):
        return
    names = config_names(getattr(model, "config", None))
    if None not in (known, names) and known != names:
        raise ValueError(
            f"the classes of the checkpoint {folder} must be {shortened(names or [])}, in this order, got "
            f"{shortened(known or [])}; resume with the model and the labeled dataset that it was trained with"
        )


def _numbered_order(names: Sequence[str], problem_type: str) -> list[int] | None:
    if problem_type == REGRESSION and len(names) == 1:
        return [0]  # which number it is needs no name
    numbers = list(range(len(names)))
    return numbers if list(names) == [str(number) for number in numbers] else None


def _warn_if_trained(model: nn.Module, names: Sequence[str], what: str) -> None:
    """Say which outputs are taken for which classes, unless the head is new: its biases start at exactly zero."""
    bias = find_head(model).bias if isinstance(unwrap(model), PreTrainedModel) else None
    if bias is not None and bias.any():
        logger.warning_once(
            f"{what} names no classes: its outputs are taken for {shortened(names)}, in this order; set its id2label "
            "if they are others"
        )


# ---- The tensors that have a row per class ----


def _class_tensors(model: nn.Module) -> Iterator[ClassTensor]:
    """The tensors of a model whose size is its number of classes.

    In a model of transformers, also under an adapter: those that would be larger with one class more. In others: those
    of the last linear layer.
    """
    base = _base(model)
    if not isinstance(base, PreTrainedModel):
        head = find_head(base)
        yield from ((head, name, 0) for name, tensor in head.named_parameters(recurse=False) if tensor is not None)
        return
    count = int(base.config.num_labels)  # type: ignore[arg-type]  # None only without labels
    shapes, larger = _shapes(base, count), _shapes(base, count + 1)
    for path, shape in shapes.items():
        axes = [axis for axis, (size, other) in enumerate(zip(shape, larger[path], strict=True)) if size != other]
        if axes:
            parent, _, name = path.rpartition(".")
            for module in _holders(base.get_submodule(parent)):
                yield module, name, axes[0]


def _base(model: nn.Module) -> Any:
    """The model under an adapter and other wrappers."""
    inner: Any = unwrap(model)
    return inner.get_base_model() if hasattr(inner, "peft_config") else inner


def _shapes(model: PreTrainedModel, count: int) -> dict[str, torch.Size]:
    """The shapes of such a model for `count` classes; nothing is allocated."""
    config = copy.deepcopy(model.config)
    config.num_labels = count
    with torch.device("meta"):
        twin = type(model)(config)
    return {name: tensor.shape for name, tensor in twin.state_dict().items()}


def _holders(module: Any) -> list[nn.Module]:
    """The module itself or, if PEFT trains and saves copies of it (`modules_to_save`), it and all of them."""
    return [module.original_module, *module.modules_to_save.values()] if _is_copied(module) else [module]


def _is_copied(module: nn.Module) -> bool:
    return hasattr(module, "original_module") and hasattr(module, "modules_to_save")


def _names_in(model: nn.Module, tensors: Sequence[ClassTensor]) -> list[str]:
    paths = {module: path for path, module in unwrap(model).named_modules()}
    return [f"{paths[module]}.{name}".lstrip(".") for module, name, _ in tensors]


def _check_changeable(model: nn.Module, tensors: Sequence[ClassTensor], what: str) -> None:
    """Raise a ValueError if rows cannot be changed, or if the change would be lost when an adapter is saved."""
    fits = bool(tensors) and all(hasattr(module, name) for module, name, _ in tensors)
    if hasattr(unwrap(model), "peft_config"):
        saved = {part for module in unwrap(model).modules() if _is_copied(module) for part in _holders(module)}
        fits = fits and all(module in saved for module, _, _ in tensors)
    if not fits:
        raise ValueError(
            f"{what} must have the classes of the dataset in its order, or a head whose rows can be changed and "
            "saved; load its base model with id2label of these classes, or name the head in the adapter's "
            "modules_to_save"
        )


@torch.no_grad()
def _reorder(tensors: Sequence[ClassTensor], order: Sequence[int]) -> None:
    """Row i becomes what row `order[i]` was."""
    for module, name, axis in tensors:
        tensor = getattr(module, name)
        tensor.copy_(tensor.index_select(axis, torch.tensor(order, device=tensor.device)))


@torch.no_grad()
def _renew(model: nn.Module, tensors: Sequence[ClassTensor]) -> None:
    """Draw new weights, as when the model was made."""
    base = _base(model)
    for module in dict.fromkeys(module for module, _, _ in tensors):
        for tensor in module.parameters(recurse=False):
            # transformers does not draw what it has marked as loaded.
            tensor._is_hf_initialized = False  # type: ignore[attr-defined]
        if isinstance(base, PreTrainedModel):
            base._init_weights(module)
        else:
            module.reset_parameters()  # type: ignore[operator]  # a linear layer

"""How fast each weight learns, and when: layer-wise learning rates, weight decay, and the 7/16 cosine.

depth 0        embeddings, stem, the convolutions before a speech encoder    learning_rate * layer_decay ** (L + 1)
depth i + 1    block i of L                                                  learning_rate * layer_decay ** (L - i)
depth L + 1    final norm, pooler, classification head                       learning_rate

All below a head that was fitted before the training (`SSLConfig.start`) learns at `BELOW_FITTED_HEAD` of these rates.
"""

import math
import re
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from transformers import SchedulerType, Trainer

from ..algorithms import SSLAlgorithm
from ..config import SSLConfig
from ..distributed import clip_gradients
from ..model.head import find_head
from ..model.wrapping import unwrap

# The rate of the weights below a fitted head, as a share of the learning rate. Adam moves a weight by the learning
# rate, however small its gradient, and the head turns the change of the features into one of the logits: below a head
# whose weights are n times as large, the same rate is n times as fast. Fitted heads were 8 (texts) and 9 (recordings)
# times as large as new ones. Fine-tuning below a fitted head distorts the features that it was fitted to, the more the
# higher the rate (arXiv 2202.10054). On held-out texts (40 labels, 160 steps, FreeMatch, one run each) a fitted head
# of 86.3 % ended at 84.5, with a third of the rate at 86.3, with an eighth at 85.9; made an eighth as large instead,
# it ended at 84.0.
BELOW_FITTED_HEAD = 1 / 3

# What comes before the blocks and after them, by its name inside the base model.
_STEM = (
    r"embeddings|embeddings_project|embedder|conv_stem|feature_extractor|feature_projection|masked_spec_embed"
    r"|encoder\.pos_conv_embed|encoder\.rel_embeddings|encoder\.LayerNorm"
)
_TOP = r"layernorm|final_norm|pooler|conv_1x1|adapter|encoder\.layer_norm"
# Each group of digits is a part of the block's place; what leads from one stage to the next learns like the block
# after it.
_PLAIN = r"(?:encoder\.|transformer\.)?layers?\.(\d+)"
_STAGES = r"encoder\.(?:stages|layers)\.(\d+)\.(?:layers|blocks)\.(\d+)"

_BLOCKS = {
    **dict.fromkeys(("vit", "deit", "beit", "dinov2", "dinov2_with_registers"), _PLAIN),
    **dict.fromkeys(("bert", "roberta", "xlm-roberta", "camembert", "electra", "distilbert"), _PLAIN),
    **dict.fromkeys(("deberta", "deberta-v2", "modernbert"), _PLAIN),
    **dict.fromkeys(("wav2vec2", "hubert", "wavlm"), _PLAIN),
    **dict.fromkeys(("mobilenet_v1", "mobilenet_v2"), _PLAIN),
    **dict.fromkeys(("swin", "swinv2", "resnet", "convnext", "convnextv2"), _STAGES),
}
_DOWNSAMPLING = {"swin": 1, "swinv2": 1, "convnext": 0, "convnextv2": 0}  # from stage s to s + 1, or from s - 1 to s
_SPEECH = ("wav2vec2", "hubert", "wavlm")

# Learned inputs beside the patches and words; timm calls them `no_weight_decay`.
_TOKENS = {
    *("cls_token", "mask_token", "distillation_token", "dist_token", "register_tokens", "reg_token"),
    *("position_embeddings", "pos_embed", "relative_position_bias_table", "masked_spec_embed"),
}


class OptimizationMixin(Trainer):
    """A `Trainer` whose optimizer has groups by layer and learns the algorithm's heads together with the model."""

    args: SSLConfig
    algorithm: SSLAlgorithm

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """The optimizer of the model and of the algorithm's heads."""
        heads = [parameter for parameter in self.algorithm.parameters() if parameter.requires_grad]
        optimizer = self._model_optimizer(model, heads)
        known = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        if heads and id(heads[0]) not in known:
            optimizer.add_param_group({"params": heads, "weight_decay": 0.0})
        let_steps_be_skipped(optimizer)
        return optimizer

    def _model_optimizer(self, model: nn.Module | None, heads: list[nn.Parameter]) -> torch.optim.Optimizer:
        """Trainer's optimizer, with our groups: by layer, with or without weight decay, and the heads."""
        chosen = self.optimizer_cls_and_kwargs
        if self.optimizer is None:
            base: Any = self.model if model is None else model
            optimizer_class, keywords = chosen or self.get_optimizer_cls_and_kwargs(self.args, base)
            optimizer_class, keywords = grouped(optimizer_class, keywords, base, self.args)
            if heads and "params" in keywords:
                # From the start: with torch 2.11, Adagrad has no state for parameters that are added later.
                keywords["params"] = [*keywords["params"], {"params": heads, "weight_decay": 0.0}]
            self.optimizer_cls_and_kwargs = optimizer_class, keywords
        optimizer = super().create_optimizer(model)
        self.optimizer_cls_and_kwargs = chosen
        return optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None) -> Any:
        """As in Trainer, and USB's schedule if `args.lr_schedule` says so."""
        if self.lr_scheduler is None and self.args.lr_schedule == "cosine_7_16":
            scheduled: Any = optimizer or self.optimizer
            warmup = self.args.get_warmup_steps(num_training_steps)
            self.lr_scheduler = cosine_7_16(scheduled, warmup, num_training_steps)
            self._created_lr_scheduler = True
        return super().create_scheduler(num_training_steps, optimizer)

    def _clip_grad_norm(self, model: nn.Module) -> Any:
        """Clip the gradients of model and heads by their common norm: they are optimized together."""
        # From the optimizer, which has them in lists: finding them in all modules takes as long as the norm on a GPU.
        optimizer: Any = self.optimizer
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        if not self.is_fsdp_enabled:
            return self.accelerator.clip_grad_norm_(parameters, self.args.max_grad_norm)
        # accelerate compares the parameters with the model's one by one, which fails for sharded ones.
        return clip_gradients(parameters, self.args.max_grad_norm)

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Any:
        """As in Trainer, from all parts of a sharded model."""
        if self.is_fsdp_enabled and grad_norm is None:
            return clip_gradients(model.parameters(), math.inf)
        return super()._get_grad_norm(model, grad_norm)


def parameter_groups(
    model: nn.Module,
    learning_rate: float,
    weight_decay: float = 0.0,
    layer_decay: float = 1.0,
    below_head: float = 1.0,
) -> list[dict[str, Any]]:
    """Groups of parameters for an optimizer; every trainable parameter of the model is in one of them.

    The learning rate falls by the factor `layer_decay` with each block, from the head (`learning_rate`) down to the
    embeddings (BEiT, arXiv 2106.08254, appendix; ELECTRA, arXiv 2003.10555). As in USB, weight decay does not apply to
    biases, norms and layer scales (everything with one axis), class, mask and distillation tokens, and position
    embeddings that are separate parameters; it applies to BERT's embedding tables.

    Args:
        model: a classifier of transformers, timm's in its wrapper, with or without PEFT's adapters (an adapter learns
            like the block that it adapts), or, with `layer_decay` 1, any module. May be wrapped for several processes.
        learning_rate: of the head.
        weight_decay: of all weights but the exceptions above.
        layer_decay: in (0, 1]; 1 gives every weight the same rate.
        below_head: a further factor of the rate of all weights but the head's, in (0, 1].

    Returns:
        one `{"params", "lr", "weight_decay"}` per group, the head's first.

    Raises:
        ValueError: if the order of the model's layers is not known.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.Linear(8, 3))
        >>> groups = parameter_groups(model, learning_rate=1e-3, weight_decay=0.1)
        >>> [(group["weight_decay"], len(group["params"])) for group in groups]
        [(0.1, 2), (0.0, 4)]
        >>> optimizer = torch.optim.AdamW(groups)
    """
    model = unwrap(model)
    scales = layer_scales(model, layer_decay)
    undecayed = _undecayed(model)
    head = {id(parameter) for parameter in find_head(model).parameters()} if below_head < 1 else set()
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            scale = scales[name] if below_head == 1 or id(parameter) in head else scales[name] * below_head
            key = (scale, 0.0 if id(parameter) in undecayed else weight_decay)
            group = {"params": [], "lr": learning_rate * key[0], "weight_decay": key[1]}
            groups.setdefault(key, group)["params"].append(parameter)
    # The head comes first: Trainer logs the first group's rate.
    return [groups[key] for key in sorted(groups, reverse=True)]


def layer_scales(model: nn.Module, layer_decay: float) -> dict[str, float]:
    """The factor of the learning rate of each parameter, trainable or not, by name; see `parameter_groups`."""
    if not 0 < layer_decay <= 1:
        raise ValueError(f"layer_decay must be in (0, 1], got {layer_decay}; 1 gives every weight the same rate")
    names = [name for name, _ in model.named_parameters()]
    if layer_decay == 1:
        return dict.fromkeys(names, 1.0)
    found = depths(model, names)
    top = max(found.values())
    return {name: layer_decay ** (top - depth) for name, depth in found.items()}


def cosine_7_16(
    optimizer: torch.optim.Optimizer, warmup_steps: int, total_steps: int
) -> torch.optim.lr_scheduler.LambdaLR:
    """FixMatch's schedule (arXiv 2001.07685): cos(7/16 pi t), after a linear warm-up from 0.

    t runs from 0 to 1 over the steps after the warm-up, so that the rate ends at cos(7/16 pi) = 0.195 of its peak. It
    is never negative, and never zero after step 0.

    Args:
        optimizer: whose rates are multiplied.
        warmup_steps: W; step s of it has the factor s / W.
        total_steps: optimizer steps, warm-up included.

    Example:
        >>> optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
        >>> schedule = cosine_7_16(optimizer, warmup_steps=2, total_steps=10)
        >>> [round(schedule.lr_lambdas[0](step), 3) for step in (0, 1, 2, 6, 10)]
        [0.0, 0.5, 1.0, 0.773, 0.195]
    """

    def factor(step: int) -> float:
        if step < warmup_steps:
            return step / warmup_steps
        return math.cos(7 / 16 * math.pi * min((step - warmup_steps) / max(total_steps - warmup_steps, 1), 1.0))

    return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


def describe_learning_rate(args: SSLConfig, total_steps: int) -> str:
    """The learning rate in words: its peak, schedule, warm-up and layer decay."""
    schedule = "cos(7/16 pi t)" if args.lr_schedule == "cosine_7_16" else SchedulerType(args.lr_scheduler_type).value
    warmup = args.get_warmup_steps(total_steps)
    parts = [f"{args.learning_rate}", schedule]
    parts += [f"{warmup:,} warm-up steps"] * bool(warmup)
    parts += [f"times {args.layer_decay} for each layer below the head"] * (args.layer_decay < 1)
    below = below_head(args)
    parts += [f"times {below:.2g} below the fitted head"] * (below < 1)
    return ", ".join(parts)


def below_head(args: SSLConfig) -> float:
    """The factor of the learning rate of all weights below the head: below 1 if the head is fitted first.

    Example:
        >>> below_head(SSLConfig("run")), round(below_head(SSLConfig("run", start="features")), 2)
        (1.0, 0.33)
    """
    return 1.0 if args.start == "random" else BELOW_FITTED_HEAD


def grouped(
    optimizer_class: Any, keywords: dict[str, Any], model: nn.Module, args: SSLConfig
) -> tuple[Any, dict[str, Any]]:
    """The class and keywords that Trainer builds an optimizer from, with `parameter_groups` among the keywords.

    Some optimizers (GaLore, LOMO, Muon, Adafactor with its own step sizes, ...) divide the weights or set the rates
    themselves; they are left as they are, also below a fitted head.

    Raises:
        ValueError: if such an optimizer is asked for layer-wise rates.
    """
    whole = not isinstance(optimizer_class, type) or not issubclass(optimizer_class, torch.optim.Optimizer)
    rate = keywords.get("lr", args.learning_rate)
    if whole or rate is None or {"params", "model", "optimizer_dict"} & keywords.keys():
        if args.layer_decay < 1:
            raise ValueError(
                f"layer_decay must be 1 with optim={args.optim!s}, got {args.layer_decay}: this optimizer divides the "
                "weights or sets their learning rates itself; set layer_decay=1, or another optim such as adamw_torch"
            )
        return optimizer_class, keywords
    settings = args.weight_decay, args.layer_decay, below_head(args)
    return optimizer_class, {**keywords, "params": parameter_groups(model, rate, *settings)}


def let_steps_be_skipped(optimizer: Any) -> None:
    """Let the gradient scaler of fp16 skip a step by not calling the optimizer, where accelerate and Trainer see it.

    A fused optimizer is called anyway and skips the step by itself; moving average and learning rate would go on as if
    the weights had moved.

    Example:
        >>> optimizer = torch.optim.AdamW([nn.Parameter(torch.ones(1))], fused=True)
        >>> let_steps_be_skipped(optimizer)
        >>> optimizer._step_supports_amp_scaling
        False
    """
    if getattr(optimizer, "_step_supports_amp_scaling", False):
        optimizer._step_supports_amp_scaling = False


def refuse_ignored_settings(args: SSLConfig, optimizer: Any, scheduler: Any) -> None:
    """Raise a ValueError if the user gives an optimizer or scheduler together with settings that it would ignore."""
    if optimizer is not None and args.layer_decay < 1:
        raise ValueError(
            f"layer_decay must be 1 with an optimizer of yours, got {args.layer_decay}: it has no effect there; make "
            "the optimizer's groups with hf_ssl.training.optimization.parameter_groups and leave layer_decay 1"
        )
    if scheduler is not None and args.lr_schedule != "trainer":
        raise ValueError(
            f"lr_schedule must be 'trainer' with a scheduler of yours, got {args.lr_schedule!r}: it has no effect "
            "there; leave out one of the two"
        )


def _undecayed(model: nn.Module) -> set[int]:
    """The ids of the parameters without weight decay."""
    found = set()
    for module in model.modules():
        is_norm = re.search("norm|grn", type(module).__name__, flags=re.IGNORECASE)
        for name, parameter in module.named_parameters(recurse=False):
            if is_norm or name.endswith("bias") or name in _TOKENS or parameter.ndim <= 1:
                found.add(id(parameter))
        listed = getattr(module, "no_weight_decay", None)  # of timm's models
        if callable(listed):
            inside = dict(module.named_parameters())
            found.update(id(inside[name]) for name in listed() if name in inside)
    return found


def depths(model: nn.Module, names: Iterable[str]) -> dict[str, int]:
    """Parameter name -> depth, 0 for the stem."""
    # PEFT's model holds the classifier; compilation adds a word to names.
    adapted: Any = model
    if hasattr(model, "peft_config") and callable(base := getattr(model, "get_base_model", None)):
        adapted = base()
    wrapping = r"^base_model\.model\.|_orig_mod\."
    plain = {name: re.sub(wrapping, "", name) for name in names}
    if adapted is not model:
        # What PEFT adds outside of the classifier (a learned prompt) is new, like a head.
        plain = {name: short if name.startswith("base_model.model.") else "" for name, short in plain.items()}
    timm_model = getattr(adapted, "timm_model", None)
    if hasattr(timm_model, "group_matcher"):
        return _timm_depths(timm_model, plain)
    model_type = getattr(getattr(adapted, "config", None), "model_type", None)
    if model_type not in _BLOCKS:
        raise ValueError(
            f"layer_decay must be 1 for {type(adapted).__name__}, since the order of its layers is not known; set "
            f"layer_decay=1, or use timm's models or one of {', '.join(_BLOCKS)}"
        )
    places = {name: _place(short, adapted, model_type) for name, short in plain.items()}
    order = {place: depth for depth, place in enumerate(sorted(set(places.values())))}
    return {name: order[place] for name, place in places.items()}


def _place(name: str, model: Any, model_type: str) -> tuple[int, ...]:
    """(0,) for the stem, (1, block) or (1, stage, block), (2,) for what follows the blocks."""
    prefix = model.base_model_prefix + "."
    if not name.startswith(prefix):
        return (2,)
    name = name.removeprefix(prefix)
    if model_type in _SPEECH and name.startswith("encoder.layer_norm."):
        # It comes before the blocks or, in the "stable" form of the encoder, after them.
        return (2,) if model.config.do_stable_layer_norm else (0,)
    if model_type in _DOWNSAMPLING and (match := re.match(r"encoder\.(?:stages|layers)\.(\d+)\.downsampl", name)):
        return (1, int(match[1]) + _DOWNSAMPLING[model_type], 0)
    if match := re.match(rf"(?:{_BLOCKS[model_type]})\.", name):
        block = tuple(int(part) for part in match.groups())
        # A block of MobileNet V1 is two entries of its list, a depthwise and a pointwise convolution.
        return (1, block[0] // 2) if model_type == "mobilenet_v1" else (1, *block)
    for place, pattern in (((0,), _STEM), ((2,), _TOP)):
        if re.match(rf"(?:{pattern})(?:\.|$)", name):
            return place
    raise ValueError(
        f"layer_decay must be 1 for {type(model).__name__}, since the depth of {name!r} in it is not known; set "
        "layer_decay=1"
    )


def _timm_depths(timm_model: Any, plain: dict[str, str]) -> dict[str, int]:
    # timm's own grouping, as in USB, in which a final norm joins the last block. What it does not know is part of the
    # head.
    from timm.models import group_parameters

    depths = group_parameters(timm_model, timm_model.group_matcher(), reverse=True)
    top = max(depths.values())
    return {name: depths.get(short.removeprefix("timm_model."), top) for name, short in plain.items()}

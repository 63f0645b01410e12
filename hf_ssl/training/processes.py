"""What several processes need to stay equal although some weights of the model take no part in a step.

DistributedDataParallel averages the gradients of the processes while they are computed, and by default waits for that
of each weight. Weights that take no part in any step (the mask token of DINOv2, the pooling head of SigLIP) or in some
(layers dropped at random) would make it fail, or leave the processes with different weights after the last step.
"""

from typing import Any

from transformers.utils import logging

from ..config import SSLConfig

logger = logging.get_logger(__name__)


def search_for_unused_weights(args: SSLConfig, settings: Any) -> None:
    """Let DistributedDataParallel search for weights without a part, unless `ddp_find_unused_parameters` says.

    It took 0.5 to 0.9 ms per step on one CPU core, 0.5 % of the step of a ViT of 12 layers and width 192, and 3 % of
    one of width 64. Trainer does without it under gradient checkpointing, whose usual form does not mind.

    Args:
        args: the settings.
        settings: accelerate's, of which `find_unused_parameters` is set.
    """
    if args.ddp_find_unused_parameters is None and settings is not None:
        checkpointing: dict[str, Any] = getattr(args, "gradient_checkpointing_kwargs", None) or {}
        settings.find_unused_parameters = not checkpointing.get("use_reentrant", False)


def may_drop_layers(args: SSLConfig, rate: float, *, sharded: bool = False) -> bool:
    """Whether a training may leave out layers at random as the model's configuration says; tells if it may not.

    Several processes may not: the search for weights without a part looks at one call of the model, and some steps
    need several (VAT, batch normalization, views in pieces), which would leave out other layers. transformers does the
    same for models that are sharded.

    Args:
        args: the settings; with `ddp_find_unused_parameters` True the user takes care of it, but in pieces nobody can.
        rate: probability with which a layer is left out.
        sharded: whether each process has a part of every layer, which then cannot be left out by some.
    """
    whole = args.view_micro_batch is None and not sharded
    may = args.world_size == 1 or (args.ddp_find_unused_parameters is True and whole)
    if not may and rate > 0 and args.process_index == 0:
        pieces = "" if args.view_micro_batch is None else ", and leave out view_micro_batch,"
        way_out = "" if sharded else f"; set ddp_find_unused_parameters=True{pieces} to keep it"
        logger.warning(
            f"layerdrop={rate:g} of the model is switched off while {args.world_size} processes train, since every "
            f"layer must take part in every step{way_out}"
        )
    return may

"""FSDP2 between processes on the CPU, which accelerate otherwise has for GPUs alone.

Given a plugin for FSDP, accelerate trains with DDP on the CPU and says nothing. Inside the block here its state is
what it would be on GPUs; all that follows from it (accelerate's preparation of the model, torch's `fully_shard`) is as
there, with gloo instead of NCCL.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from accelerate.state import AcceleratorState, DistributedType, PartialState


@contextmanager
def fsdp_on_cpu() -> Iterator[None]:
    original = AcceleratorState.__init__

    def init(self, *args, fsdp_plugin=None, **kwargs):
        original(self, *args, fsdp_plugin=fsdp_plugin, **kwargs)
        if fsdp_plugin is not None and self.distributed_type == DistributedType.MULTI_CPU:
            self.distributed_type = PartialState._shared_state["distributed_type"] = DistributedType.FSDP
            self.fsdp_plugin = fsdp_plugin
            if self._mixed_precision != "no":
                fsdp_plugin.set_mixed_precision(self._mixed_precision)

    before = os.environ.copy()
    try:
        with mock.patch.object(AcceleratorState, "__init__", init):
            yield
    finally:
        # accelerate leaves a note there, with which the next trainer of this process would be sharded, too.
        os.environ.clear()
        os.environ.update(before)

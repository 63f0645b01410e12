"""Which ways to share out a model are refused, each in one line with the way out."""

import pytest

from hf_ssl import SSLConfig

_FSDP = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}
_REFUSED = {
    "FSDP1": ({"fsdp": True, "fsdp_config": {"version": 1}}, {}, r"fsdp_version must be 2, got 1: .*'version': 2"),
    "FSDP1 of accelerate": ({}, {"ACCELERATE_USE_FSDP": "true"}, "fsdp_version must be 2, got 1: .*fsdp_version: 2"),
    "offload": (
        {"fsdp": "full_shard offload"},
        {},
        "cpu_offload must be False with FSDP, got True: .*set it to False",
    ),
    "offload of accelerate": ({}, {**_FSDP, "FSDP_OFFLOAD_PARAMS": "true"}, "cpu_offload must be False"),
    "loading": (
        {"fsdp": True, "fsdp_config": {"cpu_ram_efficient_loading": True}},
        {},
        "cpu_ram_efficient_loading must be False with FSDP, got True: .*set it to False",
    ),
    "loading of accelerate": (
        {},
        {**_FSDP, "FSDP_CPU_RAM_EFFICIENT_LOADING": "true"},
        "cpu_ram_efficient_loading must",
    ),
    "by size": (
        {"fsdp": True, "fsdp_config": {"auto_wrap_policy": "SIZE_BASED_WRAP", "min_num_params": 9}},
        {},
        "auto_wrap_policy must be TRANSFORMER_BASED_WRAP or NO_WRAP, got SIZE_BASED_WRAP",
    ),
    "TPU": ({"fsdp": True, "fsdp_config": {"xla": True}}, {}, "fsdp_config must not set xla"),
    "optimizer": ({"fsdp": True, "optim": "adafactor"}, {}, "optim must be one of adamw_torch, .* got 'adafactor'"),
    "compiled": ({"fsdp": True, "torch_compile": True}, {}, "torch_compile must be False with FSDP, got True"),
    "pieces": ({"fsdp": True, "view_micro_batch": 8}, {}, "view_micro_batch must be None with FSDP, got 8"),
    "evaluation": ({"fsdp": True, "bf16_full_eval": True}, {}, "bf16_full_eval must be False .*set bf16=True"),
    "DeepSpeed": ({"deepspeed": {"zero_optimization": {"stage": 2}}}, {}, "deepspeed must be None, got .*fsdp=True"),
    "DeepSpeed of accelerate": (
        {},
        {"ACCELERATE_USE_DEEPSPEED": "true"},
        "deepspeed must be None, got ACCELERATE_USE_DEEPSPEED",
    ),
}


@pytest.mark.parametrize("name", _REFUSED)
def test_what_cannot_be_shared_out_is_refused_in_one_line(name, tmp_path, monkeypatch):
    given, environment, message = _REFUSED[name]
    # A setting writes it.
    monkeypatch.setenv("FSDP_CPU_RAM_EFFICIENT_LOADING", "false")
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    with pytest.raises(ValueError, match=message) as error:
        SSLConfig(output_dir=str(tmp_path), use_cpu=True, **given)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "given",
    [
        {"fsdp": True},
        {"fsdp": True, "fsdp_config": {"fsdp_version": 2, "activation_checkpointing": True}},
        {"fsdp": "full_shard", "gradient_checkpointing": True},
        {"fsdp": True, "fsdp_config": {"reshard_after_forward": False}, "bf16": True},
    ],
)
def test_fsdp2_is_accepted(given, tmp_path, monkeypatch):
    monkeypatch.setenv("FSDP_CPU_RAM_EFFICIENT_LOADING", "false")
    assert SSLConfig(output_dir=str(tmp_path), use_cpu=True, **given).fsdp_plugin_args["fsdp_version"] == 2


@pytest.mark.parametrize("axis", ["tp_size", "cp_size"])
def test_processes_that_share_examples_are_refused(axis, tmp_path):
    from accelerate import ParallelismConfig

    with pytest.raises(ValueError, match=f"{axis} of parallelism_config must be 1, got 2"):
        SSLConfig(output_dir=str(tmp_path), use_cpu=True, parallelism_config=ParallelismConfig(**{axis: 2}))

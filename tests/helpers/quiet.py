"""Settings of trainings in tests: on a CPU, in one process, and nothing is told or saved."""

QUIET = {
    "save_strategy": "no",
    "report_to": "none",
    "use_cpu": True,
    "disable_tqdm": True,
    "dataloader_pin_memory": False,
    "dataloader_num_workers": 0,
}

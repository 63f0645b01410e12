"""The files that take longest, by the seconds of the whole suite that they take: from about 70 to 5.

They come first, so that of two processes none is left alone with one at the end.
"""

LONGEST = (
    "training/test_two_processes.py",
    "cli/test_quickstart.py",
    "hub/test_pushing.py",
    "algorithms/test_in_trainer.py",
    "benchmark/test_build.py",
    "views/test_broken_torchaudio.py",
    "algorithms/test_distributed.py",
    "test_works_with.py",
    "training/test_resume.py",
    "training/test_checkpoint_storage.py",
    "training/test_step_costs.py",
    "benchmark/test_publish.py",
    "cli/test_train.py",
    "test_trainer.py",
    "cli/test_push.py",
    "features/test_bank_processes.py",
    "features/test_bank_resume.py",
    "benchmark/test_readers.py",
)

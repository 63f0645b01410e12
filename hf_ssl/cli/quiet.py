"""What commands keep off the screen."""


def quiet_datasets() -> None:
    """Hide the progress bars and log lines of `datasets` while local files are read, which takes a moment."""
    import datasets

    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)

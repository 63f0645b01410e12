"""The commands of `hf-ssl` that need more than a few lines, one module each."""


def quiet_datasets() -> None:
    """Keep the bars and log lines of `datasets` off the screen while local files are read, which takes a moment."""
    import datasets

    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)

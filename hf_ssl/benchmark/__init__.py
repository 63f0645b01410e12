"""The datasets of the USB benchmark (arXiv 2208.07204): from raw sources to splits that `datasets.load_dataset` reads."""

"""What published files call a model, a file or a dataset: never by a path, which would tell about the machine."""

from pathlib import Path


def is_hub_id(source: str) -> bool:
    """Whether data come from the Hub: nothing here has this name, with or without its "@SPLIT".

    Example:
        >>> is_hub_id("stanfordnlp/imdb@train"), is_hub_id(f"{__file__}@train")
        (True, False)
    """
    return not Path(source).exists() and not Path(source.rpartition("@")[0] or source).exists()


def public_place(place: str) -> str:
    """A Hub id unchanged, with its configuration and split; of a file or folder the last part of its path.

    Example:
        >>> public_place("stanfordnlp/imdb@train"), public_place(__file__), public_place(f"{__file__}@test")
        ('stanfordnlp/imdb@train', 'places.py', 'places.py@test')
    """
    path, split = (place, "") if Path(place).exists() else (place.rpartition("@")[0], "@" + place.rpartition("@")[2])
    return Path(path).resolve().name + split if path and Path(path).exists() else place


def public_name(source: str) -> str:
    """The name of a dataset: its Hub id without configuration and split, or the last part of its path.

    Example:
        >>> public_name("nyu-mll/glue:sst2@train"), public_name(f"{__file__}@train")
        ('nyu-mll/glue', 'places.py')
    """
    if is_hub_id(source):
        return source.partition("@")[0].partition(":")[0]
    return (Path(source) if Path(source).exists() else Path(source.rpartition("@")[0])).resolve().name

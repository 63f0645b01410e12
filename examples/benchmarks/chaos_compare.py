"""Whether two runs of `hf-ssl train` have left the same, bit for bit; for `chaos.py`."""

import json
import re
from pathlib import Path

# Keys of JSON files that depend on the clock.
_TIMES = ("seconds", "runtime", "per_second", "_time")
# What `hf-ssl inspect` shows of how often predictions changed: after resuming, counting starts again.
_OF_THE_SITTING = {"predictions.safetensors"}


def differences(expected: Path, found: Path) -> list[str]:
    """How the folder of a run differs from that of another one, apart from times; empty if they are the same."""
    names = [
        {str(path.relative_to(folder)) for path in folder.rglob("*")} - _OF_THE_SITTING for folder in (expected, found)
    ]
    differing = [f"{name} is missing" for name in _topmost(names[0] - names[1])]
    differing += [f"{name} is left over" for name in _topmost(names[1] - names[0])]
    common = [name for name in sorted(names[0] & names[1]) if (expected / name).is_file()]
    found_places = [(name, _differing(expected / name, found / name)) for name in common]
    return differing + [f"{name} differs{place}" for name, place in found_places if place is not None]


def _topmost(names: set[str]) -> list[str]:
    """The names without those that are in a folder among them."""
    return sorted(name for name in names if not any(str(folder) in names for folder in Path(name).parents))


def _differing(expected: Path, found: Path) -> str | None:
    """None if two files say the same; else a few words on where they differ."""
    if expected.suffix == ".md" or expected.read_bytes() == found.read_bytes():
        # A card tells times.
        return None
    readers = {".json": read_json, ".safetensors": read_tensors, ".sha256": read_checksums}
    if expected.suffix not in readers:
        return ""
    facts = [readers[expected.suffix](path) for path in (expected, found)]
    keys = sorted(key for key in facts[0].keys() | facts[1].keys() if facts[0].get(key, ...) != facts[1].get(key, ...))
    return f" in {keys[0]} and {len(keys) - 1} more" if keys else None


def read_tensors(path: Path) -> dict[str, object]:
    """Tensors, as bytes, and metadata by name; their order in the file is left to chance."""
    from safetensors import safe_open

    with safe_open(path, framework="np") as file:
        facts = {key: file.get_tensor(key).tobytes() for key in file.keys()}  # noqa: SIM118
        for name, value in (file.metadata() or {}).items():
            content = json.loads(value) if value.startswith("{") else value
            facts |= {f"metadata {name}{place}": item for place, item in values(content).items()}
    return facts


def read_json(path: Path) -> dict[str, object]:
    """The values of a JSON file by their place in it, such as ".runs.0.steps", times left out."""
    return values(json.loads(path.read_text(encoding="utf-8")))


def read_checksums(path: Path) -> dict[str, object]:
    """A list of checksums without the sums: the files that they are about are compared themselves."""
    return dict.fromkeys(re.sub(r"\b[0-9a-f]{32,}\b", "", path.read_text(encoding="utf-8")).splitlines())


def values(content: object, place: str = "") -> dict[str, object]:
    """What a JSON document holds, by place, without times."""
    if isinstance(content, dict | list):
        items = content.items() if isinstance(content, dict) else enumerate(content)
        return {key: value for name, item in items for key, value in values(item, f"{place}.{name}").items()}
    return {} if any(word in place.rpartition(".")[2] for word in _TIMES) else {place: content}

"""What the loopback Hub says of the metadata of a card."""

import yaml


def card_errors(content: str) -> list[str]:
    """What the Hub says of a card's metadata; of its rules, those that a written card can break."""
    parts = content.split("---\n")
    metadata = yaml.safe_load(parts[1]) if content.startswith("---\n") and len(parts) > 2 else {}
    if not isinstance(metadata, dict):
        return ["the metadata must be a mapping"]
    lists = ("tags", "datasets", "metrics", "task_categories", "size_categories", "model-index", "configs")
    errors = [f"{key} must be a list" for key in lists if not isinstance(metadata.get(key, []), list)]
    if errors:
        return errors
    errors += [
        f"{key} must be text" for key in ("license", "pipeline_tag") if not isinstance(metadata.get(key, ""), str)
    ]
    errors += [f"{tag} must be text" for tag in metadata.get("tags", []) if not isinstance(tag, str)]
    if metadata.get("license", "unknown") not in _LICENSES:
        errors.append(f"license must be one of {', '.join(_LICENSES)}")
    for result in (result for index in metadata.get("model-index", []) for result in index["results"]):
        needed = [*(result["dataset"].get(key) for key in ("name", "type")), result["task"].get("type")]
        needed += [metric.get(key) for metric in result["metrics"] for key in ("type", "value")]
        errors += ["model-index lacks a value"] * (None in needed)
    names = [config["config_name"] for config in metadata.get("configs", [])]
    return errors + ["two configurations of one name"] * (len(set(names)) < len(names))


# Of the Hub's list those that are used here.
_LICENSES = (
    "apache-2.0",
    "mit",
    "cc",
    "cc0-1.0",
    "cc-by-4.0",
    "cc-by-sa-4.0",
    "cc-by-nc-3.0",
    "cc-by-nc-4.0",
    "other",
    "unknown",
)

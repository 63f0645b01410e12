"""`hf-ssl push`: a finished run, or any folder of a trained classifier, to the Hub."""

import argparse
import json
import sys
from pathlib import Path


def add_command(commands) -> None:
    """Add `push` to the sub-parsers of `hf-ssl`."""
    push = commands.add_parser(
        "push",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        help="upload a trained model with its card to the Hub",
        description="Upload the model, card, curves and results in FOLDER to the model repository REPO_ID, in one commit, with "
        "the token of `hf auth login` or HF_TOKEN. Checkpoints, states of the training and other files stay here. Pushing the "
        "same content again changes nothing.",
    )
    push.add_argument(
        "folder", metavar="FOLDER", help="output of `hf-ssl train` or `hf-ssl quickstart`, or a checkpoint"
    )
    push.add_argument("repo_id", metavar="REPO_ID", help="ACCOUNT/NAME on the Hub; made if it is not there")
    push.add_argument("--private", action="store_true", help="make a private repository")
    push.add_argument("--message", metavar="TEXT", default="Model trained with hf-ssl", help="title of the commit")
    push.set_defaults(run=lambda args: run(args.folder, args.repo_id, args.private, args.message))


def run(folder: str, repo_id: str, private: bool, message: str) -> None:
    """The whole command.

    Raises:
        ValueError: if the folder holds no complete model (the message names what is missing), or something that should be
            private would be public.
        OSError: in one line, if the Hub refuses or cannot be reached; nothing is published then.
    """
    from huggingface_hub import HfApi

    from ..hub.errors import clear_errors
    from ..hub.upload import CARD, published_files, push_files

    model = find_model(Path(folder))
    check_model(model)
    files = published_files(model)
    if model != Path(folder):
        # What a run tells about several models stands above the one that it kept.
        files |= {name: path for name, path in published_files(folder).items() if name == "results.json"}
    if CARD not in files:
        print(f"hf-ssl: warning: {model} has no {CARD}, so its page will be empty", file=sys.stderr)
    api = HfApi()
    with clear_errors(repo_id):
        url = api.create_repo(repo_id, private=private or None, exist_ok=True)
        before = api.model_info(url.repo_id)
        if private and not before.private:
            raise ValueError(f"{url} exists and is public; make it private first")
    after = push_files(url.repo_id, files, message)
    if after.oid == before.sha:
        print(f"Nothing has changed: {url}")
    else:
        print(f"Pushed {len(files)} files: {url}")


def find_model(folder: Path) -> Path:
    """The folder of the model: the given one, or the one that its results.json names.

    Raises:
        ValueError: if there is none; a checkpoint that is one is offered.
    """
    from ..training.checkpoint_files import checkpoints

    if not folder.is_dir():
        raise ValueError(
            f"{folder} is {'a file' if folder.exists() else 'not there'}; give the folder of a trained model"
        )
    if (folder / "config.json").is_file() or (folder / "adapter_config.json").is_file():
        return folder
    try:
        inner = json.loads((folder / "results.json").read_text(encoding="utf-8"))["settings"]["model"]
    except (OSError, ValueError, KeyError, TypeError):
        inner = None
    if isinstance(inner, str) and (folder / inner / "config.json").is_file() and Path(inner).name == inner:
        return folder / inner
    found = checkpoints(folder)
    offer = f"; its newest checkpoint is one: hf-ssl push {found[0]} REPO_ID" if found else ""
    raise ValueError(f"{folder} holds no model: config.json is missing{offer}")


def check_model(folder: Path) -> None:
    """Raise a ValueError that names what is missing or damaged, unless `transformers.pipeline` could load the folder."""
    from ..files import is_local
    from .pretrained import pipeline_task

    if (folder / "adapter_config.json").is_file():
        weights = ["adapter_model.safetensors"]
        base = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8")).get("base_model_name_or_path")
        if not base or is_local(base):
            raise ValueError(
                f"{folder} is an adapter of {base or 'an unnamed model'}, which is not on the Hub, so nobody could load it; "
                "push that model first and name it in adapter_config.json, or merge the adapter into it (merge_and_unload)"
            )
    elif (folder / "model.safetensors.index.json").is_file():
        index = json.loads((folder / "model.safetensors.index.json").read_text(encoding="utf-8"))
        weights = sorted(set(index["weight_map"].values()))
    else:
        weights = ["model.safetensors"]
    task = pipeline_task(str(folder))
    processor = (
        ["tokenizer.json", "tokenizer_config.json"] if task.startswith("text") else ["preprocessor_config.json"]
    )
    needed = [[name] for name in weights] + [[*processor, "processor_config.json"]]
    missing = [names[0] for names in needed if not any((folder / name).is_file() for name in names)]
    if missing:
        raise ValueError(
            f"{folder} is no complete model: {', '.join(missing)} is missing; save it there with save_pretrained"
        )
    for name in weights:
        _check_weights(folder / name)


def _check_weights(path: Path) -> None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt"):
            return
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged ({error}); save the model anew") from None

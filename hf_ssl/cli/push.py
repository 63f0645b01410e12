"""`hf-ssl push`: a finished run, or any folder of a trained classifier, to the Hub."""

import argparse
import shlex
import sys
from pathlib import Path

from .parser import Subparsers


def register(subparsers: Subparsers) -> None:
    """Add `push` to the commands of `hf-ssl`."""
    parser = subparsers.add_parser(
        "push",
        help="upload a trained model with its card to the Hub",
        description="Upload the model, card, curves and results in FOLDER to the model repository REPO_ID, in one "
        "commit, with the token of `hf auth login` or HF_TOKEN. Checkpoints, optimizer states and other files are not "
        "uploaded; links, and files with a token or key in them, are refused. Pushing the same content again changes "
        "nothing.",
    )
    parser.add_argument(
        "folder", metavar="FOLDER", help="output of `hf-ssl train` or `hf-ssl quickstart`, or a checkpoint"
    )
    parser.add_argument("repo_id", metavar="REPO_ID", help="ACCOUNT/NAME on the Hub; created if it does not exist")
    parser.add_argument("--private", action="store_true", help="create a private repository")
    parser.add_argument("--message", metavar="TEXT", default="Model trained with hf-ssl", help="title of the commit")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Check the folder, create the repository if needed, and push.

    Raises:
        ValueError: if the folder holds no complete model (the message names what is missing), or if something that
            should be private would be public.
        OSError: in one line, if the Hub refuses or cannot be reached; nothing is published then.
    """
    from huggingface_hub import HfApi, get_token

    from ..hub.errors import clear_errors
    from ..hub.repositories import create_repository, filled_or_gone
    from ..hub.requests import patiently
    from ..hub.upload import CARD, public_content, published_files, push_files

    folder = Path(args.folder)
    model = find_model(folder)
    check_model(model)
    files = published_files(model)
    if model != folder:
        # What a run says about several models is above the one that it kept.
        files |= {name: path for name, path in published_files(folder).items() if name == "results.json"}
    if CARD not in files:
        print(f"hf-ssl: warning: {model} has no {CARD}, so its page will be empty", file=sys.stderr)
    for name, path in files.items():
        # Before there is a repository: what is refused leaves no empty one.
        public_content(path, name, args.repo_id, get_token())
    api = HfApi()
    repository = create_repository(api, args.repo_id, private=args.private or None)
    url = repository.url
    with filled_or_gone(api, repository):
        with clear_errors(args.repo_id):
            before = patiently(lambda: api.model_info(url.repo_id))
            if args.private and not before.private:
                raise ValueError(f"{url} exists and is public; make it private first")
        after = push_files(url.repo_id, files, args.message)
    print(f"Nothing has changed: {url}" if after.oid == before.sha else f"Pushed {len(files)} files: {url}")


def find_model(folder: Path) -> Path:
    """The folder of the model: the given one, or the one that its results.json names.

    Raises:
        ValueError: if there is none; if a checkpoint holds one, the message offers it.
    """
    from ..documents import read_json
    from ..training.checkpoint_folders import checkpoints

    if not folder.is_dir():
        found = "a file" if folder.exists() else "not there"
        raise ValueError(
            f"FOLDER must hold a trained model, but {folder} is {found}; give the folder of a trained model"
        )
    if (folder / "config.json").is_file() or (folder / "adapter_config.json").is_file():
        return folder
    try:
        inner = read_json(folder / "results.json")["settings"]["model"]
    except (OSError, ValueError, KeyError, TypeError):
        inner = None
    if isinstance(inner, str) and (folder / inner / "config.json").is_file() and Path(inner).name == inner:
        return folder / inner
    offered = checkpoints(folder)
    offer = f"; its newest checkpoint is one: hf-ssl push {shlex.quote(str(offered[0]))} REPO_ID" if offered else ""
    raise ValueError(f"FOLDER must hold a model, but in {folder} config.json is missing{offer}")


def check_model(folder: Path) -> None:
    """Raise a ValueError unless `transformers.pipeline` could load the folder.

    The message names what is missing or damaged.
    """
    from .pretrained import trained_modality

    weights = _weights(folder)
    kind = trained_modality(str(folder))
    processor = [kind.processor_file, "processor_config.json"]
    if kind.name == "text":
        processor.append("tokenizer_config.json")
    needed = [[name] for name in weights] + [processor]
    missing = [names[0] for names in needed if not any((folder / name).is_file() for name in names)]
    if missing:
        raise ValueError(
            f"FOLDER must hold a complete model, but in {folder} {', '.join(missing)} is missing; save it there with "
            "save_pretrained"
        )
    for name in weights:
        _check_weights(folder / name)


def _weights(folder: Path) -> list[str]:
    """Names of the files that hold the weights, or an adapter's weights.

    Raises:
        ValueError: for an adapter that nobody else could load.
    """
    from ..documents import read_json
    from ..files import is_local

    adapter, index = folder / "adapter_config.json", folder / "model.safetensors.index.json"
    if adapter.is_file():
        base = read_json(adapter).get("base_model_name_or_path")
        if not base or is_local(base):
            raise ValueError(
                f"the base model of an adapter must be on the Hub, but {folder} is an adapter of "
                f"{base or 'an unnamed model'}; push that model first and name it in adapter_config.json, or merge "
                "the adapter into it (merge_and_unload)"
            )
        return ["adapter_model.safetensors"]
    if index.is_file():
        return sorted(set(read_json(index)["weight_map"].values()))
    return ["model.safetensors"]


def _check_weights(path: Path) -> None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt"):
            return
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged ({error}); save the model again") from None

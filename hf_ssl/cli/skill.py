"""`hf-ssl skill`: what an agent should know of these commands, as a skill that it can load (SKILL.md)."""

import argparse
from pathlib import Path

from .parser import Subparsers

# In the package, and so in every wheel.
SKILL = Path(__file__).resolve().parents[1] / "SKILL.md"
NAME = "hf-ssl"


def register(subparsers: Subparsers) -> None:
    """Add `skill` to the commands of `hf-ssl`."""
    parser = subparsers.add_parser(
        "skill",
        help="show or install instructions for agents that use these commands",
        description="Show the skill of this package: when and how to use which command, how to read the results, what "
        "to check and what not to do. With --install, put it where agents look for skills.",
    )
    parser.add_argument(
        "--install",
        metavar="DIR",
        help=f"write it to DIR/{NAME}/SKILL.md instead, such as .agents/skills of a project; an older one is replaced",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Print the skill, or install it.

    Raises:
        OSError: in one line, if it cannot be written.
        ValueError: if another skill has this name already.
    """
    from ..files import atomic_write

    text = SKILL.read_text(encoding="utf-8")
    if args.install is None:
        print(text, end="")
        return
    target = Path(args.install) / NAME / SKILL.name
    if target.exists() and f"name: {NAME}\n" not in target.read_text(encoding="utf-8", errors="replace"):
        raise ValueError(f"--install must not replace another skill, got {args.install} with {target}; move that away")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"--install must be a folder, got {args.install} ({error.strerror}); give another one") from None
    with atomic_write(target) as temporary:
        temporary.write_text(text, encoding="utf-8")
    print(f"Installed: {target}")

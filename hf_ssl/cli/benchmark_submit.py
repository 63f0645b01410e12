"""`hf-ssl benchmark submit` and `leaderboard`: results of a grid to the Hub."""

import argparse

from .parser import Subparsers


def add_submit(actions: Subparsers) -> None:
    """Add `submit` to the actions of `hf-ssl benchmark`."""
    parser = actions.add_parser(
        "submit",
        help="offer new results to a results repository on the Hub",
        description="Check every finished cell of a results folder (its layout, its key, its place, no local paths, "
        "no tokens) and open a pull request with those that the dataset repository does not have yet, with the token "
        "of `hf auth login` or HF_TOKEN. If a cell is not valid, or another result is in its place there, nothing is "
        "sent.",
    )
    parser.add_argument("results", metavar="RESULTS", help="folder that `hf-ssl benchmark run` wrote")
    parser.add_argument("--to", required=True, metavar="REPO_ID", help="ACCOUNT/NAME of the dataset repository")
    parser.add_argument("--dry-run", action="store_true", help="check and compare, but send nothing")
    parser.set_defaults(run=run_submit)


def run_submit(args: argparse.Namespace) -> None:
    """`hf-ssl benchmark submit RESULTS --to REPO_ID`."""
    from ..benchmark.submission.submit import submit

    done = submit(args.results, args.to, dry_run=args.dry_run)
    there = f"; {len(done.present):,} are there already" if done.present else ""
    print(f"{len(done.new):,} new cell{'s' * (len(done.new) != 1)} for {args.to}{there}")
    if done.url is not None:
        print(f"Pull request: {done.url}" if done.is_new else f"These cells were submitted before: {done.url}")


def add_leaderboard(actions: Subparsers) -> None:
    """Add `leaderboard` to the actions of `hf-ssl benchmark`."""
    parser = actions.add_parser(
        "leaderboard",
        help="publish the report's page as a Space on the Hub",
        description="Make the page of `hf-ssl benchmark report` and push it as a static Space, which is created if it "
        "does not exist, with the token of `hf auth login` or HF_TOKEN. Pushing the same results again changes "
        "nothing.",
    )
    parser.add_argument(
        "results", metavar="RESULTS", help="a results folder, or the id of a results repository on the Hub"
    )
    parser.add_argument("--space", required=True, metavar="REPO_ID", help="ACCOUNT/NAME of the Space")
    parser.add_argument("--private", action="store_true", help="create a private Space")
    parser.set_defaults(run=run_leaderboard)


def run_leaderboard(args: argparse.Namespace) -> None:
    """`hf-ssl benchmark leaderboard RESULTS --space REPO_ID`."""
    from ..benchmark.submission.space import push_leaderboard

    done = push_leaderboard(args.results, args.space, private=args.private)
    print(f"{'Pushed' if done.changed else 'Nothing has changed:'} {done.cells:,} cells: {done.url}")

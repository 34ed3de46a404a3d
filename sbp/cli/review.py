"""`sbp review`: what it prints."""

import argparse
import logging

from sbp.config.paths import register_resolvers
from sbp.review import review as run_review
from sbp.review.reviewing import kinds_text
from sbp.utils import signals

FIRST = 10
"""Suspects on the terminal; the table has all."""


def review(arguments: argparse.Namespace) -> None:
    """Review a run's annotations, and print the first suspects and where the rest is."""
    signals.install()
    register_resolvers()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    found = run_review(
        arguments.trained,
        arguments.folds,
        arguments.out,
        arguments.shown,
        arguments.to,
        arguments.device,
        arguments.threshold,
    )
    print(f"{len(found.suspects)} suspicions: {kinds_text(found.suspects)}")
    for rank, suspect in enumerate(found.suspects[:FIRST], 1):
        name, defect = found.images[suspect.image], found.defects[suspect.defect]
        print(f"{rank:4}  {suspect.score:.2f}  {suspect.kind:13}  {defect:12}  {name}")
    print(f"to look at:     {found.sheet}")
    print(f"every one:      {found.table}")
    print(f"to correct:     {found.proposals}")

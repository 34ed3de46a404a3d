"""`sbp mine`: what it prints, and its exit code."""

import argparse
import logging
import sys

from sbp.config.paths import register_resolvers
from sbp.mine import mine as run_mine
from sbp.utils import signals

FIRST = 10
"""Images on the terminal; the table has all."""
IMAGES = 50
"""The budget where none is given."""


def mine(arguments: argparse.Namespace) -> int:
    """Rank a folder, print the first images and where the rest is; returns the exit code: 1 if some images
    could not be read."""
    signals.install()
    register_resolvers()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    images = IMAGES if arguments.images is None and arguments.defects is None else arguments.images
    found = run_mine(
        arguments.checkpoint,
        arguments.folder,
        arguments.out,
        images=images,
        defects=arguments.defects,
        by=arguments.by,
        aggregation=arguments.aggregation,
        dropout=arguments.mc_dropout,
        power=arguments.power,
        copy=arguments.copy,
        workers=arguments.workers,
        device=arguments.device,
        seed=arguments.seed,
    )
    chosen = found.choice.chosen
    expected = sum(found.expected[number] for number in chosen)
    print(f"{len(chosen)} of {len(found.images)} images, with about {expected:.3g} defects in them")
    for rank, number in enumerate(chosen[:FIRST], 1):
        print(f"{rank:4}  {found.scores[number]:.3g}  {found.images[number]}")
    if twins := len(found.choice.duplicate_of):
        print(f"{twins} more look like one of these")
    print(f"to annotate:    {found.folder}")
    print(f"to look at:     {found.sheet}")
    print(f"every image:    {found.table}")
    for error in found.errors:
        print(f"left out: {error}", file=sys.stderr)
    return 1 if found.errors else 0

"""`sbp predict`: what it prints, and its exit code."""

import argparse
import sys
from pathlib import Path

from sbp.errors import UserError
from sbp.predict import Prediction, predictions
from sbp.utils import signals
from sbp.utils.progress import CountProgress


def predict(arguments: argparse.Namespace) -> int:
    """Predict a folder, a line per image; returns the exit code: 1 if some images could not be read."""
    out = arguments.out or arguments.checkpoint.parent / "predictions"
    if not 0 < arguments.threshold < 1:
        raise UserError(f"--threshold {arguments.threshold}: must be between 0 and 1")
    signals.install()
    progress, errors, lines, before = CountProgress("predicting"), [], 0, 0
    given = (arguments.checkpoint, arguments.folder, out, arguments.threshold, arguments.device)
    try:
        for found in predictions(*given, progress):
            if found.error:
                errors.append(found.error)
            else:
                lines, before = lines + 1, before + found.before
                progress.line.say(line(found, arguments.folder))
    except KeyboardInterrupt:
        print("sbp: stopped; the same command continues there", file=sys.stderr)
        raise
    finally:
        progress.line.close()
    print(f"masks and overlays in {out}" + (f" (done before: {before} of {lines})" if before else ""))
    if errors:
        these = "1 image was" if len(errors) == 1 else f"{len(errors)} images were"
        print(f"sbp: {these} skipped", *errors, sep="\n  ", file=sys.stderr)
    return 1 if errors else 0


def line(found: Prediction, folder: Path) -> str:
    """An image below the folder, and each defect's largest probability."""
    name = found.path.relative_to(folder).as_posix()
    return "  ".join([name, *(f"{defect} {value:.3f}" for defect, value in found.highest.items())])

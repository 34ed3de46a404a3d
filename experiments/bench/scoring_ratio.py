"""What a scoring pass costs beside a training pass, and what that says of claim C8.

`python -m experiments.bench.scoring_ratio [--sizes 64,128,256,512] [--repetitions 5] [overrides]` times both
passes over the same images, alternating, on one thread: with images that lie decoded in memory, and with
images that each pass decodes from PNG files of twice the model's side, as of a camera. Prints a row for each
and writes them to outputs/bench/scoring_ratio.csv. No loader process helps: decoding counts in full.
"""

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from experiments.bench.run import timed
from experiments.bench.setup import config_with, trainer_of
from sbp.build.data import build_source
from sbp.config.paths import output_root
from sbp.report.results import write_rows
from sbp.tracking.provenance import provenance

KEPT = 1 / 9
"""Share of the images that is trained on, at the blog's beta of 8; all of them are scored."""
AS_LONG = 0.8
"""Of the baseline's epoch: where C8's "as long" begins."""
PIXELS = 2**20
"""How many are trained on in a repetition, so that every size takes about as long."""
NOISE = 2.0
"""Standard deviation of a camera's noise in grey levels; PNG files are too small without."""


@dataclass(frozen=True)
class Passes:
    """Median seconds of passes over the same `images` images of `size` pixels a side, and the forward pass'
    share of a training step's FLOPs."""

    size: int
    decoded: bool
    images: int
    training_s: float
    scoring_s: float
    flops_ratio: float

    @property
    def ratio(self) -> float:
        """Scoring over training, in time."""
        return self.scoring_s / self.training_s

    def row(self) -> dict[str, str]:
        """As text."""
        return {
            "pixels": str(self.size),
            "images": "decoded in each pass" if self.decoded else "in memory",
            "training ms": f"{1000 * self.training_s / self.images:.1f}",
            "scoring ms": f"{1000 * self.scoring_s / self.images:.1f}",
            "scoring / training": f"{self.ratio:.2f}",
            "in FLOPs": f"{self.flops_ratio:.2f}",
            "epoch": f"{epoch_length(self.ratio):.2f}",
        }


def epoch_length(ratio: float, kept: float = KEPT) -> float:
    """Length of an epoch that scores all images and trains on a share of them, over the baseline's."""
    return kept + ratio


def decoding_for(length: float, ratio: float, kept: float = KEPT) -> float:
    """What decoding an image must cost, over training on it decoded, for an epoch of that length.

    ratio: of decoded images. With d for decoding, the epoch is (kept (1 + d) + ratio + d) / (1 + d).
    """
    return (length - kept - ratio) / (1 + kept - length)


def measured(size: int, decoded: bool, repetitions: int, overrides: Sequence[str] = ()) -> Passes:
    """Time both passes at one size."""
    images = max(16, PIXELS // size**2)
    common = ["selection=none", f"data.image_size={size}", "trainer.workers=0", "scale.batch_size=8"]
    common += ["evaluation.every=1000000", f"data.train_images={images}"]
    with tempfile.TemporaryDirectory() as folder:
        if decoded:
            common = [*common[:-1], *write_camera_files(Path(folder) / "set", size, images)]
        config = config_with(*common, *overrides)
        config.output_root = f"{folder}/outputs"
        trainer = trainer_of(config)
        everything, epochs = np.arange(len(trainer.data.train)), trainer.epochs()
        training, scoring = [], []
        for number in range(repetitions + 1):
            before = trainer.work_s
            next(epochs)
            training.append(trainer.work_s - before)
            scoring.append(timed(lambda n=number: trainer.scorer.score(trainer.data.train, everything, n)))
        cost = trainer.ledger.model_cost
    medians = (statistics.median(times[1:]) for times in (training, scoring))
    return Passes(size, decoded, len(everything), *medians, cost.scoring / cost.training)


def write_camera_files(root: Path, size: int, images: int) -> list[str]:
    """Write images of twice the side with noise, and masks; returns overrides that train on most."""
    source = build_source(config_with(f"data.image_size={size}", images=images).data, root)
    rng = np.random.default_rng(0)
    (root / "images").mkdir(parents=True)
    for defect in source.defects:
        (root / "masks" / defect).mkdir(parents=True)
    for index in range(images):
        sample = source.sample("train", index)
        large = cv2.resize(sample.image, (2 * size, 2 * size), interpolation=cv2.INTER_CUBIC).astype(float)
        noisy = np.clip(large + rng.normal(0, NOISE, large.shape), 0, 255).astype(np.uint8)
        cv2.imwrite(str(root / "images" / f"{index}.png"), noisy)
        for d, defect in enumerate(source.defects):
            mask = cv2.resize(
                sample.masks[:, :, d] * 255, (2 * size, 2 * size), interpolation=cv2.INTER_NEAREST
            )
            cv2.imwrite(str(root / "masks" / defect / f"{index}.png"), mask)
    defects = f"data.defects=[{','.join(source.defects)}]"
    shares = ["data.val_fraction=0.1", "data.test_fraction=0.1"]
    return ["data=masks", f"data.root={root}", defects, "model=unet_small", "data.cache=stream", *shares]


def main() -> None:
    """Measure every size both ways, print the table, write the CSV."""
    parser = argparse.ArgumentParser("python -m experiments.bench.scoring_ratio")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--sizes", default="64,128,256,512")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--csv", type=Path, default=Path(output_root()) / "bench" / "scoring_ratio.csv")
    options = parser.parse_args()
    torch.set_num_threads(1)
    about = provenance()
    facts = {key: str(about[key]) for key in ("git.commit", "hardware.cpu", "version.torch")}
    rows = []
    for size in map(int, options.sizes.split(",")):
        for decoded in (False, True):
            passes = measured(size, decoded, options.repetitions, options.overrides)
            rows.append(passes.row() | {"model": " ".join(options.overrides) or "unet_small"} | facts)
            print("  ".join(f"{key} {value}" for key, value in passes.row().items()), flush=True)
            if not decoded:
                cost = decoding_for(AS_LONG, passes.ratio)
                print(
                    f"    {AS_LONG:g} of the baseline's epoch: decoding costs {cost:.1f} trainings",
                    flush=True,
                )
    write_rows(rows, options.csv)
    print(f"written to {options.csv}")


if __name__ == "__main__":
    main()

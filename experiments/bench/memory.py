"""Peak anonymous memory of a selective run over so many images: prints it in MiB, three times over."""

import sys
import tempfile

import numpy as np

from experiments.bench.memory_watch import PeakMemory
from experiments.bench.setup import config_with
from sbp.build import trainer as build
from sbp.data.dataset import open_data
from sbp.data.source import Sample
from sbp.utils.progress import Progress


class Noise:
    """Any number of images at no cost: memory does not care what is on them."""

    name, defects = "noise", ("scratch", "broken")

    def __init__(self, images: int):
        self.images = images

    def describe(self) -> dict:
        """The number of images is all there is to know."""
        return {"images": self.images}

    def lengths(self) -> dict[str, int]:
        """All but a few are for training."""
        return {"train": self.images, "val": 8, "test": 8}

    def sample(self, split: str, index: int) -> Sample:
        """A flat grey image; every tenth holds a defect."""
        image = np.full((64, 64, 1), index % 251, dtype=np.uint8)
        masks = np.zeros((64, 64, 2), dtype=np.uint8)
        masks[:4, :4] = index % 10 == 0
        return Sample(image, masks, None, f"{split}_{index}")


def main(images: int) -> None:
    """Score everything, then train on a draw, for two epochs of a few batches each."""
    config = config_with("beta.value=15", "selection.warmup_epochs=0", "evaluation.every=1000000")
    model = build.build_model(config, 2)
    with tempfile.TemporaryDirectory() as folder:
        data = open_data(Noise(images), folder)
        trainer = build.build_trainer(config, model, data, Progress())
        with PeakMemory() as memory:
            epochs = trainer.epochs()
            next(epochs)
            next(epochs)
    print(memory.peak_mib, memory.peak_mib, memory.peak_mib)


if __name__ == "__main__":
    main(int(sys.argv[1]))

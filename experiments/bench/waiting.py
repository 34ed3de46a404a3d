"""What training waits for images: `python -m experiments.bench.waiting FILES EPOCHS [overrides]`.

Prints the share of the work time of uniform training at cpu scale that goes into waiting for the next batch.
FILES 0: the embedded images, from the cache; else that many of them, written as PNG files and read as a set
of one's own (data=masks), for which overrides can ask for data.cache=stream or data.fit=tile.
"""

import sys
import tempfile
from pathlib import Path

import cv2

from experiments.bench.setup import config_with, trainer_of
from sbp.build.data import build_source


def write_files(root: Path, count: int) -> list[str]:
    """Write training images and their masks; returns the overrides that read them."""
    source = build_source(config_with(images=count).data, root)
    for folder in ("images", *(f"masks/{defect}" for defect in source.defects)):
        (root / folder).mkdir(parents=True)
    for index in range(count):
        sample = source.sample("train", index)
        cv2.imwrite(str(root / "images" / f"{index}.png"), sample.image)
        for d, defect in enumerate(source.defects):
            cv2.imwrite(str(root / "masks" / defect / f"{index}.png"), sample.masks[:, :, d] * 255)
    defects = f"data.defects=[{','.join(source.defects)}]"
    size = f"data.image_size={sample.image.shape[0]}"
    return ["data=masks", "model=unet_small", f"data.root={root}", defects, size]


def share_waited(files: int, epochs: int, *overrides: str) -> float:
    """Share of the work time that is spent in the section `data`, without the first epoch."""
    with tempfile.TemporaryDirectory() as folder:
        of_files = write_files(Path(folder) / "set", files) if files else []
        config = config_with("evaluation.every=1000000", "selection=none", *of_files, *overrides)
        config.output_root = f"{folder}/outputs"
        waited, work = 0.0, 0.0
        trainer = trainer_of(config)
        runs = trainer.epochs()
        next(runs)
        for _ in range(epochs):
            metrics = next(runs).metrics
            waited += metrics["time/data_s"]
            work += metrics["time/data_s"] + metrics["time/training_s"]
    return waited / work


if __name__ == "__main__":
    files, epochs, *overrides = sys.argv[1:]
    print(share_waited(int(files), int(epochs), *overrides))

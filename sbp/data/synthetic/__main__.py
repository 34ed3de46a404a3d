"""`python -m sbp.data.synthetic --out sheet.png`: look at what the generator makes."""

import argparse
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from sbp.data.source import Sample
from sbp.data.synthetic.plan import KINDS
from sbp.data.synthetic.source import DEFECTS, InspectionSource
from sbp.plots.contact_sheet import contact_sheet
from sbp.plots.style import save_png


def main(arguments: list[str] | None = None) -> None:
    """Write a sheet with rows of healthy images, of each look-alike, and of each defect with annotation."""
    parser = argparse.ArgumentParser(prog="python -m sbp.data.synthetic", description=main.__doc__)
    parser.add_argument("--out", type=Path, required=True, help="PNG file to write")
    parser.add_argument("--image-size", type=int, default=64, help="pixels a side, 32 to 512 (default 64)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--columns", type=int, default=8, help="images per row (default 8)")
    parser.add_argument("--scale", type=int, default=2, help="pixels of the sheet per pixel (default 2)")
    options = parser.parse_args(arguments)
    source = InspectionSource(
        image_size=options.image_size,
        train_images=8,
        val_images=max(40 * options.columns, 200),
        test_images=8,
        seed=options.seed,
    )
    images, masks, titles = _sheet_rows(source, options.columns)
    sheet = contact_sheet(images, masks, titles, DEFECTS, options.columns, options.scale)
    print(save_png(sheet, options.out))


def _sheet_rows(
    source: InspectionSource, columns: int
) -> tuple[list[np.ndarray], list[np.ndarray], list[str]]:
    """Two rows of healthy images, one per look-alike, and two per defect bare, then outlined."""
    images, masks, titles = [], [], []
    for group in ("healthy", *KINDS, *DEFECTS):
        row = list(
            islice(_samples(source, group), 2 * columns if group in ("healthy", *DEFECTS) else columns)
        )
        for start in range(0, len(row), columns):
            for outlined in (False, True) if group in DEFECTS else (False,):
                for sample in row[start : start + columns]:
                    images.append(sample.image)
                    masks.append(sample.masks if outlined else np.zeros_like(sample.masks))
                    titles.append(f"{group} {sample.name.split('_')[-1]}")
    return images, masks, titles


def _samples(source: InspectionSource, group: str) -> Iterator[Sample]:
    """Validation images of one group; one with both defects is in the group of the rare one."""
    plan = source.plans["val"]
    for index in range(source.lengths()["val"]):
        held = [instance.defect for instance in plan.instances.get(index, ())]
        own = plan.lookalikes.get(index, held[-1] if held else "healthy")
        if own == group:
            yield source.sample("val", index)


if __name__ == "__main__":
    main()

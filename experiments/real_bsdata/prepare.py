"""BSData as a set whose healthy photographs are healthy.

    python -m experiments.real_bsdata.prepare PATH FOLDER

A photograph without polygons counts as healthy only if it was taken before the first one with a pitting of
the same position on the ball screw: wear does not heal, and what came later may be worn and not annotated.
(That is an assumption of ours.) The others are left out. So are photographs of another size than most: in
BSData each of those shows a pitting, which the size alone would give away. FOLDER gets links to the files of
PATH.
"""

import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from PIL import Image

NAME = re.compile(r"(?P<camera>\d+)_(?P<time>\d{12})_(?P<position>\d{6}_\d{3})_")
"""Photographs of other names were taken once, of a pitting."""


def usable(names: Iterable[str], annotated: set[str]) -> list[str]:
    """Names, without ending, of the annotated photographs, and of those taken before the first annotated one
    of their position.

    names: all photographs. annotated: those of them with polygons.
    """
    first: dict[tuple[str, str], str] = {}
    for name in annotated:
        if match := NAME.match(name):
            place = match["camera"], match["position"]
            first[place] = min(first.get(place, match["time"]), match["time"])
    return [name for name in sorted(names) if name in annotated or _is_before(name, first)]


def _is_before(name: str, first: dict[tuple[str, str], str]) -> bool:
    match = NAME.match(name)
    return match is not None and match["time"] < first.get((match["camera"], match["position"]), "")


def of_one_size(images: Mapping[str, Path]) -> dict[str, Path]:
    """The images of the size that most have. images: paths by name."""
    sizes = {name: _size(path) for name, path in images.items()}
    ((most, _),) = Counter(sizes.values()).most_common(1)
    return {name: path for name, path in images.items() if sizes[name] == most}


def _size(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def main(source: Path, target: Path) -> None:
    everything = {path.stem: path for path in source.glob("*.jpg")}
    if not everything:
        sys.exit(f"{source}: no .jpg in this folder")
    images = of_one_size(everything)
    annotated = {name for name, path in images.items() if path.with_suffix(".json").is_file()}
    target.mkdir(parents=True, exist_ok=True)
    kept = usable(images, annotated)
    for name in kept:
        for path in (images[name], images[name].with_suffix(".json")):
            link = target / path.name
            if path.is_file() and not link.exists():
                link.symlink_to(path.resolve())
    healthy = len(kept) - len(annotated)
    print(f"{len(annotated)} photographs with a pitting, {healthy} from before the first one: {target}")
    print(f"{len(images) - len(kept)} left out: perhaps worn, not annotated")
    print(f"{len(everything) - len(images)} left out: of another size")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("python -m experiments.real_bsdata.prepare PATH FOLDER")
    main(Path(sys.argv[1]), Path(sys.argv[2]))

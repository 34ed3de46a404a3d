"""A run's training annotations, reviewed: predictions, suspects, a table, a sheet, proposals."""

import csv
import io
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sbp.build.data import build_source, open_cached
from sbp.config import Config, from_values
from sbp.data.convert import TARGETS
from sbp.data.dataset import DataSet
from sbp.data.disk.decode import image_shape
from sbp.data.disk.source import ListedSource
from sbp.data.source import Source
from sbp.errors import UserError
from sbp.predict.model import check_task
from sbp.review.contradictions import contradictions, merged
from sbp.review.folds import in_sample, out_of_fold
from sbp.review.proposals import ProposalWriter, proposed
from sbp.review.sheet import sheet_entry, write_sheet
from sbp.review.suspects import Suspect, compare, ranked
from sbp.run.callbacks.suspects import SUSPECTS
from sbp.run.checkpoint import load_checkpoint
from sbp.utils.files import write_atomically
from sbp.utils.progress import CountProgress

COLUMNS = (
    "rank", "image", "kind", "defect", "annotated", "score", "left", "top", "width", "height", "pixels",
    "other_image", "did_not_learn",
)  # fmt: skip

TABLE, PROPOSALS = "suspects.csv", "proposals"


@dataclass(frozen=True)
class Review:
    """What was found. suspects: the most suspicious first; images: names of the training images; table,
    sheet, proposals: what was written, the last a folder."""

    suspects: list[Suspect]
    images: list[str]
    defects: tuple[str, ...]
    table: Path
    sheet: Path
    proposals: Path


def review(
    run: str | Path,
    folds: int = 0,
    out: str | Path | None = None,
    shown: int = 100,
    target: str = "labelme",
    device: str = "cpu",
    threshold: float = 0.5,
) -> Review:
    """Rank the training annotations of a run by how suspect they are.

    run: its folder, or a checkpoint in it. folds: how many models to train, each without one part of the
    images, so that none has seen the annotation that it is asked about; 0 asks the run's own model, which may
    have memorised it. out: folder, by default `review` in the run's. shown: suspects on the sheet, and those
    whose images get proposals. target: the layout of the proposals, one of TARGETS. threshold: probability in
    (0, 1) from which a pixel is predicted.

    Leaves suspects.csv, sheet.html, probabilities.npy (N, H, W, D) uint8, in 1/255, and the folder
    proposals/. A review that was stopped goes on with the folds that are trained. Raises UserError, before
    anything is trained, for what a user can mend.
    """
    _check(folds, shown, target, threshold)
    checkpoint = _checkpoint(Path(run))
    config = from_values(load_checkpoint(checkpoint).config)
    check_task(config, checkpoint)
    folder = Path(out) if out else checkpoint.parent / "review"
    if folds and config.folds.count:
        raise UserError(f"--folds {folds}: the run is one of a cross-validation itself; must be 0")
    if (folder / PROPOSALS).exists() and not (folder / TABLE).is_file():
        raise UserError(f"{folder / PROPOSALS}: is not from here; choose another folder with --out")
    source, data = build_source(config.data, config.output_root), open_cached(config)
    folder.mkdir(parents=True, exist_ok=True)
    if folds:
        predicted = out_of_fold(config, data, folds, folder, device)
    else:
        predicted = in_sample(checkpoint, config, data, device)
    probabilities = _kept(predicted, data, folder / "probabilities.npy")
    suspects = _suspects(config, source, data, probabilities, threshold)
    found = Review(
        suspects,
        data.train.names,
        data.defects,
        folder / TABLE,
        folder / "sheet.html",
        folder / PROPOSALS,
    )
    doubted = _did_not_learn(checkpoint.parent)
    _write_table(found, source, doubted)
    _write_sheet(found, data, probabilities, folds, shown, doubted)
    _write_proposals(found, source, data, probabilities, target, shown, threshold)
    return found


def _check(folds: int, shown: int, target: str, threshold: float) -> None:
    if folds < 0 or folds == 1:
        raise UserError(f"--folds {folds}: must be 0 or at least 2")
    if target not in TARGETS:
        raise UserError(f"--to {target}: must be one of {', '.join(TARGETS)}")
    if shown < 1:
        raise UserError(f"--shown {shown}: must be at least 1")
    if not 0 < threshold < 1:
        raise UserError(f"--threshold {threshold}: must be between 0 and 1")


def _checkpoint(run: Path) -> Path:
    if not run.is_dir():
        return run  # loading it says what is wrong with it
    for name in ("best.pt", "last.pt"):
        if (run / name).is_file():
            return run / name
    raise UserError(f"{run}: holds no best.pt; name the folder of a run, as `sbp train` prints it at its end")


def _kept(predicted, data: DataSet, path: Path) -> np.ndarray:
    """The probabilities (N, H, W, D) in 1/255, as they come, in a file: as large as the images."""
    shape = (len(data.train), *data.train.masks.shape[1:])
    kept = np.lib.format.open_memmap(path, "w+", np.uint8, shape)
    progress = CountProgress("predicting")
    for done, (number, probabilities) in enumerate(predicted, 1):
        kept[number] = np.round(probabilities * 255)
        progress(done, len(kept))
    kept.flush()
    return kept


def _suspects(
    config: Config, source: Source, data: DataSet, probabilities: np.ndarray, threshold: float
) -> list[Suspect]:
    area = config.evaluation.min_area
    regions = [
        compare(n, probabilities[n] / np.float32(255), np.asarray(data.train.masks[n]), threshold, area)
        for n in range(len(data.train))
    ]
    suspects = ranked(regions)
    if not isinstance(source, ListedSource) or len(source.members["train"]) != len(data.train):
        return suspects
    highest = np.stack([part.max(axis=(0, 1)) for part in probabilities]) / 255
    return merged(suspects, contradictions(source, highest, CountProgress("comparing photographs")))


def _did_not_learn(run: Path) -> set[str]:
    """Names of the images that the run's guard suspects: their loss stayed though they were trained on."""
    try:
        with (run / SUSPECTS).open(newline="") as file:
            return {row["image"].split(", tile at")[0] for row in csv.DictReader(file)}
    except FileNotFoundError:
        return set()


def _write_table(found: Review, source: Source, doubted: set[str]) -> None:
    """Boxes are in pixels of the image's file, where there is one."""
    items = {item.name: item for item in source.members["train"]} if isinstance(source, ListedSource) else {}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for rank, s in enumerate(found.suspects, 1):
        name = found.images[s.image]
        called = "" if s.annotated is None else found.defects[s.annotated]
        other = "" if s.other is None else found.images[s.other]
        learnt, box = "yes" if name in doubted else "", s.box
        if isinstance(source, ListedSource) and (
            shape := image_shape(items[name].image, source.reading.exif)
        ):
            box = source.resizer.box_restored(s.box, shape)
        row = [rank, name, s.kind, found.defects[s.defect], called, f"{s.score:.4f}", *box, s.pixels]
        writer.writerow([*row, other, learnt])
    write_atomically(found.table, text.getvalue())


def _write_sheet(
    found: Review, data: DataSet, probabilities: np.ndarray, folds: int, shown: int, doubted: set[str]
) -> None:
    how = f"by {folds} models, none of which had seen the image that it was asked about"
    if not folds:
        how = "by the run's own model, which may have memorised what is wrong (--folds 5 asks others)"
    about = f"{len(found.suspects)} suspicions among {len(data.train)} training images of {data.name}, {how}."
    entries = []
    for suspect in found.suspects[:shown]:
        note = ""
        if found.images[suspect.image] in doubted:
            note = "The image was trained on again and again, and its loss stayed (guard=dynamics)"
        p = probabilities[suspect.image] / np.float32(255)
        entries.append(sheet_entry(suspect, data.train, p, data.defects, note))
    write_sheet(found.sheet, about, found.suspects, entries, data.defects)


def _write_proposals(
    found: Review,
    source: Source,
    data: DataSet,
    probabilities: np.ndarray,
    target: str,
    shown: int,
    threshold: float,
) -> None:
    shutil.rmtree(found.proposals, ignore_errors=True)  # ours, from a call before
    writer = ProposalWriter(source, data.train, target, found.proposals)
    by_image: dict[int, list[Suspect]] = {}
    for suspect in found.suspects[:shown]:
        by_image.setdefault(suspect.image, []).append(suspect)
    progress = CountProgress("proposing")
    for done, (image, suspects) in enumerate(by_image.items(), 1):
        masks, p = np.asarray(data.train.masks[image]), probabilities[image] / np.float32(255)
        writer.put(image, proposed(masks, p, suspects, threshold))
        progress(done, len(by_image))
    writer.close()


def kinds_text(suspects: Sequence[Suspect]) -> str:
    """How many there are of each kind, in a few words."""
    kinds = [suspect.kind for suspect in suspects]
    return ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds)) or "none"

"""A folder of images without annotations: which of them to annotate next."""

import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

import numpy as np
import torch

from sbp.config import Config
from sbp.data.audit.fingerprints import SIDE, texture
from sbp.data.audit.near import near_pairs
from sbp.data.disk.decode import SUFFIXES
from sbp.errors import UserError
from sbp.mine.choose import ranking, strata_of, stratified_ranking, within_budget
from sbp.mine.outputs import Columns, Mined, write_chosen, write_ranking, write_sheet
from sbp.mine.reading import ReadImage, read_ahead, read_seen
from sbp.mine.record import Scored, ScoreRecord
from sbp.mine.scores import (
    AGGREGATIONS,
    BALD,
    ENTROPY,
    EXPECTED,
    HEALTHY_LOSS,
    HIGHEST,
    Believer,
    names_of,
    scores_of,
)
from sbp.predict.folder import digest_of, read_as_trained
from sbp.predict.model import restore
from sbp.predict.names import images_below
from sbp.run.results_version import RESULTS_VERSION
from sbp.utils.files import sole_writer
from sbp.utils.progress import CountProgress

STRATIFIED, RANDOM = "stratified", "random"
RULES = (ENTROPY, HEALTHY_LOSS, BALD, STRATIFIED, RANDOM)
log = logging.getLogger("sbp")


def mine(
    checkpoint: str | Path,
    folder: str | Path,
    out: str | Path | None = None,
    images: int | None = 50,
    defects: float | None = None,
    by: str = ENTROPY,
    aggregation: str = "topk_mean",
    dropout: int = 0,
    power: float = 4.0,
    copy: bool = False,
    workers: int | None = None,
    device: str = "cpu",
    seed: int = 0,
) -> Mined:
    """Rank the images in `folder` and its subfolders by what annotating them would teach the model.

    images, defects: the budget, so many images, or so many defects as the model expects in them; None for no
    limit. by: a score, `entropy`, `healthy_loss` or `bald` (its largest over the defects); `stratified`, the
    entropy with the defects that the model sees, and none, taking turns (`power`: how sharply, see
    stratified_ranking); `random`. aggregation: of the score's map, one of AGGREGATIONS. dropout: passes of
    Monte-Carlo dropout, which `bald` needs. copy: the chosen images, instead of links to them. workers:
    threads that decode. seed: of what is drawn.

    Leaves in `out` (default: `mined` beside the checkpoint) scores.csv, a row per image as it comes, so that
    another call with the same checkpoint goes on there and another rule or budget costs no pass; ranking.csv;
    sheet.png; and chosen/, the chosen images and list.csv. An image that cannot be read is left out and
    named. Memory grows by a row per image. Raises UserError, before the first image, for what cannot be used.
    """
    folder, target = Path(folder), Path(out) if out else Path(checkpoint).parent / "mined"
    _check(images, defects, by, aggregation, dropout, power, folder)
    chosen = target / "chosen"
    if chosen.is_dir() and any(chosen.iterdir()) and not (chosen / "list.csv").is_file():
        raise UserError(f"{chosen}: holds what is not from here; choose another folder with --out")
    digest = digest_of(Path(checkpoint))
    model, compute, trained, config = restore(checkpoint, device)
    believer = Believer(model, compute, dropout)
    found = images_below(folder, [target])
    if not found:
        raise UserError(f"{folder}: no images in it ({', '.join(SUFFIXES)})")
    record = ScoreRecord(target, names_of(trained.defects, dropout))
    with sole_writer(target):
        about = {"folder": str(folder.resolve()), "checkpoint": digest, "dropout": dropout}
        if not record.open(about | {"results_version": RESULTS_VERSION}):
            log.warning(
                "%s: was made with another checkpoint, folder or --mc-dropout, all is scored anew", target
            )
        _score(folder, found, record, believer, config, workers)
        rows = [row for image in found if not (row := record.rows[image]).error]
        errors = [row.error for image in found if (row := record.rows[image]).error]
        if not rows:
            raise UserError(f"{folder}: none of its {len(found)} images can be read: {errors[0]}")
        values = {name: np.array([row.values[c] for row in rows]) for c, name in enumerate(record.columns)}
        of = Columns(values, trained.defects)
        rng = np.random.default_rng(seed)
        scores, order = _ranked(of, by, aggregation, power, rng)
        names = [row.image for row in rows]
        expected = of.stacked(EXPECTED).sum(axis=1)
        alike = _Alike(folder, names, config)
        choice = within_budget(order.tolist(), expected, images, defects, alike)
        mined = Mined(
            names, scores, order, choice, expected, errors,
            target / "ranking.csv", target / "sheet.png", chosen,
        )  # fmt: skip
        write_ranking(mined, of)
        write_sheet(mined, folder, believer, config, trained.defects)
        write_chosen(mined, folder, copy)
    return mined


def _check(
    images: int | None,
    defects: float | None,
    by: str,
    aggregation: str,
    dropout: int,
    power: float,
    folder: Path,
) -> None:
    if images is not None and images < 1:
        raise UserError(f"--images {images}: must be at least 1")
    if defects is not None and not defects > 0:
        raise UserError(f"--defects {defects:g}: must be above 0")
    if by not in RULES:
        raise UserError(f"--by {by}: must be one of {', '.join(RULES)}")
    if aggregation not in AGGREGATIONS:
        raise UserError(f"--aggregation {aggregation}: must be one of {', '.join(AGGREGATIONS)}")
    if dropout < 0 or dropout == 1:
        raise UserError(f"--mc-dropout {dropout}: must be 0 or at least 2")
    if by == BALD and not dropout:
        raise UserError("--by bald: needs passes of Monte-Carlo dropout, as --mc-dropout 8")
    if not power > 0:
        raise UserError(f"--power {power:g}: must be above 0")
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")


def _ranked(
    of: Columns, by: str, aggregation: str, power: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Scores (N,) and the order (N,)."""
    score = ENTROPY if by in (STRATIFIED, RANDOM) else by
    scores = of.stacked(f"{score}/{aggregation}").max(axis=1)
    if by == RANDOM:
        return scores, rng.permutation(len(scores))
    if by == STRATIFIED:
        return scores, stratified_ranking(scores, strata_of(of.stacked(HIGHEST)), power, rng)
    return scores, ranking(scores)


def _score(
    folder: Path,
    images: Sequence[PurePosixPath],
    record: ScoreRecord,
    believer: Believer,
    config: Config,
    workers: int | None,
) -> None:
    """Score what is not scored yet, a batch at a time; decoding runs ahead in threads."""
    left = [image for image in images if not record.is_done(image, folder / image)]
    if len(left) < len(images):
        log.info("%d of %d images are scored", len(images) - len(left), len(images))
    progress, done = CountProgress("scoring"), len(images) - len(left)
    size = 1 if getattr(config.data, "fit", "") == "tile" else config.evaluation.batch_size
    parts = [left[start : start + size] for start in range(0, len(left), size)]
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        for part in read_ahead(pool, parts, lambda image: read_seen(folder, image, config)):
            record.append(_scored(part, believer))
            done += len(part)
            progress(done, len(images))


def _scored(part: Sequence[ReadImage], believer: Believer) -> list[Scored]:
    good = [(read, read.pixels) for read in part if read.pixels is not None]
    rows = [Scored(r.image, 0, 0, r.error, np.empty(0)) for r in part if r.pixels is None]
    if good:
        images = torch.from_numpy(np.stack([pixels for _, pixels in good]))
        values = scores_of(*believer(images, [str(read.image) for read, _ in good])).cpu().numpy()
        rows += [
            Scored(read.image, read.size, read.modified_ns, "", row)
            for (read, _), row in zip(good, values, strict=True)
        ]
    return rows


class _Alike:
    """Which images look like which others, moved, turned or under another exposure; see near_pairs."""

    def __init__(self, folder: Path, images: Sequence[PurePosixPath], config: Config):
        self.folder, self.images, self.config = folder, images, config
        self.textures: dict[int, np.ndarray] = {}
        self.factor = 0.0

    def __call__(self, numbers: Sequence[int]) -> dict[int, list[int]]:
        for number in numbers:
            if number not in self.textures:
                pixels = read_as_trained(self.folder / self.images[number], self.config)
                self.factor = self.factor or SIDE / max(pixels.shape[:2])
                self.textures[number] = texture(pixels, self.factor)
        pairs, _ = near_pairs([self.textures[number] for number in numbers])
        found: dict[int, list[int]] = {}
        for pair in pairs:
            for one, other in ((pair.i, pair.j), (pair.j, pair.i)):
                found.setdefault(numbers[one], []).append(numbers[other])
        return found

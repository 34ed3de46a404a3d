"""`sbp data check`, `show` and `convert`: what a data set is, before anything is trained on it."""

import argparse
import csv
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from sbp.build.data import build_source
from sbp.config import Config, DiskData
from sbp.config.preflight import check_overrides
from sbp.data.audit import Finding, ImageFacts, find, near_pairs, read_all
from sbp.data.convert import TARGETS, convert
from sbp.data.disk.resize import Resizer
from sbp.data.disk.source import ListedSource, read_item
from sbp.data.source import SPLITS, Sample
from sbp.errors import UserError
from sbp.plots.contact_sheet import contact_sheet
from sbp.plots.style import save_png
from sbp.utils.progress import CountProgress

CELL = 128
"""Pixels of an image on a sheet."""
DETAILS = 5
"""Files named per finding on the terminal; the table has all."""


def main(arguments: Sequence[str]) -> int:
    """Run `check`, `show` or `convert`; returns the exit code: 1 if the check found errors."""
    parser = argparse.ArgumentParser("sbp data", description=__doc__)
    parser.add_argument("command", choices=("check", "show", "convert"))
    parser.add_argument(
        "overrides", nargs="*", metavar="FOLDER, KEY=VALUE", help="a folder, and keys as for train"
    )
    parser.add_argument("--out", type=Path, help="folder; default: data/NAME in the output folder")
    parser.add_argument("--images", type=int, default=8, help="show: images per row (default 8)")
    parser.add_argument(
        "--alike",
        type=float,
        help="check: correlation, above 0 and at most 1, from which two images show the same (default: found "
        "from the set; raise it where different parts look alike)",
    )
    parser.add_argument("--to", metavar="LAYOUT", help=f"convert: what to write, {', '.join(TARGETS)}")
    options = parser.parse_args(arguments)
    if options.command == "convert" and options.to not in TARGETS:
        raise UserError(f"sbp data convert --to {options.to}: must be one of {', '.join(TARGETS)}")
    if options.command != "convert" and options.to is not None:
        raise UserError(f"--to {options.to}: belongs to sbp data convert")
    if options.alike is not None and not 0 < options.alike <= 1:
        raise UserError(f"--alike {options.alike}: must be above 0 and at most 1")
    # a folder by itself is what people type first
    words = [word if "=" in word else f"data.root={word}" for word in options.overrides]
    plan = check_overrides(words)
    if len(plan.jobs) != 1:
        raise UserError("sbp data takes one data set, not a sweep")
    config = plan.jobs[0].config
    if config.task != "segmentation":
        raise UserError(f"data={config.data.name}: is for {config.task}; sbp data is for segmentation")
    root = getattr(config.data, "root", None)
    called = f"{config.data.name}-{Path(root).resolve().name}" if root else config.data.name
    out = options.out or Path(config.output_root) / "data" / called
    if options.command == "convert":
        return converted(config, options.to, options.out or out / options.to)
    out.mkdir(parents=True, exist_ok=True)
    if options.command == "show":
        print(f"sheet: {show(config, out / 'sheet.png', options.images)}")
        return 0
    return check(config, out, options.alike)


def show(config: Config, path: Path, columns: int = 8) -> Path:
    """Write a sheet: a row of healthy training images, then two per defect, bare above, annotated below."""
    source = build_source(config.data, config.output_root)
    if columns < 1:
        raise UserError(f"--images {columns}: must be at least 1")
    groups: dict[str, list[Sample]] = {name: [] for name in ("healthy", *source.defects)}
    # in an order spread over the set, until every group has enough or all images are seen
    for index in np.random.default_rng(0).permutation(source.lengths()["train"]):
        if all(len(found) >= columns for found in groups.values()):
            break
        sample = source.sample("train", int(index))
        held = [defect for defect, there in zip(source.defects, sample.labels, strict=True) if there]
        for name in held or ["healthy"]:
            groups[name].append(sample)
    first = next(found[0] for found in groups.values() if found)
    empty = Sample(np.full_like(first.image, 255), np.zeros_like(first.masks), None, "")
    cells = []
    for name, found in groups.items():
        row = [*found[:columns], *[empty] * (columns - len(found))]
        for masked in (False,) if name == "healthy" else (False, True):
            cells += [(s.image, s.masks if masked else empty.masks, Path(s.name).stem) for s in row]
    images, masks, titles = zip(*cells, strict=True)
    scale = max(1, CELL // max(first.image.shape[:2]))
    save_png(contact_sheet(images, masks, titles, source.defects, columns, scale), path)
    return path


def check(config: Config, out: Path, alike: float | None = None) -> int:
    """Read everything once, print counts, findings and a verdict; writes images.csv, findings.txt and, if
    there is something to look at, findings.png. Returns 1 if there are errors."""
    data = _disk_data(config)
    # all that cannot be read is to be named, not the first alone
    source = _listed(replace(data, on_bad="skip"), config.output_root)
    items, splits, reading = source.listing.items, source.splits_of, source.reading
    facts = read_all(items, source.defects, reading, CountProgress("reading"))
    known = [k for k, fact in enumerate(facts) if fact.texture is not None]
    near, threshold = near_pairs([t for f in facts if (t := f.texture) is not None], threshold=alike)
    near = [replace(pair, i=known[pair.i], j=known[pair.j]) for pair in near]
    findings = find(items, splits, source.defects, facts, near, data.on_bad == "skip", reading.exif)
    if source.listing.about:
        print(f"{data.root}: {source.listing.about}\n")
    print(counts_table(source, facts))
    print(f"\n{len(near)} pairs of images show the same (correlation of {threshold:.2f} or more)")
    print("\n".join(_lines(findings, DETAILS)))
    (out / "findings.txt").write_text("\n".join(_lines(findings, None)) + "\n", encoding="utf-8")
    _write_table(source, facts, out / "images.csv")
    print(f"\nevery image:    {out / 'images.csv'}\nevery finding:  {out / 'findings.txt'}")
    if sheet := _findings_sheet(source, facts, findings, out / "findings.png"):
        print(f"to look at:     {sheet}")
    errors = sum(finding.severity == "error" for finding in findings)
    print(f"\n{verdict(errors, len(findings) - errors)}")
    return 1 if errors else 0


def converted(config: Config, target: str, out: Path) -> int:
    """Write the data set in another layout, and say how to read it."""
    source = _listed(_disk_data(config), config.output_root)
    words = convert(source, target, out, CountProgress("converting"))
    print(f"written: {out}\ncheck it: sbp data check {shlex.join(words)}")
    return 0


def _disk_data(config: Config) -> DiskData:
    if not isinstance(config.data, DiskData):
        raise UserError(f"data={config.data.name}: is generated; name a folder of images, data.root=FOLDER")
    return config.data


def _listed(data: DiskData, output_root: str) -> ListedSource:
    source = build_source(data, output_root)
    assert isinstance(source, ListedSource)
    return source


def verdict(errors: int, warnings: int) -> str:
    """The last line."""
    if errors:
        return f"ERROR: training on this would be wrong, see {errors} error{'s' * (errors > 1)} above"
    return f"GOOD: fit to train on, {warnings} to look at" if warnings else "GOOD: fit to train on"


def counts_table(source: ListedSource, facts: Sequence[ImageFacts]) -> str:
    """Images, groups, healthy images and, per defect, images and share of pixels, by split."""
    rows = [["split", "images", "groups", "healthy", *source.defects]]
    for split in SPLITS:
        members = [k for k, s in enumerate(source.splits_of) if s == split and not facts[k].error]
        pixels = np.array([facts[k].pixels for k in members]).reshape(-1, len(source.defects))
        area = max(1, sum(facts[k].height * facts[k].width for k in members))
        groups = len({source.listing.items[k].group for k in members})
        cells = [split, len(members), groups, int((~pixels.any(axis=1)).sum())]
        cells += [f"{(p > 0).sum()} ({p.sum() / area:.3%})" for p in pixels.T]
        rows.append([str(cell) for cell in cells])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(cell.rjust(w) for cell, w in zip(row, widths, strict=True)) for row in rows)


def _lines(findings: Sequence[Finding], details: int | None) -> list[str]:
    lines = []
    for finding in findings:
        lines.append(f"\n{finding.severity.upper()}  {finding.text}")
        lines += [f"    {line}" for line in finding.details[:details]]
        if details is not None and len(finding.details) > details:
            lines.append(f"    ... and {len(finding.details) - details} more")
    return lines


def _write_table(source: ListedSource, facts: Sequence[ImageFacts], path: Path) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["name", "group", "split", "height", "width", *source.defects, "error"])
        for item, split, fact in zip(source.listing.items, source.splits_of, facts, strict=True):
            pixels = fact.pixels or [""] * len(source.defects)
            writer.writerow([item.name, item.group, split, fact.height, fact.width, *pixels, fact.error])


def _findings_sheet(
    source: ListedSource, facts, findings: Sequence[Finding], path: Path, rows: int = 8
) -> Path | None:
    """Up to `rows` pairs or images of each finding, pairs side by side."""
    resizer, reading = Resizer(CELL, CELL, "pad"), source.reading
    cells = []
    for number, finding in enumerate(findings, 1):
        for k in [k for pair in finding.pairs[:rows] for k in pair] or finding.images[: 2 * rows]:
            if not facts[k].error:
                item = source.listing.items[k]
                image, masks, void = read_item(item, source.defects, reading)
                title = f"{number}: {source.splits_of[k]} {Path(item.name).stem}"
                cells.append((resizer.image(image), resizer.masks(masks, void), title))
    if not cells:
        path.unlink(missing_ok=True)  # of an earlier check
        return None
    images, masks, titles = zip(*cells, strict=True)
    save_png(contact_sheet(images, masks, titles, source.defects, columns=8, scale=1), path)
    return path

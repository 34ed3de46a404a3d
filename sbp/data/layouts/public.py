"""Public sets in their published layouts. Sources, licences and counts: docs/data.md."""

from collections.abc import Sequence
from pathlib import Path

from sbp.data.disk.annotations import Mark, MaskFile, RunLengths
from sbp.data.disk.listing import Item, Listing
from sbp.data.layouts.files import by_stem, checked_root, expect_some, images_in, inside, rows_of, subfolders
from sbp.errors import UserError

SEVERSTAL = (
    "expected are train.csv and train_images/ of Kaggle's 'Severstal: Steel Defect Detection' "
    "(kaggle competitions download -c severstal-steel-defect-detection)"
)
KOLEKTOR = "expected are folders kos01 ... kos50 with Part0.jpg and Part0_label.bmp (vicos.si, KolektorSDD)"
KOLEKTOR2 = "expected are train/ and test/ with 10000.png and 10000_GT.png (vicos.si, KolektorSDD2)"
DAGM = (
    "expected are folders Class1 ... Class10 with Train/0001.PNG, Test/0001.PNG and, for defective images, "
    "Train/Label/0001_label.PNG (DAGM 2007, hci.iwr.uni-heidelberg.de)"
)
MVTEC = (
    "expected are CATEGORY/train/good, CATEGORY/test/DEFECT/000.png and "
    "CATEGORY/ground_truth/DEFECT/000_mask.png (mvtec.com, MVTec AD)"
)
VISA = (
    "expected are split_csv/2cls_highshot.csv with the columns object, split, label, image, mask, and the "
    "images it names (github.com/amazon-science/spot-diff, VisA)"
)


def list_severstal(root: str | None, defects: Sequence[str]) -> Listing:
    """Steel strips of 256 x 1600 pixels with defects class1 to class4; those not in `defects` leave their
    images out. Both forms of train.csv are read: ImageId, ClassId, EncodedPixels, and the older
    ImageId_ClassId, EncodedPixels. Raises UserError."""
    path = checked_root(root, SEVERSTAL, ("train_images",))
    marks: dict[str, dict[str, list[Mark]]] = {}
    for where, row in rows_of(inside(path, "train.csv", "data.root")):
        name, number = _severstal_key(row, where)
        if "EncodedPixels" in row:
            runs = RunLengths(row["EncodedPixels"], where)
            marks.setdefault(name, {}).setdefault(f"class{number}", []).append(runs)
    images = {image.name: image for image in images_in(path / "train_images")}
    expect_some(list(images), path / "train_images", SEVERSTAL)
    for name in marks:
        if name not in images:
            raise UserError(f"train.csv: {name} is not in {path / 'train_images'}")
    _expect_defects(defects, [f"class{k}" for k in range(1, 5)])
    items = [
        Item(name, image, {d: tuple(m) for d, m in held.items()}, name, None, tuple(held))
        for name, image in images.items()
        if set(held := marks.get(name, {})) <= set(defects)
    ]
    return Listing(path, tuple(defects), items)


def _severstal_key(row: dict[str, str], where: str) -> tuple[str, str]:
    if "ImageId_ClassId" in row:
        name, _, number = row["ImageId_ClassId"].rpartition("_")
    else:
        name, number = row.get("ImageId", ""), row.get("ClassId", "")
    if not name or number not in ("1", "2", "3", "4"):
        raise UserError(f"{where}: needs ImageId and a ClassId of 1 to 4 (or ImageId_ClassId)")
    return name, number


def list_kolektor_sdd(root: str | None, defects: Sequence[str]) -> Listing:
    """KolektorSDD: commutators, photographed in parts; one defect, split by commutator. Raises UserError."""
    path = checked_root(root, KOLEKTOR)
    _expect_defects(defects, ["defect"])
    items = []
    for folder in subfolders(path):
        for image in images_in(path / folder, (".jpg",)):
            mask = _expected_mask(image.with_name(f"{image.stem}_label.bmp"), image)
            items.append(Item(f"{folder}/{image.stem}", image, _marks(defects, mask), folder))
    expect_some(items, path, KOLEKTOR)
    return Listing(path, tuple(defects), items)


def list_kolektor_sdd2(root: str | None, defects: Sequence[str]) -> Listing:
    """KolektorSDD2, with its own training and test splits; files called "(copy)" are passed over. Raises
    UserError."""
    path = checked_root(root, KOLEKTOR2, ("train", "test"))
    _expect_defects(defects, ["defect"])
    items = []
    for split in ("train", "test"):
        found = by_stem(p for p in images_in(path / split, (".png",)) if "(copy)" not in p.stem)
        for stem, image in found.items():
            if not stem.endswith("_GT"):
                mask = _expected_mask(image.with_name(f"{stem}_GT.png"), image)
                items.append(Item(f"{split}/{stem}", image, _marks(defects, mask), f"{split}/{stem}", split))
    expect_some(items, path, KOLEKTOR2)
    return Listing(path, tuple(defects), items)


def list_dagm(root: str | None, defects: Sequence[str]) -> Listing:
    """DAGM 2007: ten textures, each with a defect of its own, class1 to class10, weakly marked by ellipses;
    with its own training and test splits. Only the textures of `defects` are read. Raises UserError."""
    path = checked_root(root, DAGM)
    _expect_defects(defects, [f"class{k}" for k in range(1, 11)])
    items: list[Item] = []
    for defect in defects:
        name = f"Class{defect.removeprefix('class')}"
        for split in ("Train", "Test"):
            folder = checked_root(str(path), DAGM, (f"{name}/{split}",)) / name / split
            images = images_in(folder, (".png",))
            expect_some(images, folder, DAGM)
            labels = by_stem(images_in(folder / "Label", (".png",))) if (folder / "Label").is_dir() else {}
            stems = {f"{image.stem}_label" for image in images}
            for stem, label in labels.items():
                if stem not in stems:
                    raise UserError(f"{label}: there is no image of that name in {folder}")
            items += [_dagm_item(image, labels, defect, f"{name}/{split}", split.lower()) for image in images]
    return Listing(path, tuple(defects), items)


def _dagm_item(image: Path, labels: dict[str, Path], defect: str, folder: str, split: str) -> Item:
    label = labels.get(f"{image.stem}_label")
    marks = {defect: (MaskFile(label),)} if label else {}
    name = f"{folder}/{image.stem}"
    return Item(name, image, marks, name, split, (defect,) if label else ())


def list_mvtec_ad(root: str | None, defects: Sequence[str], *, category: str) -> Listing:
    """One category of MVTec AD. Its training split holds no defect, so that all images are split anew.
    Defects that are not in `defects` leave their images out. Raises UserError."""
    path = checked_root(root, MVTEC, (f"{category}/train/good", f"{category}/test"))
    folder = path / category
    there = [name for name in subfolders(folder / "test") if name != "good"]
    _expect_defects(defects, there)
    healthy = [(f"train/good/{i.stem}", i) for i in images_in(folder / "train" / "good")]
    if (folder / "test" / "good").is_dir():
        healthy += [(f"test/good/{i.stem}", i) for i in images_in(folder / "test" / "good")]
    items = [Item(name, image, {}, name) for name, image in healthy]
    for defect in defects:
        for image in images_in(folder / "test" / defect):
            mask = _expected_mask(folder / "ground_truth" / defect / f"{image.stem}_mask.png", image)
            name = f"test/{defect}/{image.stem}"
            items.append(Item(name, image, {defect: (MaskFile(mask),)}, name, None, (defect,)))
    expect_some(items, folder, MVTEC)
    return Listing(path, tuple(defects), items)


def list_visa(
    root: str | None, defects: Sequence[str], *, category: str, table: str = "2cls_highshot"
) -> Listing:
    """One object of VisA with the splits of split_csv/`table`.csv; any value of a mask above 0 marks the
    defect, which has no name. Raises UserError."""
    path = checked_root(root, VISA, ("split_csv",))
    _expect_defects(defects, ["anomaly"])
    items, objects = [], set()
    for where, row in rows_of(inside(path, f"split_csv/{table}.csv", "data.table")):
        for column in ("object", "split", "label", "image"):
            if column not in row:
                raise UserError(f"{where}: has no {column}; {VISA}")
        objects.add(row["object"])
        if row["object"] == category:
            items.append(_visa_item(path, row, defects[0], where))
    if not items:
        there = ", ".join(sorted(objects)) or "nothing"
        raise UserError(f"data.category={category}: {table}.csv has {there}")
    return Listing(path, tuple(defects), items)


def _visa_item(root: Path, row: dict[str, str], defect: str, where: str) -> Item:
    image, marks = inside(root, row["image"], where), {}
    if "mask" in row:
        marks = {defect: (MaskFile(inside(root, row["mask"], where), None, 0),)}
    elif row["label"] != "normal":
        raise UserError(f"{where}: {row['image']} is {row['label']} but has no mask")
    return Item(row["image"], image, marks, row["image"], row["split"], tuple(marks))


def _marks(defects: Sequence[str], mask: Path) -> dict[str, tuple[Mark, ...]]:
    return {defects[0]: (MaskFile(mask),)}


def _expected_mask(mask: Path, image: Path) -> Path:
    if not mask.is_file():
        raise UserError(f"{image}: has no mask, {mask} is expected")
    return mask


def _expect_defects(defects: Sequence[str], there: Sequence[str]) -> None:
    for defect in defects:
        if defect not in there:
            raise UserError(f"data.defects={defect}: must be any of {', '.join(there)}")

"""`sbp data check`: leaks, duplicates, contradictions and files that cannot be trusted; `sbp data show`."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from sbp.cli.data import main, verdict
from sbp.config import register_schemas
from sbp.config.paths import register_resolvers
from sbp.data.audit import near_pairs
from sbp.data.audit.fingerprints import exact_hash, texture
from sbp.errors import UserError
from tests.data.test_own_data import save
from tests.processes import command

register_schemas()
register_resolvers()
SIZE = 96


def surface(seed: int, size: int = SIZE) -> np.ndarray:
    """A rough surface of its own: (H, W) uint8."""
    noise = np.random.default_rng(seed).normal(0, 1, (size, size)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2.0) * 120 + cv2.GaussianBlur(noise, (0, 0), 6.0) * 240
    return np.clip(128 + smooth, 0, 255).astype(np.uint8)


def darker(image: np.ndarray) -> np.ndarray:
    """The same under less light from one side, with noise of its own."""
    light = np.linspace(0.35, 0.8, image.shape[1])
    noise = np.random.default_rng(7).normal(0, 3, image.shape)
    return np.clip(image * light + 10 + noise, 0, 255).astype(np.uint8)


def mask(size: int = SIZE) -> np.ndarray:
    mask = np.zeros((size, size), np.uint8)
    mask[10:20, 30:50] = 255
    return mask


def write_set(root: Path, parts: int = 24) -> Path:
    """Two photographs of each part, a few pixels apart and otherwise lit; a scratch on every third part."""
    for part in range(parts):
        whole = surface(part, SIZE + 8)
        for view, image in (("a", whole[:SIZE, :SIZE]), ("b", darker(whole[6 : SIZE + 6, 4 : SIZE + 4]))):
            save(root / "images" / f"part{part:02}_{view}.png", image)
            if part % 3 == 0:
                save(root / "masks" / "scratch" / f"part{part:02}_{view}.png", mask())
    return root


@pytest.fixture
def root(tmp_path) -> Path:
    return write_set(tmp_path / "set")


@pytest.fixture
def check(tmp_path, monkeypatch, capsys):
    """Runs `sbp data check` on a folder; returns exit code and what was printed."""
    monkeypatch.setenv("SBP_OUTPUT", str(tmp_path / "outputs"))

    def run(root: Path, *overrides: str) -> tuple[int, str]:
        arguments = ["check", "data=masks", f"data.root={root}", "data.defects=[scratch]", *overrides]
        code = main([*arguments, "--out", str(tmp_path / "report")])
        return code, capsys.readouterr().out

    return run


BY_PART = r"data.group='part\d+'"


def test_a_split_by_part_passes_and_a_random_one_is_flagged(root, check):
    code, said = check(root, BY_PART)
    assert (code, said.strip().splitlines()[-1]) == (0, "GOOD: fit to train on")
    assert "24 pairs of images show the same" in said
    code, said = check(root)
    assert code == 1
    assert "pairs of images in different splits are photographs of the same" in said
    assert "ERROR: training on this would be wrong" in said


def test_counts_are_per_split_and_defect(root, check):
    _, said = check(root, BY_PART)
    rows = {
        line.split()[0]: line.split()
        for line in said.splitlines()
        if line.strip()[:4] in ("trai", "val ", "test")
    }
    assert sum(int(row[1]) for row in rows.values()) == 48
    assert sum(int(row[2]) for row in rows.values()) == 24
    assert sum(int(row[4]) for row in rows.values()) == 16
    assert rows["train"][5] == f"({int(rows['train'][4]) * 200 / (int(rows['train'][1]) * SIZE**2):.3%})"


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
@pytest.mark.parametrize("flipped", [False, True])
def test_turned_and_flipped_photographs_are_found(turns, flipped):
    images = [surface(k) for k in range(12)]
    view = darker(images[5])
    view = np.rot90(view[:, ::-1] if flipped else view, turns)
    pairs, _ = near_pairs([texture(np.ascontiguousarray(i)[:, :, None], 1.0) for i in [*images, view]])
    assert [pair.numbers for pair in pairs] == [(5, 12)]
    assert any(pairs[0].view.orientation) == (turns > 0 or flipped)


def test_parts_that_look_alike_by_design_are_not_taken_for_the_same():
    """Photographs of one product in one position share most of what they show."""
    common = surface(0).astype(np.float32)
    images = [np.clip(common + 0.5 * (surface(k).astype(np.float32) - 128), 0, 255) for k in range(1, 25)]
    images = [image.astype(np.uint8) for image in images]
    again = darker(images[3])
    pairs, threshold = near_pairs([texture(image[:, :, None], 1.0) for image in [*images, again]])
    assert threshold > 0.7
    assert (3, 24) in [pair.numbers for pair in pairs]
    assert len(pairs) <= 2


def test_parts_with_like_defects_are_not_taken_for_the_same(tmp_path, check):
    """The same dark dot in smooth parts is what they have in common, and is annotated."""
    for part in range(24):
        image = cv2.GaussianBlur(surface(part), (0, 0), 3)
        if part % 3 == 0:
            dot = cv2.circle(np.zeros((SIZE, SIZE), np.uint8), (40 + part % 5, 44), 7, 255, -1)
            image[dot > 0] = 10
            save(tmp_path / "set" / "masks" / "scratch" / f"part{part:02}.png", dot)
        save(tmp_path / "set" / "images" / f"part{part:02}.png", image)
    code, said = check(tmp_path / "set")
    assert (code, said.strip().splitlines()[-1]) == (0, "GOOD: fit to train on")


def test_how_alike_counts_as_the_same_can_be_said(root, check):
    code, said = check(root, "--alike", "1")
    assert (code, said.strip().splitlines()[-1]) == (0, "GOOD: fit to train on")
    with pytest.raises(UserError, match=r"--alike 2\.0: must be above 0 and at most 1"):
        check(root, "--alike", "2")


def test_groups_in_several_splits_of_ones_own_are_named(root, check):
    rows = ["image,mask,defect,split,group"]
    for part in range(24):
        split = ("train", "val", "test")[part // 3 % 3]
        for view in "ab":
            name = f"part{part:02}_{view}.png"
            held = f"masks/scratch/{name},scratch" if part % 3 == 0 else ","
            rows.append(f"images/{name},{held},{'test' if (part, view) == (1, 'b') else split},lot {part}")
    (root / "table.csv").write_text("\n".join(rows))
    code, said = check(root, "data=table")
    assert code == 1
    assert "1 groups lie in more than one split" in said
    assert "lot 1: test, train" in said


def test_images_that_are_to_be_shown_rotated_are_named(root, check):
    from PIL import Image

    path = root / "images" / "part01_a.png"
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(path) as image:
        image.load()
        image.save(path, exif=exif)
    code, said = check(root, BY_PART)
    assert code == 0
    assert "1 images say (EXIF) that they are to be shown rotated and are read as they are stored" in said


def test_plain_images_have_nothing_to_recognise():
    flat = [np.full((SIZE, SIZE, 1), value, np.uint8) for value in (10, 10, 200)]
    assert near_pairs([texture(image, 1.0) for image in flat])[0] == []


def test_exact_copies_are_found_in_every_orientation():
    image = surface(3)[:, :70, None]
    for other in (image, image[::-1], np.rot90(image), np.rot90(image[:, ::-1], 3)):
        (digest, laid), (expected, as_it_is) = exact_hash(other), exact_hash(image)
        assert digest == expected
        np.testing.assert_array_equal(laid.apply(other), as_it_is.apply(image))
    assert exact_hash(surface(4)[:, :70, None])[0] != exact_hash(image)[0]


def grey(path: Path) -> np.ndarray:
    return cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)


def test_equal_images_with_other_annotations_contradict_each_other(root, check):
    save(root / "images" / "part01_copy.png", grey(root / "images" / "part00_a.png"))
    code, said = check(root, BY_PART)
    assert code == 1
    assert "1 pairs of equal images are annotated differently" in said
    assert "scratch is annotated in part00_a, not in part01_copy" in said


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_rotated_copy_contradicts_if_its_annotation_lies_elsewhere(root, check, elsewhere):
    turned = np.rot90(grey(root / "images" / "part00_a.png")[:, ::-1])
    mark = np.rot90(mask()[:, ::-1])
    save(root / "images" / "part00_turned.png", turned)
    save(root / "masks" / "scratch" / "part00_turned.png", mark[:, ::-1] if elsewhere else mark)
    code, said = check(root, BY_PART)
    assert code == int(elsewhere)
    assert ("scratch is annotated in part00_a, not in part00_turned" in said) == elsewhere
    assert ("scratch is annotated in part00_turned, not in part00_a" in said) == elsewhere


def test_a_photograph_whose_annotation_is_missing_contradicts_the_others_of_its_part(root, check, tmp_path):
    (root / "masks" / "scratch" / "part03_b.png").unlink()
    code, said = check(root, BY_PART)
    assert code == 0  # it may be that the defect cannot be seen under that light
    assert (
        "1 pairs of photographs of the same are annotated differently: an annotation may be missing in 1"
        in said
    )
    assert "scratch is annotated in part03_a, not in part03_b" in said
    assert (tmp_path / "report" / "findings.png").is_file()


def test_a_defect_that_only_one_photograph_shows_is_no_contradiction(root, check):
    """Where the parts' photographs do not overlap, nobody can tell."""
    mark = np.zeros((SIZE, SIZE), np.uint8)
    mark[:3, :40] = 255  # in view a alone: view b begins 6 pixels below
    for part in (1, 2):
        save(root / "masks" / "scratch" / f"part{part:02}_a.png", mark)
    code, said = check(root, BY_PART)
    assert (code, said.strip().splitlines()[-1]) == (0, "GOOD: fit to train on")


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
@pytest.mark.parametrize("flipped", [False, True])
def test_masks_are_laid_on_each_other_as_the_photographs_are(turns, flipped):
    whole = [surface(k, SIZE + 8) for k in range(12)]
    place = np.zeros((SIZE + 8, SIZE + 8), bool)
    place[40:52, 20:34] = True
    view = darker(whole[5])[5 : SIZE + 5, 3 : SIZE + 3]
    there = place[5 : SIZE + 5, 3 : SIZE + 3]
    view, there = (np.rot90(a[:, ::-1] if flipped else a, turns) for a in (view, there))
    images = [*(image[:SIZE, :SIZE] for image in whole), view]
    pairs, _ = near_pairs([texture(np.ascontiguousarray(i)[:, :, None], 1.0) for i in images])
    assert len(pairs) == 1
    first, second = (place[:SIZE, :SIZE], there) if pairs[0].i == 5 else (there, place[:SIZE, :SIZE])
    laid, seen = pairs[0].view.onto(second, (SIZE, SIZE))
    np.testing.assert_array_equal(laid, first)
    assert 0.8 < seen.mean() < 1


def test_what_is_labelled_as_defective_with_an_empty_annotation_is_named(tmp_path, check, root):
    rows = ["image,mask,defect,group"]
    for part in range(24):
        for view in "ab":
            name = f"part{part:02}_{view}.png"
            held = f"masks/scratch/{name},scratch" if part % 3 == 0 else ","
            rows.append(f"images/{name},{held},{part}")
    (root / "table.csv").write_text("\n".join(rows))
    for view in "ab":
        save(root / "masks" / "scratch" / f"part03_{view}.png", np.zeros((SIZE, SIZE), np.uint8))
    code, said = check(root, "data=table")
    assert code == 0
    assert "2 images are labelled as defective, with an empty annotation: they train as healthy" in said
    assert "images/part03_a.png: scratch" in said
    assert "GOOD: fit to train on, 1 to look at" in said
    assert (tmp_path / "report" / "findings.png").is_file()


def test_every_bad_file_is_named_at_once(root, check, tmp_path):
    (root / "images" / "part01_a.png").write_bytes(b"")
    save(root / "masks" / "scratch" / "part03_a.png", mask(SIZE + 1))
    (root / "masks" / "scratch" / "part06_b.png").write_bytes(b"no mask")
    code, said = check(root, BY_PART)
    assert code == 1
    assert "3 images cannot be used: mend them, or leave their images out with data.on_bad=skip" in said
    assert "part01_a.png: is empty (0 bytes)" in said
    assert "part06_b.png: is cut off or not a png file" in said
    assert "part03_a.png: the mask has 97 x 97 pixels, its image 96 x 96" in said
    assert "part01_a.png" in (tmp_path / "report" / "findings.txt").read_text()
    code, said = check(root, BY_PART, "data.on_bad=skip")
    assert code == 0
    assert "they are skipped" in said


def test_a_defect_that_a_split_lacks_is_named(root, check):
    for path in (root / "masks" / "scratch").glob("part*"):
        if not path.stem.startswith(("part00", "part03")):
            path.unlink()
    code, said = check(root, BY_PART)
    assert code == 0
    assert "scratch: no image in test holds it, it cannot be measured" in said


def test_the_table_has_every_image(root, check, tmp_path):
    check(root, BY_PART)
    lines = (tmp_path / "report" / "images.csv").read_text().splitlines()
    assert lines[0] == "name,group,split,height,width,scratch,error"
    assert len(lines) == 49
    assert any(line.startswith("part00_a,part00,") and line.endswith(",96,96,200,") for line in lines)


def test_show_draws_a_row_bare_and_a_row_annotated(root, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SBP_OUTPUT", str(tmp_path / "outputs"))
    arguments = ["data=masks", f"data.root={root}", "data.defects=[scratch]", "data.image_size=64"]
    assert main(["show", *arguments, "--images", "4", "--out", str(tmp_path)]) == 0
    sheet = cv2.imread(str(tmp_path / "sheet.png"))
    assert sheet.shape[0] > 3 * 128  # healthy, scratch, scratch with outlines
    assert sheet.shape[1] > 4 * 128
    assert "sheet.png" in capsys.readouterr().out


def test_show_draws_the_synthetic_images(tmp_path, capsys):
    arguments = ["data=inspection", "scale=smoke", "--images", "3", "--out", str(tmp_path / "deep")]
    assert main(["show", *arguments]) == 0
    sheet = cv2.imread(str(tmp_path / "deep" / "sheet.png"))
    assert sheet.shape[0] > 5 * 128  # healthy, and two rows for each of two defects
    assert len(np.unique(sheet.reshape(-1, 3), axis=0)) > 100
    assert capsys.readouterr().out.strip().endswith("sheet.png")


def test_the_command_says_mistakes_in_one_line_and_has_its_exit_codes(root, tmp_path):
    def run(*arguments: str):
        return command("data", *arguments, output=tmp_path)

    wrong = run("check", "data=masks", f"data.root={root}", "data.defects=[rust]")
    assert wrong.returncode == 2
    assert wrong.stderr.count("\n") == 1
    assert "data.defects=rust" in wrong.stderr
    assert run("check", "data=inspection").returncode == 2
    for words, line in (
        (("check", "nowhere"), "sbp: data.root=nowhere: no such folder; expected is a folder of images"),
        (("convert", str(root)), "sbp: sbp data convert --to None: must be one of masks, coco, labelme"),
        (("convert", str(root), "--to", "yolo"), "sbp: sbp data convert --to yolo: must be one of masks"),
    ):
        done = run(*words)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert done.stderr.startswith(line)
    empty = run("check", "data=masks")
    assert empty.returncode == 2
    assert "data.root is not set: expected are images/NAME.png" in empty.stderr


@pytest.mark.parametrize(
    ("errors", "warnings", "line"),
    [
        (0, 0, "GOOD: fit to train on"),
        (0, 2, "GOOD: fit to train on, 2 to look at"),
        (1, 5, "ERROR: training on this would be wrong, see 1 error above"),
        (2, 0, "ERROR: training on this would be wrong, see 2 errors above"),
    ],
)
def test_the_verdict(errors, warnings, line):
    assert verdict(errors, warnings) == line


def test_the_first_cause_is_said_where_no_mask_can_be_read(root, tmp_path):
    """Painted red instead of white: that is the mistake, not that no image holds the defect."""
    for path in (root / "masks" / "scratch").glob("*.png"):
        red = np.zeros((SIZE, SIZE, 3), np.uint8)
        red[10:20, 30:50] = (0, 0, 255)
        save(path, red)
    done = command("data", "check", "data=masks", f"data.root={root}", output=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "is a colour image (#000000, #ff0000): say what its colours mean with data.colours=" in done.stderr
    values = "data.colours={scratch: '#ff0000'}"
    for path in (root / "masks" / "scratch").glob("*.png"):
        path.rename(root / "masks" / path.name)
    (root / "masks" / "scratch").rmdir()
    done = command("data", "check", "data=masks", f"data.root={root}", values, BY_PART, output=tmp_path)
    assert done.stdout.strip().endswith("GOOD: fit to train on")

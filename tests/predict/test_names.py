"""What predictions are called: by the image's stem where that is its own, and never two alike."""

import errno
import os
import unicodedata
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbp.errors import UserError
from sbp.predict.names import images_below, output_names


def named(*images: str, taken: tuple[str, ...] = ()) -> dict[str, str]:
    names = output_names(map(PurePosixPath, images), [PurePosixPath(path) for path in taken])
    return {str(image): str(output) for image, output in names.items()}


def test_an_image_is_called_by_its_stem_where_no_other_is():
    assert named("a.jpg", "b.tif", "sub/a.png") == {
        "a.jpg": "a.png",
        "b.tif": "b.png",
        "sub/a.png": "sub/a.png",
    }


@pytest.mark.parametrize(
    ("images", "outputs"),
    [
        (["p.jpg", "p.png"], ["p.jpg.png", "p.png.png"]),
        (["P.TIF", "p.jpg"], ["P.TIF.png", "p.jpg.png"]),
        (["a.jpg", "a.png", "a.png.bmp"], ["a.jpg.png", "a.png.png", "a.png.bmp.png"]),
        (["P.png", "p.PNG"], ["P.png.png", "p.PNG~2.png"]),
        (["A/x.png", "a/x.png"], ["A/x.png.png", "a/x.png~2.png"]),
        (["größer.png", unicodedata.normalize("NFD", "größer.jpg")], None),
        (["a.bmp", "a.png/b.bmp"], ["a.bmp.png", "a.png/b.png"]),
    ],
)
def test_where_stems_are_alike_the_whole_name_counts(images, outputs):
    names = named(*images)
    assert list(names.values()) == (outputs or [f"{image}.png" for image in sorted(images)])


def test_the_names_of_images_that_are_gone_stay_theirs():
    assert named("part1.png", taken=("part1.png",)) == {"part1.png": "part1.png.png"}
    assert named("part1.png", taken=("part1.png", "part1.png.png")) == {"part1.png": "part1.png~2.png"}


def test_names_as_long_as_they_may_be_fit_and_differ():
    images = [f"{'x' * 247}{n}.{suffix}" for n in range(3) for suffix in ("png", "bmp")]
    outputs = list(named(*images).values())
    assert len(set(outputs)) == 6
    assert max(len(output + ".tmp") for output in outputs) <= 255


PART = st.text(st.sampled_from("aAäß~.2\u0308"), min_size=1, max_size=4).filter(lambda text: text[0] != ".")
NAME = st.builds("{}{}".format, PART, st.sampled_from([".png", ".PNG", ".bmp", ".png.bmp", ".jpg", "~2.png"]))
IMAGE = st.builds(
    "/".join, st.builds(lambda folders, name: [*folders, name], st.lists(NAME, max_size=2), NAME)
)


def folded(path: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


@given(st.sets(IMAGE, max_size=12), st.sets(IMAGE, max_size=3), st.randoms())
def test_no_two_names_coincide_and_the_order_does_not_matter(images, taken, random):
    taken = {path + ".png" for path in taken}
    names = named(*images, taken=tuple(taken))
    outputs = {folded(output) for output in names.values()}
    assert len(outputs) == len(images)
    assert not outputs & set(map(folded, taken))
    folders = {folded(str(folder)) for path in (*images, *taken) for folder in PurePosixPath(path).parents}
    assert not outputs & folders
    shuffled = sorted(images)
    random.shuffle(shuffled)
    assert named(*shuffled, taken=tuple(taken)) == names
    for image, output in names.items():
        assert PurePosixPath(image).parent == PurePosixPath(output).parent


def test_subfolders_are_looked_into_but_for_hidden_ones_and_the_output(tmp_path):
    for name in (
        "b.PNG",
        "a/c.tif",
        "a/deep/d.jpg",
        ".hidden/e.png",
        "._f.png",
        "notes.txt",
        "out/masks/g.png",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = images_below(tmp_path, [tmp_path / "a" / ".." / "out", Path("elsewhere")])
    assert list(map(str, found)) == ["a/c.tif", "a/deep/d.jpg", "b.PNG"]


def test_a_subfolder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    (tmp_path / "locked").mkdir()
    real = os.scandir

    def refusing(path):
        if Path(path) == tmp_path / "locked":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(UserError, match=r"locked: cannot be read \(Permission denied\)"):
        images_below(tmp_path)

"""Aggregations against written-out small loss maps, and as properties."""

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch.nn import functional as F

from sbp.selection import (
    AGGREGATIONS,
    MaskDefectBorders,
    Max,
    Mean,
    MinDefectsMaxBackground,
    Shift,
    Softmin,
    TopKMean,
)
from sbp.selection.aggregation import connected_zones, largest_zone_minimum

quick = settings(max_examples=30, deadline=None, database=None, derandomize=True)


def channel(rows: list[list[float]]) -> torch.Tensor:
    """One image with one defect channel, (1, 1, H, W)."""
    return torch.tensor(rows, dtype=torch.float32)[None, None]


def drawing(text: str) -> torch.Tensor:
    """(H, W) bool from lines of `#` (True) and `.` (False)."""
    return torch.tensor([[mark == "#" for mark in line] for line in text.split()])


def mask(text: str) -> torch.Tensor:
    """A target of one image and channel, (1, 1, H, W) float, from a drawing."""
    return drawing(text).float()[None, None]


LOSS = channel([[1.0, 2.0, 8.0], [0.5, 4.0, 3.0]])
NO_TARGET = torch.zeros(1, 1, 2, 3)
ALL_TARGET = torch.ones(1, 1, 2, 3)
SCHEMES = [Max(), Mean(), TopKMean(k=2), MinDefectsMaxBackground(), MinDefectsMaxBackground(per_zone=True)]
SCHEMES += [MaskDefectBorders(1), Shift()]


def test_softmin_by_hand():
    p = np.exp(-LOSS.double().numpy().ravel())
    weight = np.exp((1 - p) / 0.1)
    expected = -np.log((p * weight / weight.sum()).sum())
    assert Softmin(0.1)(LOSS, NO_TARGET).tolist() == [[pytest.approx(expected, rel=1e-5)]]


def test_softmin_lies_between_the_largest_loss_and_that_of_the_mean_probability():
    mean = -np.log(np.exp(-LOSS.numpy()).mean())
    scores = [Softmin(t)(LOSS, NO_TARGET).item() for t in (1e-4, 0.01, 0.1, 1.0, 1e4)]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] == pytest.approx(8.0, rel=1e-4)
    assert scores[-1] == pytest.approx(mean, rel=1e-4)


@pytest.mark.parametrize("target", [NO_TARGET, ALL_TARGET, mask("#.. .#.")], ids=["none", "all", "some"])
@pytest.mark.parametrize(
    ("scheme", "expected"),
    [
        (Max(), 8.0),
        (Shift(), 8.0),
        (Mean(), 18.5 / 6),
        (TopKMean(k=1), 8.0),
        (TopKMean(k=3), 5.0),
        (TopKMean(k=6), 18.5 / 6),
        (TopKMean(fraction=0.5), 5.0),
        (TopKMean(fraction=1.0), 18.5 / 6),
        (TopKMean(fraction=0.01), 8.0),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_schemes_that_do_not_look_at_the_target(scheme, expected, target):
    assert scheme(LOSS, target).tolist() == [[pytest.approx(expected)]]


@pytest.mark.parametrize(
    ("scheme", "target", "expected"),
    [
        # no target pixels: the background's largest loss
        (MinDefectsMaxBackground(), NO_TARGET, 8.0),
        (MinDefectsMaxBackground(per_zone=True), NO_TARGET, 8.0),
        (MaskDefectBorders(1), NO_TARGET, 8.0),
        # all target: no background, and no border inside the image
        (MinDefectsMaxBackground(), ALL_TARGET, 0.5),
        (MinDefectsMaxBackground(per_zone=True), ALL_TARGET, 0.5),
        (MaskDefectBorders(1), ALL_TARGET, 8.0),
        # target 8, 3: its minimum 3 against the background's maximum 4
        (MinDefectsMaxBackground(), mask("..# ..#"), 4.0),
        # target 8, 4: its minimum 4 against the background's maximum 3
        (MinDefectsMaxBackground(), mask("..# .#."), 4.0),
        (MinDefectsMaxBackground(), mask("..# .##"), 3.0),
        # columns 1 and 2 lie in the band around the border between them
        (MaskDefectBorders(1), mask("..# ..#"), 1.0),
    ],
)
def test_schemes_that_look_at_the_target(scheme, target, expected):
    assert scheme(LOSS, target).tolist() == [[expected]]


def test_every_image_and_channel_has_its_own_score():
    loss_map = torch.tensor([[[[1.0, 2.0]], [[4.0, 0.0]]], [[[7.0, 5.0]], [[0.5, 0.25]]]])
    target = torch.tensor([[[[1.0, 0.0]], [[0.0, 0.0]]], [[[1.0, 1.0]], [[0.0, 1.0]]]])
    assert Max()(loss_map, target).tolist() == [[2.0, 4.0], [7.0, 0.5]]
    assert Mean()(loss_map, target).tolist() == [[1.5, 2.0], [6.0, 0.375]]
    assert TopKMean(k=2)(loss_map, target).tolist() == [[1.5, 2.0], [6.0, 0.375]]
    for per_zone in (False, True):
        scheme = MinDefectsMaxBackground(per_zone)
        assert scheme(loss_map, target).tolist() == [[2.0, 4.0], [5.0, 0.5]]
    assert MaskDefectBorders(1)(loss_map, target).tolist() == [[0.0, 4.0], [7.0, 0.0]]


# ---- valid


VALID = drawing("##. ###")[None, None]
"""Leaves out the largest loss of LOSS, 8."""


@pytest.mark.parametrize(
    ("scheme", "target", "expected"),
    [
        (Max(), NO_TARGET, 4.0),
        (Shift(), NO_TARGET, 4.0),
        (Mean(), NO_TARGET, 10.5 / 5),
        (TopKMean(k=2), NO_TARGET, 3.5),
        (MinDefectsMaxBackground(), NO_TARGET, 4.0),
        (MinDefectsMaxBackground(), mask("..# .#."), 4.0),
        (MinDefectsMaxBackground(), mask("##. .##"), 1.0),
        (MinDefectsMaxBackground(per_zone=True), mask("..# ..."), 4.0),
        (MaskDefectBorders(1), NO_TARGET, 4.0),
        (MaskDefectBorders(1), mask("..# ..#"), 1.0),
    ],
)
def test_pixels_outside_valid_do_not_count(scheme, target, expected):
    assert scheme(LOSS, target, VALID).tolist() == [[pytest.approx(expected)]]
    assert scheme(LOSS, target, torch.ones_like(VALID)).tolist() == scheme(LOSS, target).tolist()


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.name)
def test_valid_is_shared_by_channels_and_nothing_valid_scores_zero(scheme):
    loss_map, target = LOSS.expand(2, 3, 2, 3), ALL_TARGET.expand(2, 3, 2, 3)
    valid = torch.stack([VALID[0], torch.zeros_like(VALID[0])])
    scores = scheme(loss_map, target, valid)
    assert scores.shape == (2, 3)
    assert (scores[0] == scores[0, 0]).all()
    assert (scores[0] > 0).all()
    assert (scores[1] == 0).all()


# ---- topk_mean


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "^k=None, fraction=None: give exactly one, the other null$"),
        ({"k": 2, "fraction": 0.5}, "^k=2, fraction=0.5: give exactly one, the other null$"),
        ({"k": 0}, "^k=0: must be at least 1$"),
        ({"fraction": 0.0}, "^fraction=0.0: must be above 0 and at most 1, or null$"),
        ({"fraction": 1.5}, "^fraction=1.5: must be above 0 and at most 1, or null$"),
    ],
)
def test_topk_mean_rejects(arguments, message):
    with pytest.raises(ValueError, match=message):
        TopKMean(**arguments)


def test_topk_mean_rejects_more_pixels_than_the_image_has():
    with pytest.raises(ValueError, match=r"^k=7: must be at most the image's 6 pixels$"):
        TopKMean(k=7)(LOSS, NO_TARGET)
    with pytest.raises(ValueError, match=r"^k=7: must be at most the image's 6 pixels$"):
        TopKMean(k=7).check_size(2, 3)
    with pytest.raises(ValueError, match=r"^k=7: must be at most the image's 6 pixels$"):
        TopKMean(k=7).check_size(4, 6, scale_factor=0.5)
    TopKMean(k=6).check_size(2, 3)


@pytest.mark.parametrize("scheme", [TopKMean(k=6), TopKMean(fraction=1.0)], ids=["k", "fraction"])
def test_topk_mean_of_fewer_valid_pixels_than_k_is_their_mean(scheme):
    assert scheme(LOSS, NO_TARGET, VALID).item() == pytest.approx(Mean()(LOSS, NO_TARGET, VALID).item())


# ---- mindefects_maxbackground per zone


def test_per_zone_counts_a_missed_second_defect():
    loss_map = channel(
        [
            [3.0, 0.5, 0.1, 0.1, 0.1],
            [0.1, 0.1, 0.1, 2.0, 2.5],
        ]
    )
    target = mask("##... ...##")
    assert MinDefectsMaxBackground()(loss_map, target).item() == 0.5
    assert MinDefectsMaxBackground(per_zone=True)(loss_map, target).item() == 2.0


def test_diagonal_neighbours_are_one_zone():
    loss_map = channel([[5.0, 0.1, 0.1], [0.1, 4.0, 0.1], [0.1, 0.1, 0.5]])
    touching = MinDefectsMaxBackground(per_zone=True)(loss_map, mask("#.. .#. ..#"))
    assert touching.item() == 0.5
    apart = MinDefectsMaxBackground(per_zone=True)(loss_map, mask("#.. ... ..#"))
    assert apart.item() == 5.0


def test_largest_zone_minimum_is_zero_without_zones():
    loss_map = torch.stack([LOSS[0], LOSS[0]])
    defect = torch.stack([torch.zeros(1, 2, 3), mask("##. .#.")[0]]).bool()
    assert largest_zone_minimum(loss_map, defect).tolist() == [[0.0], [1.0]]
    # the background is no zone, however high its losses
    assert largest_zone_minimum(LOSS, mask("... #..").bool()).item() == 0.5


def spiral(side: int) -> np.ndarray:
    """A one-pixel line winding inwards with one pixel between its turns, (side, side) bool."""
    field = np.zeros((side, side), dtype=bool)
    steps = [(0, 1), (1, 0), (0, -1), (-1, 0)]
    y, x, turn = 0, 0, 0
    field[0, 0] = True
    blocked = 0
    while blocked < 2:
        dy, dx = steps[turn % 4]
        ny, nx, fy, fx = y + dy, x + dx, y + 2 * dy, x + 2 * dx
        free = 0 <= ny < side and 0 <= nx < side and not field[ny, nx]
        ahead = 0 <= fy < side and 0 <= fx < side and field[fy, fx]
        if free and not ahead:
            y, x, blocked = ny, nx, 0
            field[y, x] = True
        else:
            turn, blocked = turn + 1, blocked + 1
    return field


def comb(side: int) -> np.ndarray:
    """A line going to and fro over the whole image, (side, side) bool."""
    field = np.zeros((side, side), dtype=bool)
    field[::2] = True
    field[1::4, -1] = True
    field[3::4, 0] = True
    return field


def assert_same_zones(labels: np.ndarray, field: np.ndarray) -> int:
    """Labels name the same zones as OpenCV's with 8 neighbours; returns how many there are."""
    count, reference = cv2.connectedComponents(field.astype(np.uint8), connectivity=8)
    assert ((labels == 0) == ~field).all()
    pairs = set(zip(labels[field].tolist(), reference[field].tolist(), strict=True))
    assert len(pairs) == len({ours for ours, _ in pairs}) == count - 1
    return count - 1


@pytest.mark.parametrize("flip", [(), (0,), (1,), (0, 1)], ids=str)
@pytest.mark.parametrize("shape", [spiral, comb])
def test_long_thin_zones_are_one_zone(shape, flip):
    field = np.flip(shape(41), flip).copy()
    assert field.sum() > 800
    labels = connected_zones(torch.from_numpy(field)[None])[0].numpy()
    assert assert_same_zones(labels, field) == 1
    field[20, 20] = field[20, 19] = field[20, 21] = False
    labels = connected_zones(torch.from_numpy(field)[None])[0].numpy()
    assert_same_zones(labels, field)


def test_a_long_line_needs_few_rounds(monkeypatch):
    rounds = 0
    pool = F.max_pool2d

    def counting(*arguments, **keywords):
        nonlocal rounds
        rounds += 1
        return pool(*arguments, **keywords)

    monkeypatch.setattr(F, "max_pool2d", counting)
    field = spiral(65)
    connected_zones(torch.from_numpy(field)[None])
    assert 1 <= rounds < field.sum() / 10  # spreading by one pixel a round takes half its length or more


@quick
@given(hnp.arrays(bool, hnp.array_shapes(min_dims=3, max_dims=3, max_side=9)))
def test_zones_equal_those_of_opencv(fields):
    for labels, field in zip(connected_zones(torch.from_numpy(fields)).numpy(), fields, strict=True):
        assert_same_zones(labels, field)


@quick
@given(
    hnp.arrays(np.int8, (6, 7), elements=st.integers(1, 100)),
    hnp.arrays(bool, (6, 7)),
)
def test_per_zone_equals_a_loop_over_the_zones_of_opencv(losses, field):
    count, zones = cv2.connectedComponents(field.astype(np.uint8), connectivity=8)
    background = losses[~field].max(initial=0)
    expected = max([background, *(losses[zones == zone].min() for zone in range(1, count))])
    target = torch.from_numpy(field).float()[None, None]
    scheme = MinDefectsMaxBackground(per_zone=True)
    assert scheme(torch.from_numpy(losses).float()[None, None], target).item() == expected


# ---- maskdefectborders


def counted_pixels(scheme, target: torch.Tensor) -> torch.Tensor:
    """(H, W) bool: which pixels a scheme's maximum looks at, asked with one lonely loss per pixel."""
    h, w = target.shape[-2:]
    loss_map = torch.eye(h * w).view(h * w, 1, h, w)
    return scheme(loss_map, target.expand(h * w, 1, h, w)).view(h, w).bool()


@pytest.mark.parametrize(
    ("width", "target", "counted"),
    [
        (
            1,
            "....... ....... ..###.. ..###.. ..###.. ....... .......",
            "####### #.....# #.....# #..#..# #.....# #.....# #######",
        ),
        (
            2,
            "......... ......... ..#####.. ..#####.. ..#####.. ..#####.. ..#####.. ......... .........",
            "......... ......... ......... ......... ....#.... ......... ......... ......... .........",
        ),
        # along the image's edge there is no border to leave out
        (1, "####.... ####....", "###..### ###..###"),
        (2, "####.... ####....", "##....## ##....##"),
        # a defect too thin to have an inside lies in its band
        (1, "......... ...##.... .........", "##....### ##....### ##....###"),
        (1, ".....", "#####"),
        (1, "#####", "#####"),
    ],
)
def test_band_around_the_border_is_left_out(width, target, counted):
    found = counted_pixels(MaskDefectBorders(width), mask(target))
    assert torch.equal(found, drawing(counted))


def test_maskdefectborders_rejects_no_width():
    with pytest.raises(ValueError, match=r"^width=0: must be at least 1$"):
        MaskDefectBorders(0)


# ---- shift


def test_shift_moves_image_and_target_together_and_marks_what_came_in():
    h, w, n = 5, 6, 400
    pixels = torch.arange(1.0, h * w + 1).view(1, 1, h, w)
    images = torch.cat([pixels, pixels + 100], dim=1).expand(n, 2, h, w)
    target = torch.cat([pixels, -pixels, pixels * 7], dim=1).expand(n, 3, h, w)
    moved, moved_target, valid = Shift(2).transform(images, target, torch.Generator().manual_seed(3))
    assert moved.shape == images.shape
    assert moved_target.shape == target.shape
    assert valid.shape == (n, 1, h, w)
    assert valid.dtype == torch.bool

    offsets = set()
    for i in range(n):
        # the pixel in the middle of the image is inside for every shift by at most 2
        y, x = divmod(int(moved[i, 0, 2, 3]) - 1, w)
        dy, dx = 2 - y, 3 - x
        offsets.add((dy, dx))
        for row in range(h):
            for col in range(w):
                inside = 0 <= row - dy < h and 0 <= col - dx < w
                assert valid[i, 0, row, col] == inside
                if inside:
                    assert torch.equal(moved[i, :, row, col], images[i, :, row - dy, col - dx])
                    assert torch.equal(moved_target[i, :, row, col], target[i, :, row - dy, col - dx])
    assert offsets == {(dy, dx) for dy in range(-2, 3) for dx in range(-2, 3)}


def test_shift_leaves_pixels_from_outside_out_of_the_score():
    images, target = torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4)
    generator = torch.Generator().manual_seed(0)
    shifted = 0
    for _ in range(20):
        _, moved_target, valid = Shift(2).transform(images, target, generator)
        loss_map = torch.where(valid, 1.0, 9.0)
        assert Shift(2)(loss_map, moved_target, valid).item() == 1.0
        shifted += int(not valid.all())
    assert shifted > 0


def test_shift_draws_from_its_generator_alone():
    images, target = torch.rand(8, 3, 6, 6), torch.zeros(8, 1, 6, 6)
    torch.manual_seed(0)
    first = Shift(2).transform(images, target, torch.Generator().manual_seed(5))
    after = torch.rand(1)
    torch.manual_seed(1)
    again = Shift(2).transform(images, target, torch.Generator().manual_seed(5))
    other = Shift(2).transform(images, target, torch.Generator().manual_seed(6))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])
    torch.manual_seed(0)
    assert torch.equal(after, torch.rand(1))


def test_shift_rejects_no_shift():
    with pytest.raises(ValueError, match=r"^max_shift=0: must be at least 1$"):
        Shift(0)
    with pytest.raises(ValueError, match=r"^max_shift=4: must be below the image's side of 4 pixels$"):
        Shift(4).check_size(4, 9)


def test_only_shift_moves_the_image():
    assert [name for name, cls in AGGREGATIONS.items() if cls.moves_image] == ["shift"]
    images, target = torch.rand(2, 1, 4, 4), torch.ones(2, 1, 4, 4)
    for scheme in SCHEMES:
        if not scheme.moves_image:
            same, same_target, valid = scheme.transform(images, target, torch.Generator())
            assert same is images
            assert same_target is target
            assert valid is None


# ---- properties


@st.composite
def batches(draw):
    """A loss map (2, D, H, W) and a target of its shape."""
    shape = (2, draw(st.integers(1, 2)), draw(st.integers(1, 8)), draw(st.integers(1, 8)))
    losses = draw(hnp.arrays(np.float32, shape, elements=st.floats(0, 100, width=32)))
    target = draw(hnp.arrays(bool, shape))
    return torch.from_numpy(losses), torch.from_numpy(target).float()


@quick
@given(batches(), st.floats(0.01, 1.0))
def test_topk_mean_lies_between_mean_and_max(batch, fraction):
    mean, top, largest = Mean()(*batch), TopKMean(fraction=fraction)(*batch), Max()(*batch)
    assert (mean <= top * (1 + 1e-5) + 1e-5).all()
    assert (top <= largest * (1 + 1e-5) + 1e-5).all()
    torch.testing.assert_close(TopKMean(fraction=1.0)(*batch), mean)
    assert torch.equal(TopKMean(k=1)(*batch), largest)


@quick
@given(batches(), st.integers(1, 3))
def test_no_border_scheme_exceeds_max(batch, width):
    loss_map, target = batch
    largest = Max()(loss_map, target)
    inner = MaskDefectBorders(width)(loss_map, target)
    assert (inner <= largest).all()
    assert (MaskDefectBorders(width + 1)(loss_map, target) <= inner).all()
    whole, per_zone = (MinDefectsMaxBackground(zones)(loss_map, target) for zones in (False, True))
    assert (whole <= per_zone).all()
    assert (per_zone <= largest).all()


@quick
@given(batches(), st.integers(0, 10_000), st.floats(0.5, 50))
def test_raising_a_pixels_loss_never_lowers_a_score(batch, position, amount):
    loss_map, target = batch
    raised = loss_map.clone()
    raised.view(-1)[position % raised.numel()] += amount
    for scheme in SCHEMES:
        if isinstance(scheme, TopKMean) and loss_map[0, 0].numel() < 2:
            continue
        assert (scheme(raised, target) >= scheme(loss_map, target) - 1e-4).all(), scheme.name


def test_aggregations_are_listed_by_the_names_of_the_methods():
    names = ["max", "mean", "topk_mean", "softmin"]
    names += ["mindefects_maxbackground", "maskdefectborders", "shift"]
    assert list(AGGREGATIONS) == names
    assert [AGGREGATIONS[name].name for name in names] == names

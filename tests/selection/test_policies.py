"""What each policy keeps, and the list of candidates it keeps from."""

import math
import re

import numpy as np
import pytest

from sbp.selection import (
    POLICIES,
    Auto,
    Balanced,
    Everything,
    PerDefect,
    Policy,
    Random,
    Reducible,
    Replay,
    ScoreBook,
    SelectionContext,
    Selective,
    Stratified,
    candidate_list,
)
from sbp.selection.draws import expected_kept_fraction


def book_of(scores) -> ScoreBook:
    """A book whose images have these scores, (N,) or (N, D)."""
    scores = np.asarray(scores, dtype=float)
    scores = scores[:, None] if scores.ndim == 1 else scores
    book = ScoreBook(*scores.shape)
    book.record_scores(np.arange(len(scores)), scores[None], 0)
    return book


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def near(successes: int, trials: int, p: float) -> bool:
    """Whether a binomial count lies within 4 standard deviations of its mean."""
    return abs(successes - trials * p) < 4 * math.sqrt(trials * p * (1 - p)) + 1e-9


def select(policy: Policy, candidates, book: ScoreBook, generator, **about) -> np.ndarray:
    """What the policy keeps. about: beta, focus, labels; see SelectionContext."""
    return policy.select(SelectionContext(candidates, book, **about), generator)


def labels_of(defective: np.ndarray) -> np.ndarray:
    """(N, 1) labels of images with and without a defect."""
    return np.asarray(defective, dtype=bool)[:, None]


class Constant:
    """Stands in for a generator: every number is u."""

    def __init__(self, u: float):
        self.u = u

    def random(self, size: int, dtype: type = np.float64) -> np.ndarray:
        return np.full(size, self.u, dtype=dtype)


def percentiles_of(policy: type[Policy], focus: list[int], candidates, book: ScoreBook) -> list[float]:
    """The percentile a policy gives each candidate: at beta 1 it keeps those whose percentile exceeds u.

    Percentiles are multiples of 1 / 2n; the highest must be 1, so that no draw is empty.
    """
    steps = 2 * len(candidates)
    kept = np.zeros(len(candidates))
    for step in range(steps):
        u = Constant((step + 0.5) / steps)
        kept[select(policy(), candidates, book, u, beta=1.0, focus=focus)] += 1
    return (kept / steps).tolist()


# ---- none


def test_none_keeps_every_candidate_with_its_repetitions():
    candidates = np.array([0, 1, 1, 2])
    assert sorted(select(Everything(), candidates, ScoreBook(3, 1), rng())) == [0, 1, 2, 3]


# ---- selective


def test_selective_ranks_by_the_largest_score_over_the_focused_defects():
    book = book_of([[1.0, 9.0], [4.0, 0.0], [2.0, 3.0], [3.0, 0.0]])
    everything = np.arange(4)
    assert percentiles_of(Selective, [0], everything, book) == [0.25, 1.0, 0.5, 0.75]
    assert percentiles_of(Selective, [1], everything, book) == [1.0, 0.375, 0.75, 0.375]
    assert percentiles_of(Selective, [0, 1], everything, book) == [1.0, 0.75, 0.375, 0.375]


def test_selective_keeps_images_never_scored():
    book = ScoreBook(50, 1)
    book.record_scores(np.arange(40), np.arange(40.0)[None, :, None], 0)
    kept = select(Selective(), np.arange(50), book, rng(), beta=1000, focus=[0])
    assert set(range(40, 50)) <= set(kept.tolist())
    assert 39 in kept
    assert 0 not in kept


@pytest.mark.parametrize("beta", [2.0, 8.0])
def test_selective_keeps_each_image_as_often_as_its_percentile_says(beta):
    scores = np.array([0.4, -1.0, 7.0, 2.0, 2.0])
    counts, repeats, generator = np.zeros(5), 4000, rng(1)
    book, candidates = book_of(scores), np.arange(5)
    for _ in range(repeats):
        counts[select(Selective(), candidates, book, generator, beta=beta)] += 1
    for count, q in zip(counts, [0.4, 0.2, 1.0, 0.7, 0.7], strict=True):
        assert near(count, repeats, q**beta)


def test_beta_0_keeps_all_and_beta_1000_at_least_the_worst():
    book, candidates = book_of(rng(2).random(300)), np.arange(300)
    assert sorted(select(Selective(), candidates, book, rng(), beta=0, focus=[0])) == list(range(300))
    worst = int(np.argmax(book.scores))
    assert worst in select(Selective(), candidates, book, rng(), beta=1000, focus=[0])
    assert select(Selective(), np.array([0]), book_of([0.0]), rng(), beta=1000, focus=[0]).tolist() == [0]


# ---- per_defect


def two_defects() -> ScoreBook:
    """100 images: 50 hold defect A with large losses, image 99 the rare B, whose loss is small beside A's."""
    scores = np.full((100, 2), 0.01) + np.linspace(0, 0.001, 100)[:, None]
    scores[:50, 0] = np.linspace(3, 5, 50)
    scores[99, 1] = 0.5
    return book_of(scores)


def test_per_defect_keeps_the_image_of_a_rare_defect_that_selective_drops():
    book, candidates, repeats = two_defects(), np.arange(100), 200
    about = {"beta": 8, "focus": [0, 1]}
    assert percentiles_of(Selective, [0, 1], candidates, book)[99] == 0.5
    assert percentiles_of(PerDefect, [0, 1], candidates, book)[99] == 1.0
    generator = rng(3)
    kept_together = sum(
        99 in select(Selective(), candidates, book, generator, **about) for _ in range(repeats)
    )
    kept_apart = sum(99 in select(PerDefect(), candidates, book, generator, **about) for _ in range(repeats))
    assert kept_together <= 10  # 0.5 ** 8 of 200 is 0.8
    assert kept_apart == repeats


def test_per_defect_takes_the_larger_percentile_and_equals_selective_for_one_defect():
    scores = np.array([[1.0, 30.0], [2.0, 10.0], [3.0, 20.0], [math.pi, 40.0]])
    book, candidates = book_of(scores), np.array([3, 0, 1, 2])
    assert percentiles_of(PerDefect, [0, 1], candidates, book) == [1.0, 0.75, 0.5, 0.75]
    for focus in ([0], [1]):
        selective, per_defect = (percentiles_of(p, focus, candidates, book) for p in (Selective, PerDefect))
        assert selective == per_defect


def test_per_defect_keeps_images_never_scored():
    book = ScoreBook(3, 2)
    book.record_scores(np.array([0, 1]), np.array([[[1.0, 5.0], [2.0, 4.0]]]), 0)
    assert percentiles_of(PerDefect, [0, 1], np.arange(3), book) == [1.0, 1.0, 1.0]
    assert percentiles_of(PerDefect, [0], np.arange(3), book) == [0.5, 1.0, 1.0]


def test_per_defect_keeps_about_d_over_d_plus_beta_of_independent_scores():
    n, generator = 20_000, rng(4)
    book = book_of(generator.random((n, 3)))
    kept = len(select(PerDefect(), np.arange(n), book, generator, beta=8, focus=[0, 1, 2]))
    assert near(kept, n, 3 / 11)


# ---- random


@pytest.mark.parametrize("beta", [2.0, 8.0])
@pytest.mark.parametrize("n", [20, 1000])
def test_random_keeps_the_same_fraction_as_selective(beta, n):
    book, candidates, generator = book_of(rng(5).permutation(n)), np.arange(n), rng(6)
    repeats = 200_000 // n // 10
    trials = repeats * n
    p = expected_kept_fraction(beta, n)
    for policy in (Random(), Selective()):
        kept = sum(len(select(policy, candidates, book, generator, beta=beta)) for _ in range(repeats))
        # at n = 20 one draw in about 300 is empty and repeated, far within the tolerance
        assert near(kept, trials, p), policy.name


def test_random_does_not_look_at_the_scores():
    n = 1000
    rising, falling = book_of(np.arange(n)), book_of(-np.arange(n))
    first = select(Random(), np.arange(n), rising, rng(7))
    assert first.tolist() == select(Random(), np.arange(n), falling, rng(7)).tolist()
    assert first.tolist() == select(Random(), np.arange(n), ScoreBook(n, 1), rng(7)).tolist()
    low = sum((select(Random(), np.arange(n), rising, rng(s)) < n // 2).sum() for s in range(100))
    assert near(low, 100 * n // 2, expected_kept_fraction(8.0, n))


def test_random_takes_a_fraction_and_its_draw_is_never_empty():
    book = ScoreBook(20_000, 1)
    assert near(len(select(Random(fraction=0.3), np.arange(20_000), book, rng(8))), 20_000, 0.3)
    assert len(select(Random(fraction=1.0), np.arange(7), book, rng())) == 7
    assert all(len(select(Random(fraction=1e-9), np.arange(3), book, rng(seed))) == 1 for seed in range(10))


@pytest.mark.parametrize("fraction", [0.0, 1.1, math.nan])
def test_random_rejects_a_fraction_outside_0_to_1(fraction):
    with pytest.raises(ValueError, match=r"^fraction=.*: must be above 0 and at most 1, or null$"):
        Random(fraction)


# ---- balanced


@pytest.mark.parametrize(
    ("ratio", "healthy"), [(0.0, 0), (0.5, 2), (1.0, 4), (2.0, 8), (2.5, 10), (5.0, 16), (1000.0, 16)]
)
def test_balanced_takes_all_defective_and_the_ratio_of_healthy(ratio, healthy):
    defective = np.zeros(20, dtype=bool)
    defective[[3, 7, 8, 19]] = True
    kept = select(Balanced(ratio), np.arange(20), ScoreBook(20, 1), rng(9), labels=labels_of(defective))
    assert len(set(kept.tolist())) == len(kept) == 4 + healthy
    assert set(kept[defective[kept]].tolist()) == {3, 7, 8, 19}


@pytest.mark.parametrize("ratio", [0.0, 1.0, 5.0])
def test_balanced_without_defective_images_draws_one_healthy(ratio):
    kept = select(
        Balanced(ratio), np.arange(6), ScoreBook(6, 1), rng(), labels=labels_of(np.zeros(6, dtype=bool))
    )
    assert len(kept) == 1
    assert 0 <= kept[0] < 6


def test_balanced_without_healthy_images_takes_all():
    kept = select(
        Balanced(2.0), np.arange(5), ScoreBook(5, 1), rng(), labels=labels_of(np.ones(5, dtype=bool))
    )
    assert sorted(kept) == [0, 1, 2, 3, 4]


def test_balanced_draws_every_healthy_image_equally_often():
    defective = np.arange(20) < 4
    counts, generator = np.zeros(20), rng(10)
    for _ in range(1600):
        counts[
            select(Balanced(), np.arange(20), ScoreBook(20, 1), generator, labels=labels_of(defective))
        ] += 1
    assert (counts[:4] == 1600).all()
    assert all(near(count, 1600, 4 / 16) for count in counts[4:])


def test_balanced_counts_upsampled_images_with_their_repetitions():
    defective = np.array([False, True, False, False, False, False])
    candidates = np.array([0, 1, 1, 1, 2, 3, 4, 5])
    kept = candidates[select(Balanced(1.0), candidates, ScoreBook(6, 1), rng(), labels=labels_of(defective))]
    assert (kept == 1).sum() == 3
    assert len(set(kept[kept != 1].tolist())) == 3


@pytest.mark.parametrize("ratio", [-0.5, math.nan])
def test_balanced_rejects_a_ratio_below_0(ratio):
    with pytest.raises(ValueError, match=r"healthy_ratio=.*at least 0"):
        Balanced(ratio)


def test_balanced_says_that_it_needs_labels():
    with pytest.raises(ValueError, match="labels: this policy needs the labels"):
        select(Balanced(), np.arange(2), ScoreBook(2, 1), rng())


def test_only_selection_by_scores_needs_scores():
    policies = [cls() for cls in POLICIES.values()]
    blind = {p.name for p in policies if not p.needs_scores}
    assert blind == {"none", "random", "balanced", "frequency_of_use", "composer", "replay", "jiang"}
    by_beta = {"selective", "per_defect", "random", "reducible"}
    assert {p.name for p in policies if p.warms_up} == by_beta | {"infobatch", "jiang", "kakurenbo"}
    assert {p.name for p in policies if p.uses_beta} == by_beta
    assert not Random(fraction=0.5).uses_beta


# ---- upsampling

# images:         0  1  2  3  4  5  6  7  8
# defect A (6):      A  A  A  A  A  A
# defect B (2):                     B  B
# defect C (1):               C
LABELS = np.zeros((9, 3), dtype=bool)
LABELS[1:7, 0] = True
LABELS[[6, 7], 1] = True
LABELS[4, 2] = True


@pytest.mark.parametrize(
    ("rare", "factor", "expected"),
    [
        ([1], 1, [0, 1, 2, 3, 4, 5, 6, 7, 8]),
        ([], 5, [0, 1, 2, 3, 4, 5, 6, 7, 8]),
        ([], None, [0, 1, 2, 3, 4, 5, 6, 7, 8]),
        ([1], 3, [0, 1, 2, 3, 4, 5, 6, 6, 6, 7, 7, 7, 8]),
        ([1], 2.6, [0, 1, 2, 3, 4, 5, 6, 6, 6, 7, 7, 7, 8]),
        # auto: 6 images of A over 2 of B, over 1 of C
        ([1], None, [0, 1, 2, 3, 4, 5, 6, 6, 6, 7, 7, 7, 8]),
        ([2], None, [0, 1, 2, 3, 4, 4, 4, 4, 4, 4, 5, 6, 7, 8]),
        ([1, 2], None, [0, 1, 2, 3, 4, 4, 4, 4, 4, 4, 5, 6, 6, 6, 7, 7, 7, 8]),
        ([2, 1], 2, [0, 1, 2, 3, 4, 4, 5, 6, 6, 7, 7, 8]),
        # the most frequent defect itself is not repeated by auto
        ([0], None, [0, 1, 2, 3, 4, 5, 6, 7, 8]),
    ],
)
def test_candidate_list_written_out(rare, factor, expected):
    assert candidate_list(LABELS, rare, factor).tolist() == expected


def test_an_image_with_several_rare_defects_takes_the_largest_factor():
    labels = LABELS.copy()
    labels[4, 1] = True  # now B on 4, 6 and 7 (factor 2), C on 4 (factor 6)
    for rare in ([1, 2], [2, 1]):
        candidates = candidate_list(labels, rare, None)
        assert np.bincount(candidates).tolist() == [1, 1, 1, 1, 6, 1, 2, 2, 1]


def test_auto_goes_by_the_most_frequent_defect_whatever_its_channel():
    # A, B and C hold 6, 2 and 1 images; now in the order C, A, B
    reordered = LABELS[:, [2, 0, 1]]
    assert candidate_list(reordered, [2], None).tolist() == candidate_list(LABELS, [1], None).tolist()


def test_a_rare_defect_without_images_repeats_nothing():
    labels = LABELS.copy()
    labels[:, 2] = False
    assert candidate_list(labels, [2], None).tolist() == list(range(9))
    assert candidate_list(labels, [2], 4).tolist() == list(range(9))


def test_a_factor_below_1_is_rejected():
    with pytest.raises(ValueError, match=r"upsampling factor 0.4, must be at least 1"):
        candidate_list(LABELS, [1], 0.4)


def test_percentiles_are_taken_over_the_list_with_repetitions():
    book, candidates = book_of([1.0, 5.0, 3.0]), np.array([0, 1, 2, 2])
    # scores 1, 5, 3, 3 have the ranks 1, 4, 2.5, 2.5
    for policy in (Selective, PerDefect):
        assert percentiles_of(policy, [0], candidates, book) == [0.25, 1.0, 0.625, 0.625]


def test_every_repetition_is_drawn_on_its_own():
    book, candidates, repeats = book_of([1.0, 5.0, 3.0]), np.array([0, 1, 2, 2]), 4000
    generator = rng(11)
    copies = [
        int((candidates[select(Selective(), candidates, book, generator, beta=2)] == 2).sum())
        for _ in range(repeats)
    ]
    p = 0.625**2
    for number, probability in enumerate([(1 - p) ** 2, 2 * p * (1 - p), p**2]):
        assert near(copies.count(number), repeats, probability)


# ---- reducible


def test_a_wrong_annotation_is_not_reducible():
    """Image 3 has the highest loss under both models; image 2 the highest that can still be learnt."""
    book = book_of([0.1, 0.4, 2.0, 5.0])
    holdout = np.array([[0.1], [0.3], [0.2], [4.95]], dtype=np.float32)
    policy, counts = Reducible(), np.zeros(4)
    for seed in range(400):
        context = SelectionContext(np.arange(4), book, beta=6.0, holdout=holdout)
        counts[policy.select(context, rng(seed))] += 1
    assert counts[2] == 400
    assert near(counts[3], 400, (2 / 4) ** 6)


def test_reducible_says_that_it_needs_another_models_scores():
    with pytest.raises(ValueError, match="holdout: this policy needs scores"):
        Reducible().select(SelectionContext(np.arange(2), book_of([1.0, 2.0])), rng())


# ---- auto


@pytest.mark.parametrize(
    ("defective", "healthy", "kind", "reason"),
    [
        (0, 50, Everything, "too little to leave out"),
        (30, 20, Everything, "too little to leave out"),
        (20, 30, Balanced, "too few healthy images"),
        (10, 190, Balanced, "too few healthy images"),
        (10, 210, Stratified, r"healthy ones drawn by loss \(beta_healthy=12\)"),
        (10, 9990, Stratified, r"beta_healthy=12\)"),
    ],
)
def test_auto_chooses_by_the_labels_and_says_why(defective, healthy, kind, reason):
    chosen = Auto().for_labels(labels_of(np.arange(defective + healthy) < defective))
    assert type(chosen) is kind
    assert re.search(f"^{defective} with a defect, {healthy} without: .*{reason}", chosen.why)


@pytest.mark.parametrize("look_alikes", [0.11, 3.0])
def test_auto_draws_by_loss_only_where_something_stands_out(look_alikes):
    """Ten of 72 healthy images score higher, by a little or by far, and eight are drawn."""
    scores = np.full(80, 0.1)
    scores[:8], scores[8:18] = 5.0, look_alikes + np.linspace(0, 0.01, 10)
    labels = labels_of(np.arange(80) < 8)
    context = SelectionContext(np.arange(80), book_of(scores), labels=labels, focus=(0,))
    drawn = [Auto(choice=2).select(context, rng(seed)) for seed in range(200)]
    assert all(set(range(8)) <= set(epoch.tolist()) and len(epoch) == 16 for epoch in drawn)
    hard = np.mean([np.isin(np.arange(8, 18), epoch).sum() for epoch in drawn])
    assert hard == pytest.approx(8 * 10 / 72, abs=0.25) if look_alikes < 1 else hard > 2


def test_other_policies_are_themselves_whatever_the_labels():
    balanced = Balanced()
    assert balanced.for_labels(labels_of(np.arange(4) < 2)) is balanced


# ---- replay


def test_replay_takes_all_new_images_and_the_square_root_of_old_ones():
    """4 new, 100 old: sqrt(100 / 4) = 5 old ones for each new one."""
    labels = np.zeros((104, 2), dtype=bool)
    labels[:4, 1] = labels[2:30, 0] = True
    context = SelectionContext(np.arange(104), book_of(np.zeros(104)), labels=labels, focus=(1,))
    drawn = [Replay().select(context, rng(seed)) for seed in range(100)]
    assert all(set(range(4)) <= set(d.tolist()) and len(d) == len(set(d.tolist())) == 24 for d in drawn)
    seen = np.bincount(np.concatenate(drawn), minlength=104)[4:] / 100
    assert seen.mean() == pytest.approx(0.2)
    assert seen.max() < 0.45  # at random, not some of them
    assert len(Replay(old_ratio=0).select(context, rng())) == 4
    assert len(Replay(old_ratio=1000).select(context, rng())) == 104


def test_replay_without_new_images_trains_on_the_old_ones():
    context = SelectionContext(np.arange(3), book_of(np.zeros(3)), labels=np.zeros((3, 2), bool), focus=(1,))
    assert sorted(Replay().select(context, rng())) == [0, 1, 2]

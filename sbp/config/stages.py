"""The schemas of runs that build on earlier ones: what is annotated by now, a defect that comes in late."""

from dataclasses import dataclass

from sbp.plugins.checks import above, at_least, fraction, one_of, require

LABELLING_RULES = ("entropy", "healthy_loss", "stratified", "random", "foreground_random", "oracle")
LABELLING_AGGREGATIONS = ("max", "mean", "topk_mean")


@dataclass
class LabellingConfig:
    """Active learning, see sbp.steps.labelling. by: how the images of a round are chosen, one of
    LABELLING_RULES, None: all images are annotated. aggregation: how a map becomes a score. round: how many
    rounds have been annotated. start: images annotated before the first round; images: in each. power: how
    sharply `stratified` follows its score."""

    by: str | None = None
    aggregation: str = "topk_mean"
    round: int = 6
    start: int = 50
    images: int = 25
    power: float = 4.0

    def __post_init__(self) -> None:
        if self.by is not None:
            one_of("labelling.by", self.by, LABELLING_RULES)
        one_of("labelling.aggregation", self.aggregation, LABELLING_AGGREGATIONS)
        at_least(0, labelling__round=self.round)
        at_least(1, labelling__start=self.start, labelling__images=self.images)
        above(0, labelling__power=self.power)


@dataclass
class ArrivalConfig:
    """A defect that comes in late, see sbp.steps.arrival. defect: its name, None: all are there from the
    start. images: how many training images with it come in, None: all;
    annotated: for the `new` defect alone, or for
    `all`. memory: share of the old images that is kept. at: share of the budget before they come in. start:
    from the model of the `first_step`, or from `scratch` with the whole budget. step: 1 ends before they come
    in."""

    defect: str | None = None
    images: int | None = None
    annotated: str = "new"
    memory: float = 1.0
    at: float = 0.5
    start: str = "first_step"
    step: int = 2

    def __post_init__(self) -> None:
        at_least(1, arrival__images=self.images)
        one_of("arrival.annotated", self.annotated, ("new", "all"))
        one_of("arrival.start", self.start, ("first_step", "scratch"))
        fraction(arrival__memory=self.memory)
        require(0 < self.at < 1, "arrival.at", self.at, "between 0 and 1")
        require(self.step in (1, 2), "arrival.step", self.step, "1 or 2")

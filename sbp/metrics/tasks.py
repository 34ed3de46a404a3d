"""What differs between tasks: segmentation says where a defect is, classification what an image shows."""

from collections.abc import Container
from dataclasses import dataclass


@dataclass(frozen=True)
class Task:
    """metric: the name, for `names.of_split`, of the metric that a run is judged by, higher is better; title:
    what that is called in tables. has_maps: there is a loss, a prediction and an annotation for every pixel,
    not one for the whole image."""

    name: str
    metric: str
    title: str
    has_maps: bool

    @property
    def validated(self) -> str:
        """The metric of the validation split: what the best checkpoint is best at, and a job returns."""
        return f"val/{self.metric}"

    @property
    def tested(self) -> str:
        """That of the test split."""
        return f"test/{self.metric}"


TASKS = {
    task.name: task
    for task in (
        Task("segmentation", "map", "mAP", has_maps=True),
        Task("classification", "accuracy", "accuracy", has_maps=False),
    )
}
"""By the name that losses, models and data sets say of themselves as `task`."""


def task_of(part: object) -> Task:
    """The task of a loss, an architecture or a data source, or of its class; one that does not say is for
    segmentation."""
    return TASKS[getattr(part, "task", "segmentation")]


def task_of_metrics(keys: Container[str]) -> Task:
    """The task of a run that logged these metrics; segmentation if none of them says."""
    found = (task for task in TASKS.values() if task.validated in keys or task.tested in keys)
    return next(found, TASKS["segmentation"])

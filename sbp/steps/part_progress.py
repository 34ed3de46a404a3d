"""The progress of a run that consists of several trainings."""

from sbp.utils.progress import Progress


class PartProgress(Progress):
    """Training `number` (from 0) of `count`, as progress of the whole, which it neither begins nor ends."""

    def __init__(self, whole: Progress, number: int, count: int):
        self.whole, self.number, self.count = whole, number, count

    def stage(self, epoch: int, name: str, images: int) -> None:
        self.whole.stage(epoch, name, images)

    def advance(self, images: float, used: float | None = None) -> None:
        self.whole.advance(images, None if used is None else (self.number + used) / self.count)

    def epoch_done(self, epoch: int, metrics: dict[str, float]) -> None:
        self.whole.epoch_done(epoch, metrics)


class LastPartProgress(PartProgress):
    """The last training, with which the whole ends."""

    def __init__(self, whole: Progress, count: int):
        super().__init__(whole, count - 1, count)

    def begin(self) -> None:
        self.whole.begin()

    def close(self) -> None:
        self.whole.close()

    def failed(self) -> None:
        self.whole.failed()

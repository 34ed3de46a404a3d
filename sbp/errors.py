"""The one exception for mistakes that a user can correct."""


class UserError(Exception):
    """Bad input: one line that names the key, file or value, and what is allowed.

    The entry points print the message without a traceback and exit with code 2.
    """


class TrainingDiverged(RuntimeError):
    """A training loss that is NaN or infinite, with the place where it arose."""

    def __init__(self, epoch: int, step: int, names: list[str]):
        shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
        super().__init__(
            f"the training loss is not finite in epoch {epoch}, batch {step} (images {shown}); "
            "a lower optimizer.lr or optimizer.clip_norm=1 may help"
        )

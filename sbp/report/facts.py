"""Where the report's numbers come from, and what a reader should know before trusting them."""

from collections.abc import Sequence
from datetime import UTC, datetime

from sbp.metrics.tasks import task_of_metrics
from sbp.report.study import Study, defect_roles
from sbp.tracking.imported import is_imported
from sbp.tracking.runs import RecordedRun


def facts(study: Study) -> list[tuple[str, str]]:
    """Where the results come from."""

    def distinct(values) -> str:
        return ", ".join(dict.fromkeys(str(v) for v in values))

    runs, newest = study.runs, study.runs[-1]
    days = sorted(datetime.fromtimestamp(run.started / 1000, UTC).date() for run in runs)
    count = f"{newest.params['data.train_images']} training " if "data.train_images" in newest.params else ""
    data = f"{newest.params['data']}, {count}images of "
    data += f"{newest.params['data.image_size']} x {newest.params['data.image_size']} pixels"
    return [
        ("Scale", study.scale),
        ("Data", data),
        _shown_by_images(study),
        ("Compute of each run", f"{distinct(_budgets(runs))} baseline epochs"),
        ("Runs", f"{len(runs)}, seeds {distinct(sorted({run.seed for run in runs}))}{_elsewhere_text(runs)}"),
        ("Code", distinct(run.tags.get("git.commit", "unknown")[:10] for run in runs)),
        ("Hardware", distinct(_hardware(run) for run in runs)),
        ("torch", distinct(run.tags.get("version.torch", "unknown") for run in runs)),
        ("Date", distinct(dict.fromkeys([days[0], days[-1]]))),
    ]


def _shown_by_images(study: Study) -> tuple[str, str]:
    newest = study.runs[-1]
    if not task_of_metrics(newest.metrics).has_maps:
        return "Classes", str(len(newest.defects))
    return "Defects", "A (common): {common}, B (rare): {rare}".format(**defect_roles(study))


def _elsewhere_text(runs: Sequence[RecordedRun]) -> str:
    count = sum(map(is_imported, runs))
    return f"; {count} of them taken from recorded results" if count else ""


def _budgets(runs: Sequence[RecordedRun]) -> list[str]:
    """Baseline epochs of the runs, the least first."""
    return sorted({run.params["budget.compute"] for run in runs}, key=lambda text: (len(text), text))


def _hardware(run: RecordedRun) -> str:
    gpu = run.tags.get("hardware.gpu", "none")
    cpu = f"{run.tags.get('hardware.cpu', 'unknown')} ({run.tags.get('hardware.cores', '?')} cores)"
    return cpu if gpu == "none" else f"{gpu}, {cpu}"


def warnings(study: Study) -> list[str]:
    """What a reader should know before trusting the numbers."""
    found = []
    if study.outdated:
        found.append(f"{study.outdated} runs of another results version are there and left out.")
    if any(run.tags.get("git.dirty") == "true" for run in study.runs):
        found.append("Some runs were made with changes that are not in the named commit.")
    seeds = {run.seed for run in study.runs}
    if len(seeds) < 3:
        found.append(
            f"{len(seeds)} seed{'s' if len(seeds) > 1 else ''}: too few to judge a claim; "
            "three or more give intervals (SEEDS=0,1,2)."
        )
    if study.scale == "smoke":
        found.append("Smoke scale: seconds of training on tiny images. The numbers mean nothing.")
    return found

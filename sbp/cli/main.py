"""The `sbp` command: train, options, data, report, predict, evaluate, review, mine, sync, ui."""

import argparse
import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from sbp.errors import UserError
from sbp.utils.pipes import outlive_closed_pipes

USAGE = """\
sbp train [-m] [group=option] [key=value]   train a model, or sweep with -m
sbp options [GROUP]                         every group and its options, or those of one group with their keys
sbp data check FOLDER [key=value]           read a data set once: counts, duplicates, leaks, a verdict
sbp data show FOLDER [key=value]            a sheet of its images with their annotations
sbp data convert FOLDER --to coco           the same in another layout: masks, coco or labelme
sbp report [--scale cpu] [--recorded]       the claims beside what was measured, as a page
sbp predict CHECKPOINT FOLDER [--out DIR]   masks and overlays for a folder of images
sbp evaluate CHECKPOINT [--split test]      metrics and false alarms of a split; all of it as --out FILE.json
sbp review RUN [--folds 5]                  training annotations that may be wrong: a list, a sheet, proposals
sbp mine CHECKPOINT FOLDER [--images 50]    which images without annotations to annotate next
sbp sync [FOLDER]                           send to MLflow what runs could not send
sbp ui [--port 5000]                        the MLflow UI on the local store
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("sbp", usage=USAGE)
    commands = parser.add_subparsers(dest="command", required=True)

    def command(run: Callable[[argparse.Namespace], None], about: str) -> argparse.ArgumentParser:
        added = commands.add_parser(run.__name__.removeprefix("_"), help=about)
        added.set_defaults(run=run)
        return added

    options = command(_options, "what can be chosen, with keys and defaults")
    options.add_argument("group", nargs="?", default=None, help="default: all, in short")
    predict = command(_predict, "masks and overlays for a folder of images")
    predict.add_argument("checkpoint", type=Path)
    predict.add_argument("folder", type=Path)
    predict.add_argument("--out", type=Path, default=None, help="default: predictions/ beside the checkpoint")
    predict.add_argument("--threshold", type=float, default=0.5)
    evaluate = command(_evaluate, "metrics and false alarms of a split")
    evaluate.add_argument("checkpoint", type=Path)
    evaluate.add_argument("--split", default="test")
    evaluate.add_argument("--out", type=Path, default=None, help="a JSON file for all of it; default: none")
    check = command(_review, "which training annotations may be wrong")
    check.add_argument("trained", metavar="RUN", type=Path, help="a run's folder, or a checkpoint in it")
    about = "models to train, each without one part of the images; default 0: ask the run's own model"
    check.add_argument("--folds", type=int, default=0, help=about)
    check.add_argument("--out", type=Path, default=None, help="default: review/ in the run's folder")
    about = "suspects on the sheet, and whose images get proposals (default 100)"
    check.add_argument("--shown", type=int, default=100, help=about)
    check.add_argument("--to", default="labelme", help="layout of the proposals: masks, coco or labelme")
    check.add_argument("--threshold", type=float, default=0.5, help="probability of a predicted pixel")
    dig = command(_mine, "which images without annotations to annotate next")
    dig.add_argument("checkpoint", type=Path)
    dig.add_argument("folder", type=Path)
    dig.add_argument("--out", type=Path, default=None, help="default: mined/ beside the checkpoint")
    dig.add_argument("--images", type=int, default=None, help="budget in images (default 50)")
    dig.add_argument("--defects", type=float, default=None, help="budget in defects that the model expects")
    dig.add_argument("--by", default="entropy", help="entropy, healthy_loss, bald, stratified or random")
    dig.add_argument("--aggregation", default="topk_mean", help="of the score's map: max, mean or topk_mean")
    dig.add_argument("--mc-dropout", type=int, default=0, help="passes, which bald needs (default 0)")
    dig.add_argument(
        "--power", type=float, default=4.0, help="of stratified: how sharply it ranks (default 4)"
    )
    dig.add_argument("--copy", action="store_true", help="copy the chosen images instead of linking them")
    dig.add_argument("--workers", type=int, default=None, help="threads that decode (default: one per core)")
    dig.add_argument("--seed", type=int, default=0)
    for user in (predict, evaluate, check, dig):
        user.add_argument("--device", default="cpu")
    report = command(_report, "the claims beside what was measured, as a page")
    report.add_argument("sections", nargs="*", help="default: all")
    report.add_argument("--scale", default=None, help="default: that of the newest run")
    report.add_argument("--out", type=Path, default=None, help="default: report/SCALE in the output folder")
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    report.add_argument("--uri", default=uri, help="default: the local store")
    about = "MLflow's name, as in tracking.experiment; default: sbp"
    report.add_argument("--experiment", default="sbp", help=about)
    report.add_argument("--record", action="store_true", help="also write experiments/*/results.csv")
    about = "also on what is recorded in experiments/*/results.csv, trained here or not"
    report.add_argument("--recorded", action="store_true", help=about)
    sync = command(_sync, "send to MLflow what runs could not send")
    sync.add_argument("folder", nargs="?", default=None, help="default: the output folder")
    sync.add_argument("--uri", default=uri, help="of the server, if any")
    ui = command(_ui, "the MLflow UI on the local store")
    ui.add_argument("--port", type=int, default=5000)
    return parser


def main() -> None:
    """Entry point of the console script; exits with 2 after one line for a mistake that a user can mend."""
    outlive_closed_pipes()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a file's name may be in no encoding
    command = sys.argv[1] if len(sys.argv) > 1 else ""
    if command == "train":
        from sbp.train import main as train

        sys.argv = ["sbp train", *sys.argv[2:]]
        train()
        return
    try:
        if command == "data":
            from sbp.cli.data import main as data
            from sbp.config.paths import register_resolvers

            register_resolvers()
            sys.exit(data(sys.argv[2:]))
        arguments = _parser().parse_args()
        arguments.run(arguments)
    except UserError as error:
        print(f"sbp: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if not error.filename:
            raise
        print(f"sbp: {error.filename}: {error.strerror}", file=sys.stderr)  # a file in the way, no permission
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


def _options(arguments: argparse.Namespace) -> None:
    from sbp.config.help import options_text

    print(options_text(arguments.group))


def _predict(arguments: argparse.Namespace) -> None:
    from sbp.cli.predict import predict

    sys.exit(predict(arguments))


def _evaluate(arguments: argparse.Namespace) -> None:
    from sbp.cli.evaluate import evaluate

    evaluate(arguments)


def _review(arguments: argparse.Namespace) -> None:
    from sbp.cli.review import review

    review(arguments)


def _mine(arguments: argparse.Namespace) -> None:
    from sbp.cli.mine import mine

    sys.exit(mine(arguments))


def _report(arguments: argparse.Namespace) -> None:
    from sbp.config.paths import output_root
    from sbp.report.study import read_study
    from sbp.report.writing import write_report

    root, sections, scale = output_root(), arguments.sections or None, arguments.scale
    where = {"uri": arguments.uri, "experiment": arguments.experiment}
    if not (arguments.record or arguments.recorded):
        print(f"report: {write_report(root, scale, sections, arguments.out, **where)}")
        return
    from sbp.report.record import write_record
    from sbp.report.recorded import import_recorded
    from sbp.run.results_version import RESULTS_VERSION

    version = str(RESULTS_VERSION)
    if arguments.record and scale is None:
        scale = read_study(root, None, sections, **where, version=version).scale
    print(f"taken as done: {import_recorded(root, version, scale, sections, **where)}")
    where["version"] = version
    print(f"report: {write_report(root, scale, sections, arguments.out, **where)}")
    if arguments.record:
        for path in write_record(root, scale, sections, **where):
            print(f"recorded: {path}")


def _sync(arguments: argparse.Namespace) -> None:
    from sbp.config.paths import output_root
    from sbp.tracking.sync import sync

    line = ""
    for line in sync(output_root(), arguments.folder, arguments.uri):
        print(line)
    if not line:
        print("everything is in MLflow")


def _ui(arguments: argparse.Namespace) -> None:
    from sbp.config.paths import output_root
    from sbp.metrics.tasks import task_of_metrics
    from sbp.tracking.store import local_uri, open_store, ui_link

    root = output_root()
    client = open_store(None, root)
    for experiment in client.search_experiments(filter_string="name != 'Default'"):
        newest = client.search_runs([experiment.experiment_id], max_results=50)
        metrics = next((run.data.metrics for run in newest if run.data.metrics), {})
        link = ui_link(experiment.experiment_id, task_of_metrics(metrics).validated, arguments.port)
        print(f"{experiment.name}: {link}", flush=True)
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", local_uri(root)]
    command += ["--host", "127.0.0.1", "--port", str(arguments.port)]
    if os.name == "posix":
        os.execv(sys.executable, command)
    else:  # a shell would take execv for the end of the command
        sys.exit(subprocess.call(command))


if __name__ == "__main__":
    main()

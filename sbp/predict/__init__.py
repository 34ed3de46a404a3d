"""Using a trained model: masks and overlays for a folder of images, metrics of a split."""

from sbp.predict.evaluation import ChosenPoint, SplitReport, evaluate_checkpoint, evaluate_split
from sbp.predict.folder import Prediction, predict_folder, predictions
from sbp.predict.model import predict_images, predict_split, restore

__all__ = [
    "ChosenPoint",
    "Prediction",
    "SplitReport",
    "evaluate_checkpoint",
    "evaluate_split",
    "predict_folder",
    "predict_images",
    "predict_split",
    "predictions",
    "restore",
]

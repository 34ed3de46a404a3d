"""Images that are each of one class: sets for classification, a file for each way to store them."""

from sbp.data.classes.cifar import Cifar10, Cifar100
from sbp.data.classes.folder import ImageFolder
from sbp.data.classes.mnist_small import MnistSmall
from sbp.data.classes.source import ClassSource
from sbp.data.classes.svhn import Svhn

__all__ = ["Cifar10", "Cifar100", "ClassSource", "ImageFolder", "MnistSmall", "Svhn"]

"""Training by back-propagation: losses, training of featurizers, and fine-tuning."""

from redunet.training.convolutional import ReduConvLayer, ReduConvNet
from redunet.training.featurizers import TrainingHistory, features, train
from redunet.training.fine_tuned import FineTuned, FineTuningHistory
from redunet.training.fine_tuning import finetune
from redunet.training.heads import LinearHead, ResidualHead
from redunet.training.losses import MCR2Loss, OLELoss, VariationalMCR2Loss

__all__ = [
    "FineTuned",
    "FineTuningHistory",
    "LinearHead",
    "MCR2Loss",
    "OLELoss",
    "ReduConvLayer",
    "ReduConvNet",
    "ResidualHead",
    "TrainingHistory",
    "VariationalMCR2Loss",
    "features",
    "finetune",
    "train",
]

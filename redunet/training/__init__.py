"""Training by back-propagation: losses of features, and fine-tuning of constructed networks."""

from redunet.training.convolutional import ReduConvLayer, ReduConvNet
from redunet.training.fine_tuned import FineTuned, FineTuningHistory, LinearHead, ResidualHead
from redunet.training.fine_tuning import finetune
from redunet.training.losses import MCR2Loss, OLELoss, VariationalMCR2Loss, gathered
from redunet.training.token_statistics import TokenStatisticsAttention

__all__ = [
    "FineTuned",
    "FineTuningHistory",
    "LinearHead",
    "MCR2Loss",
    "OLELoss",
    "ReduConvLayer",
    "ReduConvNet",
    "ResidualHead",
    "TokenStatisticsAttention",
    "VariationalMCR2Loss",
    "finetune",
    "gathered",
]

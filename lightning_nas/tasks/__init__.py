"""Tasks: what a batch means, its loss and its metrics."""

from lightning_nas.tasks.base import Evaluation, Task
from lightning_nas.tasks.classification import Classification
from lightning_nas.tasks.image_classification import ImageClassification
from lightning_nas.tasks.regression import Regression

__all__ = ["Classification", "Evaluation", "ImageClassification", "Regression", "Task"]

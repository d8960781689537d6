"""Tasks: what a batch means, its loss and its metrics."""

from lightning_nas.tasks.base import Evaluation, Task
from lightning_nas.tasks.image_classification import ImageClassification

__all__ = ["Evaluation", "ImageClassification", "Task"]

"""Tasks: what a batch means, its loss and its metrics."""

from lightning_nas.tasks.base import Evaluation, Task
from lightning_nas.tasks.classification import Classification
from lightning_nas.tasks.image_classification import ImageClassification
from lightning_nas.tasks.language_modeling import LanguageModeling
from lightning_nas.tasks.regression import Regression
from lightning_nas.tasks.text_batch import TextBatch

__all__ = ["Classification", "Evaluation", "ImageClassification", "LanguageModeling", "Regression", "Task", "TextBatch"]

"""Sequence classification: rows of numbers, such as the rows of an image, to one of several classes."""

from kzoo.tasks.base import Task


class SequenceClassification(Task):
    """One class per sequence."""

    name = "sequence_classification"
    default_data = "digits/zero_one"


TASK = SequenceClassification()

"""What tasks share that are not about one kind of input: images, texts, sequences and rows of numbers learn alike."""

from typing import Any

from kzoo.data import columns
from kzoo.tasks.base import Task, takes_images, takes_tokens
from kzoo.tasks.feeding.letter_input import LetterInput
from kzoo.tasks.text_classification import TextClassification
from kzoo.tasks.wanted_outputs import require_outputs


def batches_by_input(task, name, model, how) -> Any:
    """The `Data` of a name: as a classifier of texts reads it where the model takes tokens, else as one of images."""
    return (TextClassification if takes_tokens(model) else Task).batches(task, name, model, how)


class AnyInput(LetterInput):
    """Numbers for each example; folders of classes are not for them.

    Such a model ends as a classifier does and is built from the file of one: `INSTEAD_OF` in the file of the task names
    the tasks whose models the keyword `task` may turn into its own.
    """

    default_data = "synthetic"

    def check_suits(self, model) -> None:
        require_outputs(self, model, rank=2, least=1)

    def batches(self, name, model, how) -> Any:
        from kzoo.data.sources import folders, table_files

        if columns.lettered(model):
            return super().batches(name, model, how)
        if table_files.find(name) is None and folders.find(name) is not None:
            raise ValueError(
                f"{name} holds a class for every image; {model.name} is for {self.words}: pass arrays (x, y), or a "
                "table"
            )
        return batches_by_input(self, name, model, how)

    def num_results(self, model) -> int:
        return model.outputs[0].shape[-1]

    def endpoints(self, model) -> dict:
        from kzoo.tasks import endpoints

        return endpoints.of_results(self, model) if takes_images(model) else {}

"""DNA classification: a class for each sequence of nucleotides, or of amino acids."""

from kzoo.tasks.feeding.letter_input import LetterInput

RECIPE = {
    "optimizer": "adamw", "learning_rate": 2e-3, "weight_decay": 0.01, "schedule": "cosine", "warmup_steps": 100,
    "epochs": 30, "batch_size": 64,
}  # fmt: skip


class DnaClassification(LetterInput):
    """One class per sequence."""

    name = "dna_classification"
    default_data = "splice_junctions"
    recipe = RECIPE


TASK = DnaClassification()

"""What learns to fold: a network that reads what it found before, and the losses of all that it says."""

import functools
from typing import Any

import keras
from keras import ops

from kzoo.generation import recycling
from kzoo.support.suggest import did_you_mean
from kzoo.tasks.protein_structure import ground_truth, head_losses, similarity, structure_losses, violations
from kzoo.tasks.trainee import ComposedTrainee

# what each part of the loss counts, section 1.9 and DeepMind's configuration
WEIGHTS = {
    "fape": 0.5, "side_chain_fape": 0.5, "chi": structure_losses.CHI, "angle_norm": structure_losses.ANGLE_NORM,
    "distogram": 0.3, "masked_msa": 2.0, "predicted_lddt": 0.01, "experimentally_resolved": 0.01,
    "predicted_aligned_error": 0.1, "violations": 1.0,
}  # fmt: skip
LOSSES = ("training", "fine_tuning")


def parts(outputs, x, y, finer=False) -> dict:
    """Each part of the loss for every example, (batch,).

    Args:
        outputs: what the network says.
        x: its inputs; y: the atoms, by the names of `chains.LEARNED`.
        finer: whether to look at violations.
    """
    truth = ground_truth.of_structure(x["aatype"], y["positions"], y["mask"])
    truth = violations.padded_exists(truth, x["seq_mask"])
    backbone = _frames(outputs["frames"])
    groups, atom14 = _frames(outputs["sidechain_frames"]), outputs["final_atom14_positions"]
    angles = outputs["angles"], outputs["unnormalized_angles"]
    chi, norm = structure_losses.torsion_errors(*angles, truth, x["seq_mask"])
    points, known = y["pseudo_beta"], y["pseudo_beta_mask"]
    found = {
        "fape": ops.mean(structure_losses.backbone_error(backbone, truth, y["clamped"]), axis=1),
        "side_chain_fape": structure_losses.side_chain_error(groups, atom14, truth),
        "chi": chi,
        "angle_norm": norm,
        "distogram": head_losses.distogram(outputs["distogram"], points, known),
        "masked_msa": head_losses.masked_msa(outputs["masked_msa"], y["true_msa"], y["bert_mask"]),
        "predicted_lddt": y["judged"]
        * head_losses.predicted_lddt(outputs["predicted_lddt"], outputs["final_atom_positions"], truth),
        "experimentally_resolved": y["sharp"]
        * head_losses.experimentally_resolved(outputs["experimentally_resolved"], truth),
    }
    if "predicted_aligned_error" in outputs:
        last = tuple(each[:, -1] for each in backbone)
        logits = outputs["predicted_aligned_error"]
        found["predicted_aligned_error"] = y["judged"] * head_losses.aligned_error(logits, last, truth)
    if finer:
        found["violations"] = violations.violation_loss(atom14, truth, x["residue_index"])
    return found


def total(found) -> Any:
    """Parts of the loss as one, (batch,)."""
    return sum(WEIGHTS[name] * value for name, value in found.items())


def _frames(x):
    return x[..., :3], x[..., 3]


def lddt_of(outputs, y) -> Any:
    """lDDT of C-alphas for every example, (batch,)."""
    predicted, true = outputs["final_atom_positions"][:, :, ground_truth.CA], y["positions"][:, :, ground_truth.CA]
    return similarity.lddt(ops.cast(predicted, "float32"), true, y["mask"][:, :, ground_truth.CA])


class Runner(keras.Model):
    """The network with its recycling, as it learns; it is never saved.

    Of the iterations only the last one learns, and all of a step use the same rows of an alignment.
    """

    def __init__(self, network):
        super().__init__(name=network.name)
        self.network, self.finer = network, False
        self.means = {name: keras.metrics.Mean(name) for name in ("lddt", "distogram_loss")}

    def call(self, x, training=False) -> dict:
        given = {name: values for name, values in x.items() if name != "num_recycles"}
        call = functools.partial(self.network, training=training)
        return recycling.unrolled(self.network, given, x["num_recycles"][0], call)

    @property
    def metrics(self) -> list:
        return [*super().metrics, *self.means.values()]

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True) -> keras.KerasTensor:
        return ops.mean(total(parts(y_pred, x, y, self.finer)))

    def compute_metrics(self, x, y, y_pred, sample_weight=None) -> dict:
        self.means["lddt"].update_state(lddt_of(y_pred, y))
        points, known = y["pseudo_beta"], y["pseudo_beta_mask"]
        self.means["distogram_loss"].update_state(head_losses.distogram(y_pred["distogram"], points, known))
        return self.get_metrics_result()


class FoldingTrainee(ComposedTrainee):
    """A network of proteins, with everything that it is learned by."""

    def __init__(self, model, task):
        super().__init__(model, task)
        self.runner = Runner(model)

    @property
    def parts(self) -> list:
        return [self.model]

    def use(self, loss, metrics) -> None:
        """Takes `training` or `fine_tuning` as the loss; there are no metrics beside its own."""
        if metrics is not None:
            raise ValueError(f"metrics={metrics!r}: {self.model.name} has metrics of its own; leave it out")
        if loss is None:
            return
        if loss not in LOSSES:
            raise ValueError(did_you_mean("loss", loss, LOSSES))
        self.own, self.runner.finer = {"loss": loss}, loss == "fine_tuning"

    def compile(self, recipe, make_optimizer, choose) -> Any:
        if recipe.label_smoothing:
            raise ValueError(
                f"label_smoothing={recipe.label_smoothing}: structures are learned without it; leave it at 0"
            )
        optimizer = make_optimizer(self.model)
        chosen = choose(self.model, optimizer)
        self.runner.compile(optimizer, **chosen.options)
        return chosen

    def build(self, batch) -> None:
        x, y = batch
        self.runner.optimizer.build(self.model.trainable_variables)
        outputs = self.runner(x, training=False)
        self.runner.compute_metrics(x, y, outputs)
        self.runner.reset_metrics()

    def variables(self) -> dict:
        return {
            "model": self.model.variables,
            "optimizer": self.runner.optimizer.variables,
            "metrics": self.runner.metrics_variables,
        }

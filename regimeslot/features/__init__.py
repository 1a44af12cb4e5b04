"""Causal features of a price series, and the dataset that forecasters are fitted on."""

from regimeslot.features.build import make_dataset, next_row
from regimeslot.features.columns import OFFSET, RETURN
from regimeslot.features.dataset import TRANSFORMS, Dataset

__all__ = ["OFFSET", "RETURN", "TRANSFORMS", "Dataset", "make_dataset", "next_row"]

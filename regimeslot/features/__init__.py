"""Causal features of a price series, and the dataset that forecasters are fitted on."""

from regimeslot.features.build import make_dataset, next_row, other_series
from regimeslot.features.columns import OFFSET, RETURN
from regimeslot.features.cross_section import OtherSeries
from regimeslot.features.dataset import TRANSFORMS, Dataset

__all__ = [
    "OFFSET",
    "RETURN",
    "TRANSFORMS",
    "Dataset",
    "OtherSeries",
    "make_dataset",
    "next_row",
    "other_series",
]

"""The one forecast type of the package: mixtures of two-piece Student-t components."""

from regimeslot.forecast.mixture import MixtureForecast

__all__ = ["MixtureForecast"]

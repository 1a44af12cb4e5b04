"""A public test for look-ahead: rewrite the future, and the past must not move."""

from regimeslot.causality.check import assert_causal

__all__ = ["assert_causal"]

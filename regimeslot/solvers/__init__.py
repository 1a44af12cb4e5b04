"""Pure numerics: optimisers that know no model."""

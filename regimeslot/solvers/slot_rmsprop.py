"""The plain first-order training of a torch module: RMSprop on shuffled mini-batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["train_rmsprop"]


def train_rmsprop(
    module: nn.Module,
    X: torch.Tensor,
    Y: torch.Tensor,
    *,
    weights: torch.Tensor | None = None,
    epochs: int = 100,
    batch_size: int = 64,
    learning_rate: float = 0.01,
    seed: int = 0,
) -> list[float]:
    """Minimise the mean squared error with ``torch.optim.RMSprop``; returns the loss per epoch.

    Parameters
    ----------
    module
        trained in place
    X : (n, d)
    Y : (n, p)
    weights : (n,), optional
        row weights with mean one
    epochs, batch_size, learning_rate
        0.01 is torch's own default for RMSprop
    seed
        of the order of the rows
    """
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    tensors = (X, Y) if weights is None else (X, Y, weights)
    generator = torch.Generator().manual_seed(seed)
    batches = DataLoader(
        TensorDataset(*tensors), batch_size=batch_size, shuffle=True, generator=generator
    )
    optimiser = torch.optim.RMSprop(module.parameters(), lr=learning_rate)
    losses = []
    for _ in range(epochs):
        total = 0.0
        for batch in batches:
            optimiser.zero_grad()
            error = (module(batch[0]) - batch[1]) ** 2
            loss = error.mean() if weights is None else (error * batch[2][:, None]).mean()
            loss.backward()
            optimiser.step()
            total += float(loss.detach()) * len(batch[0])
        losses.append(total / len(X))
    return losses

"""Responsibilities of slots along sequences: a chain that stays, and what counts as none."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from regimeslot.markov.scan import forward_filter, weighted_smoother

__all__ = ["chain_posterior", "cut", "follow_use", "settled", "shares"]

THRESHOLD = 0.02  # a smaller responsibility is none
STRETCH = 8.0  # steps of one sequence that make a slot worth training
LEAST = 0.05  # share of a batch that is worth a step of the optimiser
ASLEEP = 0.005  # recent share of a slot that is not in use
WAKING = 0.25  # share of a batch that wakes it


def chain_posterior(
    log_density: Tensor,
    stay: float,
    prior: Tensor | None = None,
    *,
    share: Tensor | None = None,
    smooth: bool = False,
) -> Tensor:
    """Probabilities of the slots of a staying chain, (T, B, K) in double precision.

    Parameters
    ----------
    log_density : (K, T, B)
    stay
        probability of no draw at the next step: A = stay I + (1 - stay) 1 share'
    prior : (B, K)
        probabilities after the step before; None and rows of zeros are ``share``
    share : (K,)
        how often each slot is drawn; even odds if left out
    smooth
        given the whole sequence, in place of the sequence up to each step

    Examples
    --------
    >>> evidence = torch.tensor([[0.0, 0.0], [-1.0, -1.0]]).log_softmax(0).unsqueeze(2)
    >>> chain_posterior(evidence, 0.9)[:, 0, 0].numpy().round(3)
    array([0.731, 0.868])
    """
    K, T, B = log_density.shape
    if K == 1:
        return torch.ones(T, B, 1, dtype=torch.float64, device=log_density.device)
    drawn = np.full(K, 1 / K) if share is None else share.double().cpu().numpy()
    start = np.tile(drawn, (B, 1))
    if prior is not None:
        given = prior.detach().double().cpu().numpy()
        total = given.sum(1)
        start[total > 0] = given[total > 0] / total[total > 0, None]
    move = (1 - stay) * np.tile(drawn, (K, 1)) + stay * np.eye(K)
    # Sequences lie behind one another, each from its own start.
    flat = log_density.detach().double().cpu().numpy().transpose(0, 2, 1).reshape(K, B * T)
    found = forward_filter(flat, move, (start @ move).T, np.arange(0, B * T, T))
    weights = weighted_smoother(found).weights if smooth else found.filtered
    posterior = np.ascontiguousarray(weights.reshape(K, B, T).transpose(2, 1, 0))
    return torch.from_numpy(posterior).to(log_density.device)


def cut(posterior: Tensor) -> Tensor:
    """The same with responsibilities under 2 % at exactly zero, rows again summing to one."""
    least = min(THRESHOLD, 0.5 / posterior.shape[-1])  # many slots: even odds stay even odds
    kept = posterior.masked_fill(posterior < least, 0)
    return kept / kept.sum(-1, keepdim=True)


def shares(log_likelihood: Tensor, recent: Tensor) -> Tensor:
    """How often each slot occurs among sequences, from their log-likelihoods (K, B), by EM.

    A fifth of the say has what was ``recent`` (K,). Sequences that could be of several slots then
    go where the rest of the batch goes, and the batches before.
    """
    K, B = log_likelihood.shape
    share = log_likelihood.new_full((K,), 1 / K)
    prior = 0.25 * B * recent + 0.01
    for _ in range(10):
        posterior = torch.softmax(log_likelihood + share.log().unsqueeze(1), 0)
        share = posterior.sum(1) + prior
        share = share / share.sum()
    return share


def settled(r: Tensor, steps: Tensor, recent: Tensor) -> Tensor:
    """Responsibilities (T, B, K) without those of slots that only a few stray steps point to.

    A slot needs a stretch of its own in some sequence and a twentieth of all steps, one that was
    not in use a quarter. Adam's steps do not shrink with the gradient: a few stray steps of another
    regime would move a slot as far as a batch of its own does.
    """
    needed = (0.5 * steps.sum(0)).clamp(max=STRETCH).unsqueeze(1)
    meant = ((r.sum(0) >= needed) & (needed > 0)).any(0)
    share = r.sum((0, 1)) / r.sum().clamp(min=torch.finfo(r.dtype).tiny)
    least = torch.where(recent >= ASLEEP, LEAST, WAKING)
    kept = meant & (share >= least)
    r = r * (kept if kept.any() else share == share.amax())
    return r / r.sum(2, keepdim=True).clamp(min=torch.finfo(r.dtype).tiny)


def follow_use(recent: Tensor, r: Tensor) -> Tensor:
    """The recent shares (K,) after a batch with responsibilities r (T, B, K)."""
    used = r.sum((0, 1))
    if not used.any():
        return recent
    return 0.8 * recent + 0.2 * used / used.sum()

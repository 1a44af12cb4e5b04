r"""Which slot a sequence belongs to, by how its inputs move; no labels and no gradients.

Every slot keeps the second moments of :math:`z_t = [1, x_{t-1}, x_{t-2}, x_{t-4}, x_t]` over the
steps it was responsible for: a vector autoregression with its residual covariance. The slots form
a chain that stays, so that the evidence of a sequence adds up step by step,

.. math::
    P(k \mid x_{\le t}) \propto p_k(x_t \mid x_{t-1}, x_{t-2}, x_{t-4})
        \sum_j A_{jk} P(j \mid x_{<t}), \qquad A_{kk} = \mathrm{stay},

with a Student-t density, so that a single outlier settles nothing. Sequences that every slot
explains much worse than those it knows get a slot of their own, as long as there is a free one.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from regimeslot.models.slot_chain import chain_posterior, cut, follow_use, settled, shares

__all__ = ["LAGS", "GateSteps", "InputGate"]

LAGS = (1, 2, 4)
DOF = 6.0  # of the densities: tails in which one step is bounded evidence
NOVELTY = 6.0  # standard deviations under a slot's own experience that make a sequence new
RIDGE = 1e-3


class GateSteps(NamedTuple):
    """Steps in standard units: z (T, B, P), how many of the lags each has, which steps exist."""

    z: Tensor
    order: Tensor
    steps: Tensor


class InputGate(nn.Module):
    """Responsibilities of slots from the inputs, learned by counting.

    Parameters
    ----------
    n_slots
        most slots there can be
    input_size
        length of x
    stay
        probability in [0, 1) that the slot stays the same from one step to the next
    device
        of the statistics, which are in double precision

    Attributes
    ----------
    moment : (S, P, P)
        mean of z z' over the steps of each slot, P = 1 + 4 ``input_size``, in standard units
    rows : (S,)
        number of steps behind it; zero for a free slot
    score : (S, 2)
        mean and variance of the log density a step that sequences of the slot had
    sequences : (S,)
        number of sequences behind it
    recent : (S,)
        share of each slot in the last five batches or so
    centre, scale : (D,)
        units, from the first batch ever seen

    Examples
    --------
    >>> import torch
    >>> gate = InputGate(3, 1)
    >>> _ = torch.manual_seed(0)
    >>> for level in (0.0, 9.0):
    ...     for _ in range(5):
    ...         _ = gate.learn(level + torch.randn(20, 16, 1))
    >>> gate.n_used
    2
    >>> gate.infer(torch.randn(20, 1, 1))[0][-1, 0].round()
    tensor([1., 0., 0.], dtype=torch.float64)
    """

    moment: Tensor
    rows: Tensor
    score: Tensor
    sequences: Tensor
    recent: Tensor
    centre: Tensor
    scale: Tensor

    def __init__(
        self,
        n_slots: int,
        input_size: int,
        *,
        stay: float = 0.98,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        self.n_slots = n_slots
        self.input_size = input_size
        self.stay = stay
        P = 1 + (len(LAGS) + 1) * input_size
        shapes = {
            "moment": (n_slots, P, P),
            "rows": (n_slots,),
            "score": (n_slots, 2),
            "sequences": (n_slots,),
            "recent": (n_slots,),
            "centre": (input_size,),
            "scale": (input_size,),
        }
        for name, shape in shapes.items():
            self.register_buffer(name, torch.zeros(shape, dtype=torch.float64, device=device))

    def reset(self) -> None:
        """Forget everything."""
        for buffer in self.buffers():
            buffer.zero_()

    @property
    def n_used(self) -> int:
        """Number of slots that have been responsible for anything; they are taken in order."""
        return int((self.rows > 0).sum())

    def past_shape(self, batch: int) -> tuple[int, int, int]:
        """Shape of the inputs carried from one call to the next, a last column marking them."""
        return batch, LAGS[-1], self.input_size + 1

    @torch.no_grad()
    def infer(
        self,
        x: Tensor,
        *,
        prior: Tensor | None = None,
        past: Tensor | None = None,
        lengths: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Responsibilities at each step from the inputs up to that step; nothing is learned.

        Parameters
        ----------
        x : (T, B, D)
        prior : (B, S)
            responsibilities after the step before; zeros where there is none, which half favour
            the slots trained last
        past : (B, 4, D + 1)
            the inputs before; zeros where there are none
        lengths : (B,)
            number of steps of each sequence

        Returns
        -------
        responsibilities (T, B, S), and the prior and past of a next call
        """
        K = max(self.n_used, 1)
        if K == 1:
            r = _padded(x.new_ones(*x.shape[:2], 1, dtype=self.moment.dtype), self.n_slots)
        else:
            rows = self.design(x, past, lengths)
            log_density = self.log_density(rows, K)
            start = self.start(K, x.shape[1], prior)
            r = _padded(cut(chain_posterior(log_density, self.stay, start)), self.n_slots)
        return r, _last(r, lengths), self.next_past(x, past, lengths)

    @torch.no_grad()
    def learn(
        self,
        x: Tensor,
        *,
        prior: Tensor | None = None,
        past: Tensor | None = None,
        lengths: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Responsibilities at each step from the whole sequences, which the slots then count in.

        Sequences unlike anything known take the next free slot. Arguments and results are those
        of :meth:`infer`. The statistics of a slot without responsibility are not touched.
        """
        if not self.n_used:
            self.set_units(x, lengths)
        rows = self.design(x, past, lengths)
        if not self.n_used:
            self.count(0, rows, rows.steps.to(rows.z.dtype))
            score = _sequence_mean(self.log_density(rows, 1), rows.steps)
            self._experience(0, score[0])
            self.recent[0] = 1
        log_density = self.log_density(rows, self.n_used)
        if self.n_used < self.n_slots:
            log_density = self._take_in(rows, log_density)
        K = self.n_used
        start = None if prior is None else prior[:, :K]
        recent = self.recent[:K]
        share = shares((log_density * rows.steps).sum(1), recent)
        r = cut(chain_posterior(log_density, self.stay, start, share=share, smooth=True))
        r = settled(r * rows.steps.unsqueeze(2), rows.steps, recent)
        recent.copy_(follow_use(recent, r))
        score = _sequence_mean(log_density, rows.steps)
        best = score.argmax(0)
        for slot in range(K):
            if r[:, :, slot].any():
                self._experience(slot, score[slot, best == slot])
                self.count(slot, rows, r[:, :, slot])
        r = _padded(r, self.n_slots)
        return r, _last(r, lengths), self.next_past(x, past, lengths)

    def start(self, K: int, batch: int, prior: Tensor | None = None) -> Tensor:
        """Probabilities (B, K) before a first step: ``prior``, else half those of late, half even.

        What was trained last is the likeliest to come; where the inputs say otherwise, they win.
        """
        first = 0.5 * self.recent[:K] + 0.5 / K
        first = (first / first.sum()).expand(batch, K)
        if prior is None:
            return first
        given = prior[:, :K].to(first.dtype)
        return torch.where(given.sum(1, keepdim=True) > 0, given, first)

    def set_units(self, x: Tensor, lengths: Tensor | None) -> None:
        """Mean and standard deviation of the first batch; a constant column gets a tenth of one."""
        seen = x.to(self.moment.dtype)[_steps(x, lengths)]
        mean, std = seen.mean(0), seen.std(0, correction=0)
        moving = std > 1e-6 * mean.abs() + 1e-12
        typical = std[moving].median() if moving.any() else std.new_ones(())
        self.centre.copy_(mean)
        self.scale.copy_(torch.where(moving, std, 0.1 * torch.maximum(mean.abs(), typical)))

    def design(self, x: Tensor, past: Tensor | None, lengths: Tensor | None) -> GateSteps:
        """The steps of sequences (T, B, D), each beside its lags."""
        T, B, D = x.shape
        steps = _steps(x, lengths)
        units = self.scale if self.n_used or self.scale.any() else torch.ones_like(self.scale)
        now = (x.to(self.moment.dtype) - self.centre) / units
        before, marks = now.new_zeros(LAGS[-1], B, D), now.new_zeros(LAGS[-1], B)
        if past is not None:
            marks = past[..., D].to(now.dtype).T
            before = (past[..., :D].to(now.dtype).transpose(0, 1) - self.centre) / units
            before = before * marks.unsqueeze(2)
        whole, known = torch.cat([before, now]), torch.cat([marks, now.new_ones(T, B)])
        starts = [LAGS[-1] - lag for lag in LAGS]
        parts = [whole[start : start + T] for start in starts]
        z = torch.cat([now.new_ones(T, B, 1), *parts, now], 2)
        has = torch.stack([known[start : start + T] for start in starts])
        return GateSteps(z, has.cumprod(0).sum(0).long(), steps)

    def log_density(self, rows: GateSteps, K: int) -> Tensor:
        """Log density of every step under the first K slots, (K, T, B); zero where there is none.

        A step whose lags are not all known is taken given those that are.
        """
        D = self.input_size
        found = rows.z.new_zeros(K, *rows.order.shape)
        for order in range(len(LAGS) + 1):
            chosen = (rows.order == order) & rows.steps
            if not chosen.any():
                continue
            z, q = rows.z[chosen], 1 + order * D
            coef, factor = self._regression(K, q)
            error = z[:, -D:] - z[:, :q] @ coef
            white = torch.linalg.solve_triangular(factor, error.mT, upper=False)
            distance = white.square().sum(1) / (DOF - 2)
            log_scale = factor.diagonal(dim1=1, dim2=2).log().sum(1, keepdim=True)
            found[:, chosen] = -log_scale - 0.5 * (DOF + D) * torch.log1p(distance)
        constant = math.lgamma(0.5 * (DOF + D)) - math.lgamma(0.5 * DOF)
        return (found + constant - 0.5 * D * math.log(math.pi * (DOF - 2))) * rows.steps

    def _regression(self, K: int, q: int) -> tuple[Tensor, Tensor]:
        """Coefficients (K, q, D) of x on the first q of z and the factor of what is left over."""
        D = self.input_size
        M, n = self.moment[:K], self.rows[:K].view(-1, 1, 1)
        eye = torch.eye(q, dtype=M.dtype, device=M.device)
        eye[0, 0] = RIDGE
        U, C, V = M[:, :q, :q], M[:, :q, -D:], M[:, -D:, -D:]
        coef = torch.linalg.solve(U + (RIDGE + (1 + 0.1 * q) / (n + 1)) * eye, C)
        left = V - C.mT @ coef - coef.mT @ C + coef.mT @ U @ coef
        prior = D + 2.0
        eye = torch.eye(D, dtype=M.dtype, device=M.device)
        covariance = (n * (left + RIDGE * eye) + prior * eye) / (n + prior)
        return coef, torch.linalg.cholesky(covariance)

    def count(self, slot: int, rows: GateSteps, weight: Tensor) -> None:
        """Add steps to a slot's moments: those with all lags, unless the sequences are short."""
        if len(weight) >= 2 * LAGS[-1]:
            weight = weight * (rows.order == len(LAGS))
        total = weight.sum()
        if not total > 0:
            return
        z = rows.z.flatten(0, 1)
        added = (z * weight.reshape(-1, 1)).T @ z
        n = self.rows[slot].clone()
        self.moment[slot] = (n * self.moment[slot] + added) / (n + total)
        self.rows[slot] = n + total

    def _experience(self, slot: int, score: Tensor) -> None:
        """Move mean and variance of the sequences' scores; the last 1,000 or so count."""
        if not len(score):
            return
        old, n = self.sequences[slot].clamp(max=1000), float(len(score))
        share = n / (old + n)
        mean, variance = self.score[slot].unbind()
        move = score.mean() - mean
        within = score.var(correction=0)
        new = (1 - share) * variance + share * within + share * (1 - share) * move**2
        self.score[slot] = torch.stack([mean + share * move, new])
        self.sequences[slot] += n

    def _take_in(self, rows: GateSteps, log_density: Tensor) -> Tensor:
        """Give sequences unlike all known ones the next slot, if it forecasts them better."""
        K, steps = self.n_used, rows.steps
        score = _sequence_mean(log_density, steps)
        known = score.amax(0)
        members = self._novel(score, steps.sum(0))
        if not members.any() or not self._better(rows, members, log_density.amax(0)):
            return log_density
        for _ in range(3):  # the new slot's sequences are those that it explains best
            self.rows[K] = 0
            self.count(K, rows, (steps & members).to(rows.z.dtype))
            grown = self.log_density(rows, K + 1)
            mine = _sequence_mean(grown, steps)[K]
            members = mine > known
        self._experience(K, mine[members])
        self.recent[K] = 1
        self.recent /= self.recent.sum()
        self.rows[K] = self.rows[K].clamp(max=1)  # they are counted with the rest of the batch
        return grown

    def _better(self, rows: GateSteps, members: Tensor, known: Tensor) -> bool:
        """Whether a slot fitted to half of the members explains the other half better, by 5 nats.

        ``known`` (T, B) is the log density of the best slot there is.
        """
        K, steps = self.n_used, rows.steps & members
        rank = members.cumsum(0)
        half = (rank % 2 == 0).expand_as(steps)
        if int(rank[-1]) == 1:  # a single sequence is halved in time
            half = 2 * steps.cumsum(0) <= steps.sum(0)
        self.count(K, rows, (steps & half).to(rows.z.dtype))
        fitted = bool(self.rows[K] > 0)
        gain = (self.log_density(rows, K + 1)[K] - known) * (steps & ~half)
        self.rows[K] = 0
        self.moment[K] = 0
        return fitted and float(gain.sum()) > 5

    def _novel(self, score: Tensor, n_steps: Tensor) -> Tensor:
        """Which sequences their best slot explains much worse than those it knows, (B,) bool."""
        best = score.argmax(0)
        novel = torch.zeros_like(best, dtype=torch.bool)
        for slot in range(len(score)):
            members = best == slot
            if self.rows[slot] < 10 * self.moment.shape[1] or not members.any():
                continue
            mean, variance = self.score[slot].unbind()
            # No sequence's mean varies less than that of independent steps.
            spread = torch.maximum(variance, 0.5 * self.input_size / n_steps).sqrt()
            z = (score[slot] - mean) / spread
            novel |= members & (z < -NOVELTY)
            if z[members].mean() * members.sum().sqrt() < -NOVELTY:
                novel |= members & (z < 0)
        return novel

    def next_past(self, x: Tensor, past: Tensor | None, lengths: Tensor | None) -> Tensor:
        """The last inputs of each sequence, marked."""
        _, B, D = x.shape
        if past is None:
            past = x.new_zeros(self.past_shape(B))
        marked = torch.cat([x, x.new_ones(*x.shape[:2], 1)], 2).transpose(0, 1)
        whole = torch.cat([past.to(x.dtype), marked], 1)
        if lengths is None:
            return whole[:, -LAGS[-1] :]
        at = lengths.to(x.device).view(-1, 1) + torch.arange(LAGS[-1], device=x.device)
        return whole.gather(1, at.unsqueeze(2).expand(-1, -1, D + 1))


def _steps(x: Tensor, lengths: Tensor | None) -> Tensor:
    T, B = x.shape[:2]
    if lengths is None:
        return torch.ones(T, B, dtype=torch.bool, device=x.device)
    return torch.arange(T, device=x.device).unsqueeze(1) < lengths.to(x.device)


def _sequence_mean(value: Tensor, steps: Tensor) -> Tensor:
    return (value * steps).sum(1) / steps.sum(0).clamp(min=1)


def _padded(r: Tensor, n_slots: int) -> Tensor:
    return nn.functional.pad(r, (0, n_slots - r.shape[2]))


def _last(r: Tensor, lengths: Tensor | None) -> Tensor:
    if lengths is None:
        return r[-1]
    at = (lengths.to(r.device) - 1).clamp(min=0).view(1, -1, 1)
    return r.gather(0, at.expand(1, -1, r.shape[2]))[0]

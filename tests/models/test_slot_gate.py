"""Which slot a sequence belongs to: against enumeration, and on regimes that only inputs tell."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from regimeslot.models.slot_chain import chain_posterior, cut, settled, shares
from regimeslot.models.slot_gate import InputGate


def enumerated(log_density, stay, prior, share):
    """Filtered and smoothed probabilities of one sequence (K, T) from every path."""
    K, T = log_density.shape
    move = stay * np.eye(K) + (1 - stay) * np.tile(share, (K, 1))

    def posterior(upto, at):
        weight = np.zeros(K)
        for path in itertools.product(range(K), repeat=upto):
            p = (prior @ move)[path[0]]
            for before, now in itertools.pairwise(path):
                p *= move[before, now]
            weight[path[at]] += p * np.exp(sum(log_density[k, t] for t, k in enumerate(path)))
        return weight / weight.sum()

    filtered = [posterior(t + 1, t) for t in range(T)]
    return np.array(filtered), np.array([posterior(T, t) for t in range(T)])


@settings(max_examples=20, deadline=None)
@given(K=st.integers(2, 3), T=st.integers(1, 4), B=st.integers(1, 3), seed=st.integers(0, 99))
def test_chain_is_the_sum_over_all_paths(K, T, B, seed):
    rng = np.random.default_rng(seed)
    log_density = 3 * rng.standard_normal((K, T, B))
    share, prior = rng.dirichlet(np.ones(K)), rng.dirichlet(np.ones(K), B)
    args = torch.tensor(log_density), 0.9, torch.tensor(prior)
    options = {"share": torch.tensor(share)}
    found = [chain_posterior(*args, **options, smooth=smooth).numpy() for smooth in (False, True)]
    for b in range(B):
        expected = enumerated(log_density[:, :, b], 0.9, prior[b], share)
        for mine, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(mine[:, b], theirs, rtol=1e-10, atol=1e-12)


def test_no_prior_is_the_share():
    log_density = torch.randn(3, 5, 2, dtype=torch.float64)
    share = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)
    found = chain_posterior(log_density, 0.9, share=share)
    zeros = chain_posterior(log_density, 0.9, torch.zeros(2, 3), share=share)
    given = chain_posterior(log_density, 0.9, share.expand(2, 3), share=share)
    torch.testing.assert_close(found, zeros, rtol=0, atol=0)
    torch.testing.assert_close(found, given, rtol=1e-12, atol=1e-14)


def test_small_responsibilities_are_none_but_even_odds_stay():
    p = cut(torch.tensor([[0.985, 0.015], [0.5, 0.5]]))
    torch.testing.assert_close(p, torch.tensor([[1.0, 0.0], [0.5, 0.5]]), rtol=0, atol=0)
    many = cut(torch.full((1, 80), 1 / 80))
    torch.testing.assert_close(many, torch.full((1, 80), 1 / 80), rtol=1e-6, atol=0)


def test_stray_steps_do_not_make_a_slot_learn():
    r = torch.zeros(20, 2, 3)
    r[..., 0] = 1
    r[3:6, 0] = torch.tensor([0.0, 1.0, 0.0])
    r[8:, 1] = torch.tensor([0.0, 0.0, 1.0])
    found = settled(r, torch.ones(20, 2, dtype=torch.bool), torch.full((3,), 1 / 3))
    assert not found[..., 1].any()
    assert not found[3:6, 0].any()
    assert torch.equal(found[8:, 1, 2], torch.ones(12))


def test_some_slot_always_learns():
    r = torch.full((10, 1, 3), 0.3)
    r[..., 1] = 0.4
    found = settled(r, torch.ones(10, 1, dtype=torch.bool), torch.full((3,), 1 / 3))
    assert torch.equal(found, torch.tensor([0.0, 1.0, 0.0]).expand(10, 1, 3))


def test_a_slot_out_of_use_wakes_for_a_quarter_of_a_batch():
    steps, recent = torch.ones(10, 8, dtype=torch.bool), torch.tensor([1.0, 0.0])
    for count, awake in ((1, False), (2, True)):
        r = torch.zeros(10, 8, 2)
        r[..., 0] = 1
        r[:, :count] = torch.tensor([0.0, 1.0])
        assert bool(settled(r, steps, recent)[..., 1].any()) is awake
        assert settled(r, steps, torch.tensor([0.9, 0.1]))[..., 1].any()


def test_shares_follow_the_batch_and_those_before():
    log_likelihood = torch.zeros(2, 50)
    log_likelihood[1, :40], log_likelihood[1, 40:] = 50.0, -50.0
    for recent, expected in (([0.2, 0.8], [0.2, 0.8]), ([1.0, 0.0], [0.36, 0.64])):
        found = shares(log_likelihood, torch.tensor(recent))
        torch.testing.assert_close(found, torch.tensor(expected), rtol=0.01, atol=0)
    unclear = shares(torch.zeros(2, 50), torch.tensor([0.0, 1.0]))
    assert unclear[1] > 0.85


def autoregression(coef, B=32, T=30, scale=1.0, seed=0):
    g = torch.Generator().manual_seed(seed)
    x = torch.zeros(T, B, 1)
    for t in range(T):
        x[t] = (coef * x[t - 1] if t else 0) + scale * torch.randn(B, 1, generator=g)
    return x


def coupled(sign, B=32, T=30, seed=0):
    """Second column answers the first one's step before: only the cross moments differ."""
    g = torch.Generator().manual_seed(seed)
    u = torch.randn(T, B, generator=g)
    v = sign * torch.cat([torch.zeros(1, B), u[:-1]]) + 0.5 * torch.randn(T, B, generator=g)
    return torch.stack([u, v], 2)


REGIMES = {
    "sign of the autocorrelation": [lambda c=c, **k: autoregression(c, **k) for c in (0.8, -0.8)],
    "variance": [lambda c=c, **k: autoregression(0.3, scale=c, **k) for c in (1.0, 3.0)],
    "cross moments": [lambda c=c, **k: coupled(c, **k) for c in (1.0, -1.0)],
    "a constant column": [
        lambda c=c, **k: torch.cat([autoregression(0.0, **k), torch.full((30, 32, 1), c)], 2)
        for c in (0.0, 1.0)
    ],
}


@pytest.mark.parametrize("kind", REGIMES)
def test_regimes_in_sequence_get_their_slots_back(kind):
    A, B = REGIMES[kind]
    gate = InputGate(3, A(seed=0).shape[2])
    for regime, slot in ((A, 0), (B, 1), (A, 0), (B, 1)):
        for seed in range(12):
            r, _, _ = gate.learn(regime(seed=seed))
            assert r[..., slot].mean() > (0.98 if seed else 0.9), (slot, seed)
            assert seed < 3 or not r[..., 1 - slot].any(), (slot, seed)
    assert gate.n_used == 2
    for regime, slot in ((A, 0), (B, 1)):
        r, _, _ = gate.infer(regime(seed=99))
        assert r[10:, :, slot].mean() > 0.9


@pytest.mark.parametrize(("B", "T"), [(1, 40), (8, 25), (200, 12)])
def test_one_regime_stays_one_slot(B, T):
    gate = InputGate(4, 1)
    for seed in range(60):
        gate.learn(autoregression(0.7, B=B, T=T, seed=seed))
    assert gate.n_used == 1


def test_heavy_tails_do_not_take_slots():
    torch.manual_seed(0)
    gate = InputGate(4, 2)
    for _ in range(200):
        gate.learn(torch.distributions.StudentT(3.0).sample((25, 16, 2)))
    assert gate.n_used == 1


def test_unused_statistics_are_bit_exact():
    A, B = REGIMES["variance"]
    gate = InputGate(3, 1)
    for seed in range(12):
        gate.learn(A(seed=seed))
    before = [buffer[0].clone() for buffer in (gate.moment, gate.rows, gate.score)]
    for seed in range(30):
        gate.learn(B(seed=seed))
    after = [gate.moment[0], gate.rows[0], gate.score[0]]
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(after, before, strict=True))


def test_beyond_the_slots_the_likeliest_learns():
    gate = InputGate(2, 1)
    for level in (0.0, 10.0, 30.0):
        for seed in range(10):
            gate.learn(level + autoregression(0.0, seed=seed))
    assert gate.n_used == 2


def test_lengths_leave_the_rest_out():
    A, B = REGIMES["sign of the autocorrelation"]
    gate = InputGate(3, 1)
    for regime in (A, B):
        for seed in range(12):
            gate.learn(regime(seed=seed))
    x, lengths = A(seed=5), torch.randint(1, 31, (32,))
    changed = x.clone()
    changed[torch.arange(30).unsqueeze(1) >= lengths] = 1e3
    found, expected = gate.infer(changed, lengths=lengths), gate.infer(x, lengths=lengths)
    for b, n in enumerate(lengths.tolist()):
        torch.testing.assert_close(found[0][:n, b], expected[0][:n, b], rtol=1e-12, atol=0)
        single = gate.infer(x[:n, b : b + 1])
        torch.testing.assert_close(found[1][b], single[1][0], rtol=1e-9, atol=1e-12)
        assert torch.equal(found[2][b], single[2][0])

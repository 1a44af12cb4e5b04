import io
from dataclasses import replace

import numpy as np
from rich.console import Console

from regimeslot.reporting import terminal_scores, terminal_summary


def shown(renderable):
    console = Console(file=io.StringIO(), width=80, no_color=True, force_terminal=False)
    console.print(renderable)
    return console.file.getvalue()


def test_three_answers_in_under_25_lines_of_80_columns(run):
    held = replace(run.prices, source="bundled", proxy_for="SPY")
    lines = shown(terminal_summary(replace(run, prices=held))).splitlines()
    assert len(lines) < 25
    assert max(map(len, lines)) <= 80
    text = " ".join(" ".join(lines).split())
    for words in ("Tomorrow", "Regime", "Trust", "nats a day", "snapshot", "stands in for SPY"):
        assert words in text


def test_plain_text_says_the_same(run):
    assert [line.rstrip() for line in str(terminal_summary(run)).splitlines()] == [
        line.rstrip() for line in shown(terminal_summary(run)).splitlines()
    ]


def test_bars_show_the_probability_without_colour(run):
    probabilities = run.regime_outlook(1).to_numpy()[0]
    bars = [
        line for line in shown(terminal_summary(run)).splitlines() if "###" in line or ".." in line
    ]
    assert len(bars) == len(probabilities)
    assert bars[0].count("#") == round(20 * round(100 * probabilities[0]) / 100)


def test_markup_in_a_ticker_is_text(run):
    held = replace(run.prices, ticker="[bold red]X[/]", symbol="[link=evil]Y[/link]")
    text = shown(terminal_summary(replace(run, prices=held)))
    assert "[bold red]X[/]" in text
    assert "[link=evil]Y" in text


def test_scores_fit_into_80_columns_with_the_best_marked(run):
    lines = shown(terminal_scores(run)).splitlines()
    assert max(map(len, lines)) <= 80
    best = run.study.scores()["log_score"].idxmax()
    row = next(line for line in lines[1:] if line.startswith(f"{best} "))
    assert "*" in row
    for name in run.study.forecasts:
        assert any(line.startswith(name) for line in lines)


def test_values_are_not_called_losses(run):
    dataset = replace(run.study.dataset, transform="level")
    series = replace(run, dataset=dataset, study=replace(run.study, dataset=dataset))
    text = shown(terminal_summary(series)) + shown(terminal_scores(series))
    flat = " ".join(text.split())
    for word in ("VaR", "loss", "shortfall"):
        assert word not in flat
    assert "quantiles 1 % / 99 %" in flat
    assert "<1 % <5 %" in flat
    assert max(map(len, text.splitlines())) <= 80


def test_one_model_is_not_the_best_of_one(study_of, normal):
    y = 0.01 * np.random.default_rng(0).standard_normal(60)
    text = shown(terminal_scores(study_of(y, {"mean": normal(60)})))
    assert text.splitlines()[0].strip() == "Scores of mean"
    assert "*" not in text
    assert "best" not in text.lower()


def test_a_bare_study_says_what_is_missing(study_of, normal):
    y = 0.01 * np.random.default_rng(0).standard_normal(60)
    text = shown(terminal_summary(study_of(y, {"mean": normal(60)})))
    assert text.count("--models") == 2


def test_long_names_do_not_break_the_lines(run):
    held = replace(run.prices, ticker="X" * 200)
    lines = str(terminal_summary(replace(run, prices=held))).splitlines()
    assert max(map(len, lines)) <= 80

"""The tables of a study: the paper's shape and numbers, ours beside them, null results in sight."""

import numpy as np
import pytest

from lesionforge.jobs.studies import plot
from lesionforge.jobs.studies import summary as summing
from lesionforge.jobs.studies.report import gains
from lesionforge.jobs.studies.summary import draws, plain, summarise
from lesionforge.jobs.tasks.segmentation import paper
from lesionforge.jobs.tasks.segmentation.task import Segmentation
from tests.jobs.tasks.segmentation.test_measures import CLASSES, measures, scores

ORGANS = ["liver_tumour", "kidney_tumour", "pancreas_tumour"]


def study(arms, networks=("unet", "dynunet"), classes=CLASSES, seeds=3, subjects=8):
    """Runs whose gain grows with the arm's place; the first two arms have none."""
    rng = np.random.default_rng(0)
    hard = rng.uniform(0.2, 0.5, (subjects, len(classes)))
    out = []
    for network in networks:
        for k, arm in enumerate(arms):
            for seed in range(seeds):
                noise = rng.normal(0, 0.02, hard.shape)
                table = np.clip(hard + 0.04 * max(k - 1, 0) + noise, 0, 1)
                made = measures([(f"p{n}", [scores(float(v)) for v in row]) for n, row in enumerate(table)], classes)
                out.append(
                    {
                        "run": {"model": network, "size": None, "arm": arm, "seed": seed},
                        "scores": plain(made.values()),
                        "held": made.held,
                        "draws": plain(draws(made, subjects)),
                        "test": {"digest": "d"},
                    }
                )
    return out


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    monkeypatch.setattr(summing, "DRAWS", 200)


def test_the_paper_s_means_are_those_of_its_columns():
    """Against slips in copying; the paper rounds its means, once by more than half a point of the last place."""
    for (domain, _), rows in paper.FIGURES.items():
        assert list(rows) == list(paper.ARMS)
        for figures in rows.values():
            assert len(figures) == len(paper.COLUMNS[domain]) + 1
            assert figures[-1] == pytest.approx(np.mean(figures[:-1]), abs=0.0011)
    for figures in paper.EACH.values():
        assert figures[-1] == pytest.approx(np.mean(figures[:-1]), abs=0.0011)


def test_table_1_has_the_paper_s_shape_and_numbers():
    task = Segmentation()
    made = task.tables(summarise(study(["real", "healthy", "texture", "promptlesion-mask"]), task))
    one, two = made[:2]
    assert "U-Net (PromptLesion's Table 1)" in one.title
    assert "nnU-Net" in two.title
    words = ["calcified", "non-calcified", "mean", "gain"]
    assert one.columns == ["training data", *words, *(f"paper {w}" for w in words)]
    rows = {row[0]: row[1:] for row in one.rows}
    assert list(rows) == [
        "real only",
        "+ SynTumor (texture)",
        "+ DiffTumor (difftumor)",
        "+ Med-DDPM (medddpm)",
        "+ PromptLesion (promptlesion)",
        "+ PromptLesion† (promptlesion-mask)",
        "+ healthy",
    ]
    assert rows["real only"][4:] == [".681", ".213", ".447", "–"]
    assert rows["+ PromptLesion† (promptlesion-mask)"][4:] == [".751", ".390", ".571", "+.124"]
    assert rows["+ DiffTumor (difftumor)"][:4] == ["–"] * 4
    assert rows["+ healthy"][4:] == ["–"] * 4
    assert rows["+ SynTumor (texture)"][0].startswith(".")
    assert {len(row) for row in one.rows} == {len(one.columns)}


def test_tables_2_and_3_are_of_organs():
    arms = ["real", "difftumor-liver", "difftumor-kidney", "difftumor-pancreas", "promptlesion"]
    task = Segmentation("abdomen")
    told = summarise(study(arms, ["dynunet"], ORGANS), task)
    two, three = task.tables(told)
    assert "Table 2" in two.title
    assert two.rows[0][-5:] == [".472", ".513", ".334", ".439", "–"]
    average = next(row for row in two.rows if row[0] == "+ DiffTumor (difftumor)")  # over the three models
    table = [
        [told.cell("dynunet", None, arm, f"dsc/{name}").level.value for arm in arms[1:4]] for name in (*ORGANS, "mean")
    ]
    assert average[1:5] == [f"{np.mean(row):.3f}".lstrip("0") for row in table]
    gains_ = [told.cell("dynunet", None, arm, "dsc/mean").gain.value for arm in arms[1:4]]
    assert float(average[5]) == pytest.approx(np.mean(gains_), abs=5e-4)
    assert three.columns[:5] == ["training data", "liver", "kidney", "pancreas", "mean"]
    each = [
        told.cell("dynunet", None, f"difftumor-{organ}", f"dsc/{organ}_tumour").level.value
        for organ in paper.COLUMNS["abdomen"]
    ]
    assert [cell.split("±")[0] for cell in three.rows[0][1:5]] == [
        f"{v:.3f}".lstrip("0") for v in (*each, np.mean(each))
    ]
    assert three.rows[0][5:] == [".589", ".628", ".448", ".555"]
    assert [row[0] for row in three.rows[1:]] == [
        "+ PromptLesion (promptlesion)",
        "+ PromptLesion† (promptlesion-mask)",
    ]
    assert three.rows[2][1:5] == ["–"] * 4
    assert three.rows[2][5:] == [".582", ".611", ".466", ".553"]
    told = summarise(study(arms[:3], ["dynunet"], ORGANS), task)  # of two models of three there is no average
    two, three = task.tables(told)
    average = next(row for row in two.rows if row[0] == "+ DiffTumor (difftumor)")
    assert average[1:6] == ["–"] * 5
    assert [cell == "–" for cell in three.rows[0][1:5]] == [False, False, True, True]


def test_a_null_result_stands_with_its_interval_and_p():
    task = Segmentation()
    (table,) = gains(summarise(study(["real", "healthy", "texture"], ["unet"]), task), task)
    assert list(table.columns[-6:]) == ["gain", "95 %", "p", "n", "seeds", "seen from"]
    rows = {(row[0], row[1]): row[2:] for row in table.rows}
    null, drawn = rows["+ healthy", "DSC mean"], rows["+ texture", "DSC mean"]
    low, high = (float(v) for v in null[3].split(" to "))
    assert low < 0 < high
    assert float(null[4]) > 0.05
    assert null[5:7] == ["8", "3"]
    assert drawn[4] == "<.001"
    assert float(drawn[2].split("±")[0]) == pytest.approx(0.04, abs=0.02)  # what was put in


def test_counts_do_not_share_a_scale_with_shares_in_a_study_s_picture(tmp_path, monkeypatch):
    pyplot, task = pytest.importorskip("matplotlib.pyplot"), Segmentation()
    monkeypatch.setattr(pyplot, "close", lambda figure: None)
    plot.draw(summarise(study(["real", "texture"], ["unet"]), task), task, tmp_path / "study.png")
    names = [[label.get_text() for label in axes.get_yticklabels()] for axes in pyplot.gcf().axes]
    assert names[2] == names[3] == ["FP a volume"]
    assert names[0] == names[1] == [words for words in task.shown.values() if words != "FP a volume"]
    assert (tmp_path / "study.png").stat().st_size > 10_000

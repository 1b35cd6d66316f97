from lesionforge.jobs.studies.summary import summarise
from lesionforge.jobs.tasks.reconstruction.paper import ANSWERS, COST, MEMORY, MORE, TREE, VIEWS, VOLUME, WHOLE
from lesionforge.jobs.tasks.reconstruction.settings import LEARNERS, settings
from lesionforge.jobs.tasks.reconstruction.task import Reconstruction
from tests.jobs.tasks.reconstruction.worlds import result

COLUMNS = [*VOLUME, *MORE, *VIEWS, *WHOLE, *COST, *MEMORY]


def scores(base=0.5, names=COLUMNS, hull=True):
    out = {f"{side}/{name}": base + k / 100 for side in ("right", "left") for k, name in enumerate(names)}
    return out | ({f"{name}@hull": 0.1 for name in out} if hull else {})


def tables(*results, side="both"):
    task = Reconstruction(side=side)
    return {table.title: table for table in task.tables(summarise(results, task))}


def test_tables_have_the_paper_s_rows_and_numbers():
    made = tables(*(result(model, seed, scores()) for model in ("sparse", "unet") for seed in (0, 1)))
    assert [*made] == [
        f"{side} trees, {what}, real (XRA-Diff's {number})"
        for side in ("right", "left")
        for what, number in (
            ("volumes", "Tables 4 and 8"),
            ("re-projection", "Table 5"),
            ("PSNR and cost", "Table 6"),
        )
    ]
    right = made["right trees, volumes, real (XRA-Diff's Tables 4 and 8)"]
    ours, unet, hull, *paper = right.rows
    assert ours[:3] == ["sparse", ".500±.000", ".510±.000"]
    assert ours[-4:] == ["–"] * 4  # no row of the paper's is its like
    assert unet[-4:] == ["1.350", ".290", ".510", ".700"]
    assert hull[:2] + hull[-4:] == ["hull", ".100±.000", "3.250", ".100", ".220", ".360"]
    assert [row[0] for row in paper] == [
        f"paper: {name}"
        for name in (
            "GAN",
            "diffusion, basic",
            "diffusion, no projections",
            "diffusion, both sides (best)",
            "diffusion, hull of 3 views",
            "diffusion, hull of 4 views",
            "diffusion, motion",
        )
    ]
    assert paper[-1][-4:] == ["2.100", ".200", ".420", ".630"]
    seen = made["left trees, re-projection, real (XRA-Diff's Table 5)"]
    assert seen.rows[-1][0] == "paper: diffusion, motion"
    assert seen.rows[-1][-4:] == ["15.500", "24.880", ".550", ".300"]
    cost = made["right trees, PSNR and cost, real (XRA-Diff's Table 6)"]
    assert cost.rows[1][-2:] == ["33.900", ".010"]
    for table in made.values():
        assert {len(row) for row in table.rows} == {len(table.columns)}


def test_trees_grown_of_the_volumes_have_a_table_of_their_own():
    made = tables(result("sparse", 0, scores(names=[*COLUMNS, *TREE], hull=False)), result("unet", 0, scores()))
    table = made["left trees, one tree grown of each volume, real"]
    first = 0.5 + len(COLUMNS) / 100
    assert table.rows == [["sparse", *(f"{first + k / 100:.3f}".removeprefix("0") for k in range(len(TREE)))]]


def test_the_hull_is_one_row_where_it_is_a_model_too():
    made = tables(result("sparse", 0, scores()), result("hull", 0, scores()))
    for table in made.values():
        assert [row[0] for row in table.rows].count("hull") == 1


def test_clinical_pairs_have_tables_7_and_9():
    made = tables(result("xradiff", 0, scores(names=[*VIEWS, *WHOLE])), side="left")
    assert [title.rpartition("(")[2] for title in made] == ["XRA-Diff's Tables 7 and 9)"] * 2
    (left,) = (table for title, table in made.items() if title.startswith("left"))
    assert left.rows[0][-4:] == ["25.080", "24.620", ".300", ".310"]
    assert left.rows[-1][-4:] == ["16.280", "14.810", ".360", ".370"]


ROWS = {  # of each learner: the figure of Table 4's right Chamfer that stands beside it
    "sparse": "–",
    "viterbi": "–",
    "hull": "3.250",
    "wgan": "1.930",
    "wgan-small": "1.930",
    "unet": "1.350",
    "unet-small": "1.350",
    "unet-paper": "1.350",
    "xradiff": "1.590",
    "xradiff-small": "1.590",
    "xradiff-paper": "1.590",
    "xradiff-no-projections": "1.750",
    "xradiff-nothing": "–",
}


def test_every_learner_stands_beside_the_row_that_it_answers():
    assert ROWS.keys() == ANSWERS.keys() == LEARNERS.keys()
    assert all(settings(name).network == name for name in LEARNERS)
    made = tables(*(result(model, 0, scores()) for model in LEARNERS), side="right")
    rows = made["right trees, volumes, real (XRA-Diff's Tables 4 and 8)"].rows
    assert {row[0]: row[-4] for row in rows if not row[0].startswith("paper")} == ROWS
    others = ("both sides (best)", "hull of 3 views", "hull of 4 views", "motion")
    assert [row[0] for row in rows[len(ROWS) :]] == [f"paper: diffusion, {name}" for name in others]


def test_a_network_of_both_sides_answers_the_paper_s():
    runs = [result(model, 0, scores()) for model in ("xradiff-small", "xradiff-no-projections", "xradiff-nothing")]
    for side, figure in (("both", "1.490"), ("right", "1.590")):
        rows = tables(*runs, side=side)["right trees, volumes, real (XRA-Diff's Tables 4 and 8)"].rows
        assert {row[0]: row[-4] for row in rows[:3]} == {
            "xradiff-no-projections": "1.750",
            "xradiff-nothing": "–",
            "xradiff-small": figure,
        }
        assert len(rows) == 3 + 1 + 9 - 3  # the hull's, and the paper's that none answers
    best = tables(*runs)["left trees, re-projection, real (XRA-Diff's Table 5)"]
    assert not any("best" in row[0] for row in best.rows)  # it is answered


def test_a_learning_curve_over_subjects():
    made = tables(*(result("sparse", 0, scores(base), size) for size, base in ((50, 0.1), (150, 0.2), (None, 0.3))))
    curve = made["left trees, learning curve, real"]
    assert [row[1:4] for row in curve.rows] == [
        ["50", ".100", ".110"],
        ["150", ".200", ".210"],
        ["all", ".300", ".310"],
    ]
    assert "right trees, volumes, real, 50 subjects (XRA-Diff's Tables 4 and 8)" not in made
    assert made["right trees, volumes, real (XRA-Diff's Tables 4 and 8)"].rows[0][2] == ".310"


def test_sweeps_of_the_models_that_have_them():
    """Runs of other models have no such measure, whichever file is read first."""
    swept = scores() | {f"right/dsc@guidance={value:g}": value / 10 for value in (0, 2, 6)}
    made = tables(result("sparse", 0, scores()), result("xradiff", 0, swept))
    (title,) = (title for title in made if "guidance" in title)
    assert "best 2, of clinical pairs 6 to 12" in title
    assert [row[:2] + row[3:4] for row in made[title].rows] == [
        ["xradiff, real", value, words] for value, words in (("0", ".000"), ("2", ".200"), ("6", ".600"))
    ]

from functools import cache

import numpy as np
import pytest

from lesionforge.generators.angio_ct.generator import AngioCt
from lesionforge.generators.angio_ct.params import AngioCtParams, FilmParams
from lesionforge.generators.carm.view import View
from lesionforge.generators.lesion.generator import LesionGenerator
from lesionforge.generators.lesion.params import LesionParams
from lesionforge.generators.types import Rejected, severity_class
from lesionforge.sinks.encode import decode, encode
from tests.generators.angio_ct.toys import chest
from tests.generators.lesion.toys import spec

SMALL = {"size": 48, "plaques": (1, 1), "length_mm": (4, 8), "calcified_mm": (3, 5)}  # the toy's vessel is short


@cache
def made(target="non_calcified", n=1, **film):
    (sample,) = AngioCt(AngioCtParams(**SMALL, views=FilmParams(**film))).generate([chest()], [spec(n, target)])
    return sample


def views(sample):
    return [View.from_json({k: v for k, v in record.items() if k != "name"}) for record in sample.labels["views"]]


def test_the_ct_is_the_lesion_generator_s():
    sample = made()
    (alone,) = LesionGenerator(LesionParams(**SMALL, ds_by="label")).generate([chest()], [spec(1, "non_calcified")])
    for name, field in alone.fields.items():
        assert np.array_equal(sample.fields[name], field)
    assert sample.drawn == alone.drawn
    assert {k: v for k, v in sample.measured.items() if k in alone.measured} == alone.measured


def test_the_same_plaque_in_every_view():
    for n in range(1, 5):
        sample = made(n=n, image="line_integral")
        (lesion,) = sample.labels["lesions"]
        assert lesion["severity_class"] == severity_class(lesion["measured_ds"])
        assert lesion["side"] == sample.labels["side"]
        isocentre = np.array(sample.labels["isocentre_lps_mm"])
        for number, (view, shown) in enumerate(zip(views(sample), lesion["projections"], strict=True)):
            # By the projection matrix, which the generator does not use.
            col, row, depth = view.projection_matrix @ [*(np.array(lesion["mld_lps_mm"]) - isocentre), 1]
            assert shown["mld_xy"] == pytest.approx([col / depth + 0.5, row / depth + 0.5], abs=1e-3)
            x0, y0, x1, y1 = shown["box"]
            assert x0 < shown["mld_xy"][0] < x1
            assert y0 < shown["mld_xy"][1] < y1
            # There is lumen at the minimum, less than in healthy vessel.
            image = sample.fields[f"view{number}.npy"]
            assert 0 < image[int(row / depth + 0.5), int(col / depth + 0.5)] <= 2.5 * lesion["reference_mm"]
            if shown["overlap"] < 0.05 and shown["foreshortening"] < 0.1:
                assert shown["densitometric_ds"] == pytest.approx(lesion["measured_ds"], abs=8)


def test_views_that_are_refused_cost_no_tissue_and_no_film(monkeypatch):
    generator, judged = AngioCt(AngioCtParams(**SMALL)), []

    def refuse(spec, measured):
        judged.append((spec.sample_id, measured))
        raise Rejected("overlap")

    generator.judge = refuse
    for costly in ("lesion.generator.draw_all", "angio_ct.generator.film"):
        monkeypatch.setattr(f"lesionforge.generators.{costly}", lambda *_: pytest.fail("made before it was judged"))
    with pytest.raises(Rejected):
        next(generator.generate([chest()], [spec(1, "non_calcified")]))
    known = made().measured
    assert judged == [(spec(1).sample_id, {name: known[name] for name in judged[0][1]})]
    assert {"visible_views", "visible_fraction", "overlap", "foreshortening"} <= judged[0][1].keys()


def test_samples_are_a_function_of_their_spec_alone():
    fresh, other = AngioCt(AngioCtParams(**SMALL)), AngioCt(AngioCtParams(**SMALL))
    pair = list(fresh.generate([chest(), chest()], [spec(1, "calcified"), spec(2, "mixed")]))
    (alone,) = other.generate([chest()], [spec(2, "mixed")])
    assert [encode(k, v) for k, v in pair[1].fields.items()] == [encode(k, v) for k, v in alone.fields.items()]
    assert encode("json", pair[1].labels) == encode("json", alone.labels)
    assert not np.array_equal(pair[0].fields["view0.png"], pair[1].fields["view0.png"])


def test_healthy_and_open_classes():
    sample = made("healthy")
    assert sample.labels["lesions"] == []
    assert sample.measured["visible_views"] == 2
    sample = made(None)
    assert sample.spec.target is None
    assert sample.labels["class"] in AngioCt.classes[1:]
    assert sample.measured["visible_views"] == 2


def test_what_each_kind_of_image_holds():
    silhouette, integral, film = (made(image=i).fields for i in ("silhouette", "line_integral", "angiogram"))
    assert set(np.unique(silhouette["view0.png"])) == {0, 255}
    lit = silhouette["view0.png"] > 0
    assert (integral["view0.npy"] > 0)[~lit].sum() == 0
    assert film["view0.png"].dtype == np.uint8
    thick = integral["view0.npy"] > 2
    ring = np.roll(thick, 25, axis=1) & ~lit  # background close by
    assert film["view0.png"][thick].mean() < film["view0.png"][ring].mean() - 10
    assert "view3.png" in made(count=4).fields


@pytest.mark.parametrize("image", ["angiogram", "line_integral"])
def test_pictures_of_a_decoded_sample(image):
    sample = made(image=image)
    meta = {**sample.labels, "drawn": sample.drawn, "measured": sample.measured}
    stored = {name: decode(name, encode(name, field)) for name, field in sample.fields.items()}
    panels = AngioCt(AngioCtParams()).panels(stored, meta)
    assert len(panels) == 6
    whole, close = panels[2], panels[3]
    x0, y0, x1, y1 = sample.labels["lesions"][0]["projections"][0]["box"]
    rows, cols = np.nonzero(whole.layers["box"])
    assert (cols.min(), rows.min()) == pytest.approx((x0 - 3.5, y0 - 3.5), abs=1)
    assert (cols.max(), rows.max()) == pytest.approx((x1 + 3, y1 + 3), abs=1.5)
    assert close.layers["lesions"].any()


@pytest.mark.parametrize(
    ("params", "text"),
    [({"count": 5}, "count is 5"), ({"detector": 64}, "detector is 64"), ({"cell_mm": 1}, "cell_mm")],
)
def test_parameters_that_cannot_be(params, text):
    with pytest.raises(ValueError, match=text):
        FilmParams(**params)

"""RetinaNet: anchors as the papers count them, torchvision's loss and boxes, and that it learns."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torchvision.models.detection.image_list import ImageList  # noqa: E402

from lesionforge.jobs.errors import UsageError  # noqa: E402
from lesionforge.jobs.tasks.detection import detector, retina  # noqa: E402
from lesionforge.jobs.tasks.detection.metrics import Scores  # noqa: E402
from lesionforge.jobs.tasks.detection.retinanet import loss  # noqa: E402
from tests.jobs.tasks.detection import worlds  # noqa: E402
from tests.jobs.tasks.detection.worlds import dot, frame, noise  # noqa: E402

NOTHING = torch.zeros(0, 4)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def small():
    torch.manual_seed(0)
    return retina._built(retina.settings("retinanet-small"))


def anchors(settings):
    """Those of the network itself, which is never reckoned: tensors without content."""
    with torch.device("meta"):
        net = retina._built(settings)
        x = torch.zeros(1, 3, settings.size, settings.size)
        levels = list(net.net.backbone(x[:, : net.shape.channels]).values())
        return net.net.anchor_generator(ImageList(x, [(settings.size, settings.size)]), levels)[0]


@pytest.mark.parametrize(
    ("model", "changes", "count"),
    [
        ("retinanet", {}, 65_472),
        ("retinanet", {"ratios": [0.5, 1, 2]}, 49_104),
        ("fpn", {}, 43_938),
        ("retinanet-small", {}, 12 * (32**2 + 16**2 + 8**2 + 4**2 + 2**2)),
    ],
)
def test_anchors_are_as_many_as_the_papers_networks_have(model, changes, count):
    assert len(anchors(worlds.Detection().changed(model, changes))) == count


def test_anchors_have_the_papers_sides_and_ratios():
    """Of the first cell of level 3 and the last of level 7; torchvision takes whole pixels."""
    with torch.device("cpu"):
        own = retina._built(retina.settings("retinanet-small")).net.anchor_generator.cell_anchors
    for level, side in ((0, 16), (4, 256)):
        wide, high = own[level][:, 2] - own[level][:, 0], own[level][:, 3] - own[level][:, 1]
        there = {(round(float(r), 3), round(float(s), 2)) for r in (1, 0.5, 2, 4) for s in (1, 2**0.5, 2)}
        seen = {
            min(there, key=lambda one: abs(np.log(h / w / one[0])) + abs(np.log((h * w) ** 0.5 / side / one[1])))
            for w, h in zip(wide.tolist(), high.tolist(), strict=True)
        }
        assert seen == there


def test_boxes_survive_encoding_and_the_code_is_the_papers(small):
    rng = torch.Generator().manual_seed(1)
    anchor = torch.rand(500, 4, generator=rng) * 100
    anchor[:, 2:] += anchor[:, :2] + 5
    box = anchor + torch.rand(500, 4, generator=rng) * 4
    coder = small.net.box_coder
    code = coder.encode_single(box, anchor)
    assert (coder.decode_single(code, anchor) - box).abs().max() < 1e-3 * 1e-1
    a, g = anchor[0], box[0]
    size = lambda b: (b[2] - b[0], b[3] - b[1])  # noqa: E731
    (aw, ah), (gw, gh) = size(a), size(g)
    said = [((g[0] + g[2]) - (a[0] + a[2])) / 2 / aw, ((g[1] + g[3]) - (a[1] + a[3])) / 2 / ah]
    assert torch.allclose(code[0], torch.stack([*said, (gw / aw).log(), (gh / ah).log()]), atol=1e-6)


@pytest.mark.parametrize(
    ("alpha", "gamma", "wanted"), [(0.25, 2, 0.25 * 0.25 * math.log(2)), (0.5, 0, math.log(2) / 2)]
)
def test_focal_loss_of_one_doubtful_anchor(small, alpha, gamma, wanted):
    """At p = .5: alpha (1/2)^gamma ln 2 for the lesion's anchor; the background's are sure, and cost nothing."""
    object.__setattr__(small, "cost", type(small.cost)(alpha, gamma, 1.0))
    boxes = torch.tensor([[40.0, 40, 56, 56]])
    logits, moves = torch.full((1, 3, 1), -60.0), torch.zeros(1, 3, 4)
    logits[0, 1] = 0
    own = torch.tensor([[200.0, 200, 216, 216], [40, 40, 56, 56], [100, 0, 116, 16]])
    assert float(loss(small, logits, moves, own, [(boxes, NOTHING)])) == pytest.approx(wanted, rel=1e-5)


def test_the_loss_of_one_picture_is_torchvision_s(small):
    small.net.head.regression_head._loss_type = "smooth_l1"
    small.eval()
    x = torch.randn(1, 2, 256, 256)
    boxes = torch.tensor([[100.0, 90, 126, 118], [30, 200, 50, 222]])
    logits, moves, own = small.said(x)
    theirs = small.net.compute_loss(
        [{"boxes": boxes, "labels": torch.zeros(2, dtype=torch.int64)}],
        {"cls_logits": logits, "bbox_regression": moves},
        [own],
    )
    ours = loss(small, logits, moves, own, [(boxes, NOTHING)])
    assert float(ours.detach()) == pytest.approx(float(sum(theirs.values()).detach()), rel=1e-5)


def test_a_picture_without_lesions_weighs_no_more_than_another_s_background(small):
    """torchvision would divide it by 1, not by the batch's anchors on lesions."""
    logits, moves = torch.zeros(2, 3, 1), torch.zeros(2, 3, 4)
    own = torch.tensor([[200.0, 200, 216, 216], [40, 40, 56, 56], [41, 40, 57, 56]])
    goal = [(torch.tensor([[40.0, 40, 56, 56]]), NOTHING), (NOTHING, NOTHING)]
    doubt = math.log(2) / 4
    boxes = torch.nn.functional.smooth_l1_loss(
        torch.zeros(4), small.net.box_coder.encode_single(goal[0][0], own[2:])[0], reduction="sum"
    )
    wanted = (2 * 0.25 * doubt + 4 * 0.75 * doubt + float(boxes)) / 2
    assert float(loss(small, logits, moves, own, goal)) == pytest.approx(wanted, rel=1e-5)


def test_no_gradient_comes_from_a_region_to_ignore_unless_a_lesion_lies_there(small):
    logits, moves = torch.zeros(1, 4, 1, requires_grad=True), torch.zeros(1, 4, 4)
    own = torch.tensor([[0.0, 0, 16, 16], [100, 100, 116, 116], [110, 100, 126, 116], [40, 40, 56, 56]])
    blind = torch.tensor([[96.0, 96, 118, 120], [38, 38, 58, 58]])
    loss(small, logits, moves, own, [(torch.tensor([[40.0, 40, 56, 56]]), blind)]).backward()
    assert (logits.grad[0, :, 0] != 0).tolist() == [True, False, False, True]


def test_found_boxes_are_torchvision_s(small):
    """Threshold, 1000 best, decoding, clipping and NMS of torchvision's own RetinaNet."""
    torch.nn.init.normal_(small.net.head.classification_head.cls_logits.weight, std=0.4)
    small.eval()
    x = torch.randn(2, 2, 256, 256)
    logits, moves, own = small.said(x)
    small.net.score_thresh, small.net.nms_thresh, small.net.detections_per_img = 0.3, 0.5, 20
    with torch.no_grad():
        theirs = small.net.postprocess_detections(
            {"cls_logits": [logits], "bbox_regression": [moves]}, [[own], [own]], [(256, 256)] * 2
        )
        ours = small.boxes(x, 0.3, 0.5, 20)
    for (boxes, scores), one in zip(ours, theirs, strict=True):
        assert len(boxes) > 5
        assert torch.equal(scores, one["scores"])
        assert torch.equal(boxes.sort(0)[0], one["boxes"].sort(0)[0])  # of equal scores either may be first


def dots(count, first=0):
    rows = []
    for i in range(first, first + count):
        image = noise(i)
        boxes = [dot(image, np.random.default_rng(i))] if i % 4 else []
        rows.append(frame(boxes, [i % 2] * len(boxes), image=image, subject=str(i)))
    return rows


@pytest.fixture(scope="module")
def learnt():
    one = worlds.detector("retinanet-small", steps=40, batch=6, warmup=5, average=0.9, width=32)
    one.fit(dots(24), [], 0.5, 0)
    return one


def test_it_learns_and_finds_on_frames_it_never_saw(learnt, tmp_path):
    test = dots(16, first=100)
    said = learnt.predict([f.image for f in test])
    values = Scores(test, said, 0.3).values()
    assert values["ap50"] > 0.7
    assert values["at_least_one"] > 0.7
    learnt.save(tmp_path / "dots.safetensors")
    back = detector.load(tmp_path / "dots.safetensors")
    assert back.settings == learnt.settings
    for a, b in zip(said, back.predict([f.image for f in test]), strict=True):
        assert np.array_equal(a.boxes, b.boxes)
        assert np.array_equal(a.scores, b.scores)


def test_a_backbone_begins_with_a_classifier_s_weights_whatever_they_are_called(tmp_path):
    from safetensors.torch import save_file
    from torchvision.models import resnet18

    task = worlds.Detection()
    net = retina._built(task.changed("retinanet", {"backbone": "resnet18", "size": 128}))
    weights = {f"view.body.{k}": v.contiguous() for k, v in resnet18().state_dict().items()}
    save_file(weights, tmp_path / "view.safetensors")
    retina.initialise(net, tmp_path / "view.safetensors")
    for name, value in net.net.backbone.body.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            assert torch.equal(value, weights[f"view.body.{name}"])
    weights.pop("view.body.layer4.1.conv2.weight")
    torch.save(weights, tmp_path / "less.pth")
    with pytest.raises(UsageError, match="does not hold the weights of resnet18"):
        retina.initialise(net, tmp_path / "less.pth")
    (tmp_path / "junk.pth").write_bytes(b"junk")
    with pytest.raises(UsageError, match="no weights that can be read"):
        retina.initialise(net, tmp_path / "junk.pth")


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"size": 500}, "128, 256"),
        ({"backbone": "vgg"}, "resnet50"),
        ({"norm": 7}, "divide"),
        ({"optimizer": "x"}, "sgd"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes, match):
    with pytest.raises(UsageError, match=match):
        worlds.Detection().changed("retinanet", changes)

"""The network, its class activation and the learner."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from lesionforge.jobs.errors import UsageError  # noqa: E402
from lesionforge.jobs.tasks.severity import cam  # noqa: E402
from lesionforge.jobs.tasks.severity.attending import Attending, marked  # noqa: E402
from lesionforge.jobs.tasks.severity.classifier import Classifier, disease, graded, labels_of  # noqa: E402
from lesionforge.jobs.tasks.severity.images import Choice, images  # noqa: E402
from lesionforge.jobs.tasks.severity.metrics import Graded  # noqa: E402
from lesionforge.jobs.tasks.severity.network import AttentionHead, Grader  # noqa: E402
from lesionforge.jobs.tasks.severity.settings import Settings  # noqa: E402
from tests.jobs.tasks.severity.worlds import run  # noqa: E402

CHOICE = Choice((25.0,), 2, 2)
QUICK = {"size": 64, "steps": 40, "batch": 8, "rate": 3e-3, "average": 0.9}


@pytest.mark.parametrize("sigma", [6.0, 15.0])
def test_a_gaussian_blob_gives_a_box_of_759_thousandths_of_sigma(sigma):
    y, x = np.mgrid[:128, :192] + 0.5
    blob = np.exp(-((y - 60) ** 2 + (x - 100) ** 2) / (2 * sigma**2))
    small = 0.8 * np.exp(-((y - 20) ** 2 + (x - 20) ** 2) / 8)
    boxes, scores = cam.boxes(blob + small)
    radius = sigma * np.sqrt(2 * np.log(4 / 3))
    assert radius == pytest.approx(0.759 * sigma, rel=1e-3)
    assert np.abs(boxes[0] - [100 - radius, 60 - radius, 100 + radius, 60 + radius]).max() <= 1
    assert len(boxes) == 2
    assert np.allclose(boxes[1].reshape(2, 2).mean(0), 20)
    assert scores[0] > scores[1] > 0.75
    assert len(cam.boxes(np.zeros((8, 8)))[0]) == 0


def test_the_redundancy_class_is_no_disease():
    """Dropped and renormalised: as if the class were not there, however probable it is."""
    logits = torch.tensor([[1.0, 2.0, 9.0], [0.0, -1.0, -9.0]])
    assert torch.allclose(disease(logits, 2), logits[:, :2].double().softmax(1))
    assert disease(logits, 2).sum(1).tolist() == pytest.approx([1, 1])


def test_cells_add_up_to_what_is_seen():
    """With a single dense layer the activation is CAM: the cells' sum and the bias are the disease's logit."""
    net = Grader("small", 3).eval()
    net.head.dense = torch.nn.Linear(128, 3)
    grey = torch.rand(2, 64, 64) * 255
    logits, where = cam.seen(net, grey, 2)
    assert where.shape == (2, 4, 4)
    assert torch.allclose(logits, net(grey), atol=1e-5)
    weight = net.head.dense.weight[1] - net.head.dense.weight[0]
    by_hand = torch.einsum("nchw,c->nhw", net.head.parts(net.features(grey)), weight)
    assert torch.allclose(where, by_hand.relu(), atol=1e-6)
    bias = net.head.dense.bias[1] - net.head.dense.bias[0]
    assert torch.allclose(by_hand.sum((1, 2)) + bias, logits[:, 1] - logits[:, 0], atol=1e-5)


def test_a_mask_that_sees_everything_is_the_mean():
    head = AttentionHead(8, 2).eval()
    torch.nn.init.zeros_(head.mask[-2].weight)
    features = torch.randn(2, 8, 5, 5)
    assert torch.allclose(head.parts(features).sum((2, 3)), features.mean((2, 3)), atol=1e-6)


def test_boxes_are_marked_and_move_with_their_frames():
    marks = marked(np.array([[0, 0, 64, 32], [300, 300, 302, 302]], np.float32))
    assert marks[:2, :4].all()
    assert marks.sum() == 8 + 1  # a box smaller than a cell marks the one that holds it
    picture = torch.zeros(1, 64, 64)
    picture[:, 20:40, 8:24] = 255
    box = np.array([[8, 20, 24, 40]], np.float32) * (512 / 64)
    task = Attending(Settings(**QUICK), Grader("small", 2), torch.Generator().manual_seed(3))
    got = task.on((picture.byte(), torch.tensor([1]), marked(box)[None]), "cpu")
    bright = got["grey"] > got["grey"].mean() + 2 * got["grey"].std()
    mine = torch.nonzero(got["marks"][0, 0] > 0.5).float().mean(0) * 2 + 0.5
    assert torch.allclose(mine, torch.nonzero(bright[0]).float().mean(0), atol=2.5)


def test_attention_is_drawn_into_boxes():
    """The loss falls by minus the log of what the mask has inside, and without boxes it is the cross-entropy."""
    net = Grader("small", 2).eval()
    grey, labels = torch.rand(2, 64, 64) * 255, torch.tensor([1, 0])
    marks = torch.zeros(2, 1, 32, 32)
    marks[0, :, :8, :8] = 1  # the first of 4 x 4 cells
    batch = {"grey": grey, "labels": labels, "marks": marks}
    task = [Attending(Settings(**QUICK | {"attend": weight}), net, torch.Generator()).network for weight in (0, 1)]
    with torch.no_grad():
        share = net.head.shares(net.features(grey))[0, 0, 0, 0]
        plain, drawn = (one(batch) for one in task)
        assert float(drawn - plain) == pytest.approx(-float(share.log()) / 2, rel=0.02)
        assert torch.nn.functional.cross_entropy(net(grey), labels) == pytest.approx(float(plain), rel=0.02)


def test_the_paper_s_network_is_inception_s_cells():
    with torch.device("meta"):
        net = Grader("inception", 2)
        out = net.features(torch.zeros(1, 512, 512))
    assert out.shape == (1, 2048, 14, 14)


def runs_of(count, first=0, **options):
    return [images(run(80.0 * (n % 2), first + n, **options), CHOICE) for n in range(count)]


def test_labels_are_of_graded_frames_and_redundancy_is_a_class_after_the_last():
    one = runs_of(2)[1]
    assert list(graded(one)) == list(one.full)
    assert labels_of(one, 2) == [1, 1, 2, 2]


@pytest.fixture(scope="module")
def taught():
    learner = Classifier(Settings(**QUICK), CHOICE)
    learner.fit(runs_of(16), [], 0.5, 0)
    return learner


def test_it_learns_what_is_seen_and_keeps_it_in_a_file(taught, tmp_path):
    test = runs_of(12, 100)
    told = [taught.predict(one) for one in test]
    truths = np.concatenate([one.grades for one in test])
    p = np.concatenate([one.probabilities for one in told])
    assert Graded(truths, p).values(np.ones(len(p)))["auc"] > 0.95
    assert np.allclose(p.sum(1), 1)
    assert taught._networks["joint"].head.dense[-1].out_features == 3  # healthy, diseased, redundancy
    assert p.shape[1] == 2
    ill = [(one.boxes[0], verdict.boxes[0]) for one, verdict in zip(test, told, strict=True) if one.artery_grade]
    gaps = [np.abs(lesion.reshape(2, 2).mean(0) - box[0].reshape(2, 2).mean(0)).max() for lesion, box in ill]
    assert np.median(gaps) < 130  # of 512; a cell is 128
    taught.save(tmp_path / "model.safetensors")
    again = Classifier.load(tmp_path / "model.safetensors")
    assert (again.choice, again.settings) == (taught.choice, taught.settings)
    assert np.array_equal(again.predict(test[0]).probabilities, told[0].probabilities)
    with pytest.raises(UsageError, match="is no file that lesionforge train severity wrote"):
        Classifier.load(tmp_path)


def test_a_training_goes_on_where_it_was(tmp_path):
    quick = Settings(**QUICK | {"steps": 4, "batch": 4})
    whole = Classifier(quick, CHOICE)
    whole.fit(runs_of(4), [], 0.5, 0)

    def stop(step, of, loss):
        if step == 2:
            raise KeyboardInterrupt

    part = Classifier(quick, CHOICE)
    with pytest.raises(KeyboardInterrupt):
        part.fit(runs_of(4), [], 0.5, 0, tmp_path, stop)
    part.fit(runs_of(4), [], 0.5, 0, tmp_path)
    probe = runs_of(2, 50)[1]
    assert np.array_equal(whole.predict(probe).probabilities, part.predict(probe).probabilities)
    with pytest.raises(UsageError, match=r"was begun with images \(hash\)"):
        part.fit(runs_of(5), [], 0.5, 0, tmp_path)


def test_a_network_a_view(tmp_path):
    settings = Settings(**QUICK | {"steps": 1, "batch": 2, "networks": "view"})
    learner = Classifier(settings, CHOICE)
    left, right = runs_of(2), runs_of(2, 10, side="right")
    learner.fit(left, right, 0.5, 0, tmp_path)
    assert sorted(learner._networks) == ["LCA-LAO-CRA", "RCA"]
    assert (tmp_path / "losses.jsonl").is_file()
    a, b = (learner.predict(one).probabilities for one in (left[0], right[0]))
    assert a.shape == b.shape
    with pytest.raises(UsageError, match="has not learnt from LCA-RAO-CRA"):
        learner.predict(images(run(angles=(-20.0, 20.0)), CHOICE))
    with pytest.raises(UsageError, match="all images of RCA are of one severity class"):
        learner.fit(left, right[:1], 0.5, 0)

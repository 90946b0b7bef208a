from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from edgedet.losses.detection import total
from edgedet.losses.gfl import gfl_loss
from edgedet.losses.targets import Targets
from edgedet.models.detector import STRIDES, DecodedDetector, Detector
from edgedet.models.heads.geometry import anchor_points
from edgedet.models.zoo import build_detector, list_heads, list_models

FAMILIES = ["mobilenetv2_0.35", "shufflenetv2_0.5x", "squeezenet_1.1"]


def images(batch: int, height: int, width: int) -> Tensor:
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(0))


@pytest.fixture(params=FAMILIES)
def detector(request: pytest.FixtureRequest) -> Detector:
    torch.manual_seed(0)
    return build_detector(request.param, 3)


@pytest.mark.parametrize("name", list_models())
@torch.no_grad()
def test_every_model_gives_one_row_of_logits_for_each_anchor_point(name: str) -> None:
    torch.manual_seed(0)
    detector = build_detector(name, 2).eval()
    logits = detector(images(2, 64, 96))
    assert logits.shape == (2, 8 * 12 + 4 * 6 + 2 * 3 + 1 * 2, 2 + 4 * 8)
    assert logits.isfinite().all()
    assert detector.num_classes == 2
    assert detector.strides == STRIDES == (8, 16, 32, 64)


@torch.no_grad()
def test_the_decoded_form_gives_boxes_in_input_pixels_and_scores(detector: Detector) -> None:
    decoded = DecodedDetector(detector.eval(), 64, 96)
    batch = images(2, 64, 96)
    boxes, scores = decoded(batch)
    logits = detector(batch)
    points, strides = anchor_points(64, 96, STRIDES)
    distances = (logits[..., 3:].reshape(2, -1, 4, 8).softmax(-1) * torch.arange(8)).sum(-1) * strides[:, None]
    torch.testing.assert_close(boxes[..., :2], points - distances[..., :2])
    torch.testing.assert_close(boxes[..., 2:], points + distances[..., 2:])
    torch.testing.assert_close(scores, logits[..., :3].sigmoid())
    assert (boxes[..., 2:] >= boxes[..., :2]).all()


@torch.no_grad()
def test_an_image_gets_the_same_answer_in_any_batch(detector: Detector) -> None:
    decoded = DecodedDetector(detector.eval(), 64, 64)
    batch = images(3, 64, 64)
    together = decoded(batch)
    for index in range(3):
        for alone, beside in zip(decoded(batch[index : index + 1]), together, strict=True):
            torch.testing.assert_close(alone[0], beside[index], rtol=1e-4, atol=1e-4)


def test_decoding_adds_no_weights(detector: Detector) -> None:
    decoded = DecodedDetector(detector, 64, 64)
    assert {name.removeprefix("detector.") for name in decoded.state_dict()} == set(detector.state_dict())
    assert decoded.detector is detector


def test_a_training_step_reaches_every_parameter(detector: Detector) -> None:
    targets = [
        Targets(torch.tensor([[4.0, 4.0, 60.0, 50.0], [20.0, 30.0, 40.0, 60.0]]), torch.tensor([0, 2])),
        Targets(torch.zeros(0, 4), torch.zeros(0, dtype=torch.long)),
    ]
    points, strides = anchor_points(64, 64, detector.strides)
    # Large boxes, small boxes: positives on every level, so that each level's box distribution learns.
    targets[0] = Targets(
        torch.cat([targets[0].boxes, (points[:, None] + torch.tensor([[-5.0], [5.0]])).flatten(1)]),
        torch.cat([targets[0].labels, torch.ones(len(points), dtype=torch.long)]),
    )
    loss = total(gfl_loss(detector(images(2, 64, 64)), points, strides, targets))
    loss.backward()
    gradients = {name: parameter.grad for name, parameter in detector.named_parameters()}
    assert [name for name, gradient in gradients.items() if gradient is None or not gradient.isfinite().all()] == []
    silent = [name for name, gradient in gradients.items() if gradient is not None and gradient.abs().sum() == 0]
    assert silent == []


def test_a_dozen_steps_learn_one_object() -> None:
    torch.manual_seed(0)
    detector = build_detector("shufflenetv2_0.5x", 3)
    optimizer = torch.optim.AdamW(detector.parameters(), lr=3e-3)
    targets = [Targets(torch.tensor([[8.0, 8.0, 40.0, 48.0]]), torch.tensor([1]))] * 2
    points, strides = anchor_points(64, 64, detector.strides)
    losses = []
    for _ in range(12):
        loss = gfl_loss(detector(images(2, 64, 64)), points, strides, targets)
        optimizer.zero_grad()
        total(loss).backward()
        optimizer.step()
        losses.append(loss)
    assert total(losses[-1]) < 0.5 * total(losses[0])
    assert losses[-1]["box"] < 0.5 * losses[0]["box"]


def test_a_detector_is_rebuilt_from_its_architecture(detector: Detector) -> None:
    architecture = dict(detector.architecture)
    again = build_detector(
        str(architecture.pop("name")),
        int(architecture.pop("num_classes")),
        activation=str(architecture.pop("activation")),
    )
    assert architecture == {}
    again.load_state_dict(detector.state_dict())
    assert type(again.backbone) is type(detector.backbone)


@pytest.mark.parametrize("head", list_heads())
def test_a_detector_with_every_option_is_rebuilt_and_decoded(head: str) -> None:
    torch.manual_seed(0)
    detector = build_detector(FAMILIES[1], 3, head=head, spp=True, se=True, dropblock=0.1, dropblock_size=2)
    name, classes, activation, *options = detector.architecture.items()
    again = build_detector(name[1], classes[1], activation=activation[1], **dict(options))
    again.load_state_dict(detector.state_dict())
    assert again.architecture == detector.architecture
    with torch.no_grad():
        found, expected = (DecodedDetector(one.eval(), 64, 96)(images(2, 64, 96)) for one in (again, detector))
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))
    assert found[0].shape == (2, len(detector.points(64, 96)[0]), 4)
    assert found[1].shape == (2, len(detector.points(64, 96)[0]), 3)


def test_no_layer_stands_in_the_way_of_integers() -> None:
    allowed = {"Conv2d", "BatchNorm2d", "ReLU", "ReLU6", "MaxPool2d"}
    for name in list_models():
        leaves = {type(layer).__name__ for layer in build_detector(name, 1).modules() if not list(layer.children())}
        assert leaves <= allowed, name


def test_outputs_of_every_convolution_in_neck_and_head_are_multiples_of_8() -> None:
    detector = build_detector("mobilenetv2_0.35", 3)
    for part in (detector.neck, detector.head.towers):
        assert all(layer.out_channels % 8 == 0 for layer in part.modules() if isinstance(layer, nn.Conv2d))

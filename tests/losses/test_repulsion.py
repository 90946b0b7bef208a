from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from edgedet.losses import repulsion
from edgedet.losses.repulsion import Sums, repulsion_loss, smooth_ln
from edgedet.losses.targets import Objects

# Two neighbours in image 0, one object at the same place in image 1.
OBJECTS = torch.tensor([[0.0, 0, 10, 10], [8, 0, 18, 10], [0, 0, 10, 10]])
IMAGES = torch.tensor([0, 0, 1])


def objects_of(gt_boxes: Tensor, images: Tensor, shares: Tensor | None = None) -> Objects:
    """Each counting once, unless shares are given."""
    return Objects(gt_boxes, torch.zeros_like(images), images, torch.ones(len(images)) if shares is None else shares)


def mean(sums: Sums) -> Tensor:
    """The loss of a batch of one process."""
    return sums.over(sums.weight)


def repulsion_from_objects(predicted: Tensor, own: Tensor, gt: Tensor, images: Tensor, **options: float) -> Tensor:
    return mean(repulsion.repulsion_from_objects(predicted, own, objects_of(gt, images), **options))


def repulsion_from_boxes(predicted: Tensor, own: Tensor, images: Tensor, **options: float) -> Tensor:
    """Of objects at one place, of which only the images matter: `images` is by box."""
    of_objects = torch.zeros(int(own.max()) + 1 if len(own) else 0, dtype=torch.long).index_put((own,), images)
    objects = objects_of(torch.zeros(len(of_objects), 4), of_objects)
    return mean(repulsion.repulsion_from_boxes(predicted, own, objects, **options))


def together(predicted: Tensor, own: Tensor, gt: Tensor, images: Tensor) -> Tensor:
    return repulsion_loss(
        repulsion_from_objects(predicted, own, gt, images), repulsion_from_boxes(predicted, own, images[own])
    )


def index(*values: int) -> Tensor:
    return torch.tensor(values, dtype=torch.long)


def boxes(*values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float32).reshape(-1, 4).requires_grad_()


class TestSmoothLn:
    @pytest.mark.parametrize(
        ("x", "sigma", "expected"), [(0.5, 0.0, 0.5), (0.5, 1.0, 0.693147), (0.8, 0.5, 1.293147), (0.3, 0.5, 0.356675)]
    )
    def test_known_values(self, x: float, sigma: float, expected: float) -> None:
        assert smooth_ln(torch.tensor(x), sigma).item() == pytest.approx(expected, abs=1e-6)

    @pytest.mark.parametrize("sigma", [0.0, 0.3, 0.9])
    def test_neither_value_nor_slope_jumps_at_sigma(self, sigma: float) -> None:
        x = torch.tensor([sigma - 1e-7, sigma, sigma + 1e-7], dtype=torch.float64, requires_grad=True)
        values = smooth_ln(x, sigma)
        (slopes,) = torch.autograd.grad(values.sum(), x)
        torch.testing.assert_close(values, torch.full_like(values, -math.log(1 - sigma)), rtol=0, atol=1e-5)
        torch.testing.assert_close(slopes, torch.full_like(slopes, 1 / (1 - sigma)), rtol=1e-4, atol=0)

    @pytest.mark.parametrize("sigma", [0.0, 0.5, 1.0])
    def test_gradients_are_finite_up_to_complete_overlap_and_those_of_finite_differences(self, sigma: float) -> None:
        ends = torch.tensor([0.0, 1.0], requires_grad=True)
        values = smooth_ln(ends, sigma)
        values.sum().backward()
        assert values.isfinite().all()
        assert ends.grad is not None and ends.grad.isfinite().all() and (ends.grad > 0).all()
        x = torch.tensor([0.1, 0.4, 0.6, 0.95], dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(lambda x: smooth_ln(x, sigma), (x,))


class TestFromObjects:
    def test_the_share_of_the_neighbour_that_is_covered(self) -> None:
        # Covers a fifth of object 0, its own, and nine tenths of object 1, its neighbour.
        loss = repulsion_from_objects(boxes([8, 0, 17, 10]), index(0), OBJECTS, IMAGES)
        assert loss.item() == pytest.approx(-math.log(1 - 0.9), rel=1e-5)
        assert repulsion_from_objects(boxes([8, 0, 17, 10]), index(0), OBJECTS, IMAGES, sigma=0.0).item() == (
            pytest.approx(0.9, rel=1e-5)
        )

    def test_the_mean_over_all_boxes_with_zeros_for_those_without_a_neighbour(self) -> None:
        predicted = boxes([0, 0, 10, 10], [0, 0, 10, 10])
        loss = repulsion_from_objects(predicted, index(0, 2), OBJECTS, IMAGES, sigma=0.0)
        assert loss.item() == pytest.approx(0.2 / 2, rel=1e-5)

    def test_of_several_neighbours_the_one_with_the_highest_iou(self) -> None:
        # The last object is covered whole, but the second has the higher IoU with the box.
        objects = torch.tensor([[0.0, 0, 4, 4], [2, 0, 12, 10], [9, 9, 10, 10]])
        loss = repulsion_from_objects(boxes([0, 0, 11, 10]), index(0), objects, index(0, 0, 0), sigma=0.0)
        assert loss.item() == pytest.approx(0.9, rel=1e-5)

    def test_objects_of_other_images_do_not_repel(self) -> None:
        loss = repulsion_from_objects(boxes([0, 0, 8, 10]), index(2), OBJECTS, IMAGES)
        assert loss.item() == 0

    def test_it_pushes_the_box_away_from_the_neighbour(self) -> None:
        box = boxes([2, 0, 12, 10])
        repulsion_from_objects(box, index(0), OBJECTS, IMAGES).backward()
        assert box.grad is not None
        assert box.grad[0, 2] > 0, "the right side is to move to the left"
        assert box.grad[0, 0] == 0

    def test_a_box_on_its_neighbour_has_a_finite_gradient(self) -> None:
        box = boxes([8, 0, 18, 10])
        loss = repulsion_from_objects(box, index(0), OBJECTS, IMAGES)
        loss.backward()
        assert loss.isfinite()
        assert box.grad is not None and box.grad.isfinite().all() and box.grad.abs().max() > 0


class TestFromBoxes:
    def test_the_mean_over_pairs_of_different_objects_that_meet(self) -> None:
        # IoU of the first two 1/3, of the first and the third 1/7; the fourth meets nothing.
        predicted = boxes([0, 0, 10, 10], [0, 5, 10, 15], [5, -5, 15, 5], [90, 90, 99, 99])
        loss = repulsion_from_boxes(predicted, index(0, 1, 2, 3), index(0, 0, 0, 0))
        assert loss.item() == pytest.approx((1 / 3 + 1 / 7) / 2, rel=1e-5)

    def test_boxes_of_one_object_or_of_two_images_may_overlap(self) -> None:
        predicted = boxes([0, 0, 10, 10], [0, 1, 10, 11], [0, 2, 10, 12])
        assert repulsion_from_boxes(predicted, index(4, 4, 4), index(0, 0, 0)).item() == 0
        assert repulsion_from_boxes(predicted, index(0, 1, 2), index(0, 1, 2)).item() == 0

    def test_sigma_decides_how_much_large_overlaps_weigh(self) -> None:
        predicted = boxes([0, 0, 10, 10], [0, 0, 10, 8])
        loss = repulsion_from_boxes(predicted, index(0, 1), index(0, 0), sigma=0.5)
        assert loss.item() == pytest.approx(1.293147, rel=1e-4)

    def test_it_pushes_the_boxes_apart(self) -> None:
        predicted = boxes([0, 0, 10, 10], [8, 0, 18, 10])
        repulsion_from_boxes(predicted, index(0, 1), index(0, 0)).backward()
        assert predicted.grad is not None
        assert predicted.grad[0, 2] > 0 > predicted.grad[1, 0]

    def test_identical_boxes_have_a_finite_gradient(self) -> None:
        predicted = boxes([0, 0, 10, 10], [0, 0, 10, 10])
        loss = repulsion_from_boxes(predicted, index(0, 1), index(0, 0), sigma=1.0)
        loss.backward()
        assert loss.isfinite()
        assert predicted.grad is not None and predicted.grad.isfinite().all()


class TestTogether:
    def test_half_of_each(self) -> None:
        predicted = boxes([0, 0, 9, 10], [8, 0, 18, 10], [1, 0, 9, 9])
        objects = index(0, 1, 2)
        from_objects = repulsion_from_objects(predicted, objects, OBJECTS, IMAGES)
        from_boxes = repulsion_from_boxes(predicted, objects, IMAGES[objects])
        assert from_objects > 0 and from_boxes > 0
        torch.testing.assert_close(together(predicted, objects, OBJECTS, IMAGES), 0.5 * from_objects + 0.5 * from_boxes)

    @pytest.mark.parametrize(
        ("predicted", "objects", "count"),
        [([], (), 0), ([], (), 3), ([[0, 0, 9, 9]], (2,), 3)],
        ids=["nothing at all", "no box", "an object alone"],
    )
    def test_with_nothing_to_repel_it_is_zero_with_a_zero_gradient(
        self, predicted: Any, objects: tuple[int, ...], count: int
    ) -> None:
        given = boxes(*predicted)
        loss = together(given, index(*objects), OBJECTS[:count], IMAGES[:count])
        loss.backward()
        assert loss.shape == () and loss.item() == 0
        assert given.grad is not None and given.grad.abs().sum() == 0

    def test_gradients_are_those_of_finite_differences(self) -> None:
        generator = torch.Generator().manual_seed(0)
        objects = index(0, 1, 0, 2)
        predicted = OBJECTS.double()[objects] + torch.rand(4, 4, generator=generator, dtype=torch.float64)
        assert torch.autograd.gradcheck(
            lambda boxes: together(boxes, objects, OBJECTS.double(), IMAGES), (predicted.requires_grad_(),)
        )

    @pytest.mark.parametrize(
        ("seed", "from_objects", "from_boxes", "gradient"),
        [
            (0, 0.9306157827377319, 0.17145408689975739, 0.02563115954399109),
            (1, 0.8093304634094238, 0.1940184384584427, 0.01153795886784792),
            (2, 0.5264354944229126, 0.1817425936460495, 0.01631961017847061),
        ],
    )
    def test_image_by_image_it_is_what_all_combinations_over_the_batch_gave(
        self, seed: int, from_objects: float, from_boxes: float, gradient: float
    ) -> None:
        """The numbers are of an implementation that masked the pairs of a whole batch."""
        predicted, own, gt, images = crowd(seed)
        assert repulsion_from_objects(predicted, own, gt, images).item() == pytest.approx(from_objects, rel=1e-5)
        assert repulsion_from_boxes(predicted, own, images[own]).item() == pytest.approx(from_boxes, rel=1e-5)
        (found,) = torch.autograd.grad(together(predicted, own, gt, images), predicted)
        assert found.norm().item() == pytest.approx(gradient, rel=1e-4)


def crowd(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """25 boxes near their objects, of three images of four objects each."""
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(12, 2, generator=generator) * 60
    gt = torch.cat([corners, corners + 10 + 30 * torch.rand(12, 2, generator=generator)], 1)
    own = torch.randint(0, 12, (25,), generator=generator)
    predicted = gt[own] + 6 * torch.randn(25, 4, generator=generator)
    return predicted.requires_grad_(), own, gt, torch.arange(3).repeat_interleave(4)


class TestShares:
    # Each box covers 2 x 10 of the other object and of the other box.
    PREDICTED = OBJECTS[:2]

    def sums(self, *shares: float) -> tuple[Sums, Sums]:
        objects = objects_of(OBJECTS[:2], IMAGES[:2], torch.tensor(shares))
        own = index(0, 1)
        return (
            repulsion.repulsion_from_objects(self.PREDICTED, own, objects, sigma=0.0),
            repulsion.repulsion_from_boxes(self.PREDICTED, own, objects),
        )

    def test_an_object_that_counts_nothing_repels_nothing(self) -> None:
        from_objects, from_boxes = self.sums(1.0, 0.0)
        assert (from_objects.loss, from_boxes.loss) == (0, 0)
        assert (from_objects.weight, from_boxes.weight) == (1, 0)

    def test_the_object_behind_one_that_counts_nothing_repels(self) -> None:
        gt = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 10], [8, 0, 18, 10]])
        objects = objects_of(gt, index(0, 0, 0), torch.tensor([1.0, 0.0, 1.0]))
        found = repulsion.repulsion_from_objects(gt[:1], index(0), objects, sigma=0.0)
        assert found.loss.item() == pytest.approx(0.2)

    def test_a_pair_counts_by_the_lesser_share(self) -> None:
        whole_objects, whole_boxes = self.sums(1.0, 1.0)
        from_objects, from_boxes = self.sums(0.75, 0.25)
        assert from_objects.loss.item() == pytest.approx(0.25 * whole_objects.loss.item())
        assert from_objects.weight.item() == 1.0
        assert from_boxes.loss.item() == pytest.approx(0.25 * whole_boxes.loss.item())
        assert from_boxes.weight.item() == 0.25

    def test_equal_shares_change_no_mean(self) -> None:
        for whole, half in zip(self.sums(1.0, 1.0), self.sums(0.5, 0.5), strict=True):
            assert mean(half).item() == pytest.approx(mean(whole).item())


def test_memory_does_not_grow_with_the_square_of_the_images() -> None:
    """Each of 200 images has two boxes: all combinations over the batch would be 160000 rows."""
    gt = OBJECTS[:2].repeat(200, 1)
    images = torch.arange(200).repeat_interleave(2)
    largest = 0

    class Watch(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            nonlocal largest
            result = func(*args, **(kwargs or {}))
            if isinstance(result, Tensor):
                largest = max(largest, result.numel())
            return result

    own = torch.arange(400)
    with Watch():
        together(gt.clone().requires_grad_(), own, gt, images)
    assert largest <= 4 * 400

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgedet.train.plan import BatchPlan, SampleKey, augment_generator

SEEDS = st.integers(0, 2**32 - 1)
SMALL = st.integers(1, 40)


@given(SMALL, SMALL, st.integers(1, 3), SEEDS)
@settings(max_examples=60)
def test_every_epoch_covers_every_sample_in_full_batches(samples: int, batch: int, epochs: int, seed: int) -> None:
    plan = BatchPlan(samples, batch, epochs, seed, 320)
    assert plan.total_steps == epochs * plan.steps_per_epoch
    for epoch in range(epochs):
        steps = range(epoch * plan.steps_per_epoch, (epoch + 1) * plan.steps_per_epoch)
        keys = [key for step in steps for key in plan.keys(step)]
        assert len(keys) == plan.steps_per_epoch * batch < samples + batch
        assert {key.epoch for key in keys} == {epoch}
        assert [key.position for key in keys] == list(range(len(keys)))
        order = [key.sample for key in keys]
        assert sorted(order[:samples]) == list(range(samples))
        assert order[samples:] == (order[:samples] * batch)[: len(order) - samples]


@given(SMALL, st.integers(1, 6), st.integers(1, 6), SEEDS)
@settings(max_examples=40)
def test_ranks_share_the_batch_out_among_them(samples: int, share: int, world_size: int, seed: int) -> None:
    batch = share * world_size
    whole = BatchPlan(samples, batch, 2, seed, 320, 0.3)
    parts = [BatchPlan(samples, batch, 2, seed, 320, 0.3, rank, world_size) for rank in range(world_size)]
    for step in range(whole.total_steps):
        shares = [part.keys(step) for part in parts]
        assert all(len(keys) == share for keys in shares)
        assert [key for keys in shares for key in keys] == whole.keys(step)


@given(SMALL, SMALL, SEEDS)
@settings(max_examples=30)
def test_a_step_depends_on_nothing_but_the_plan(samples: int, batch: int, seed: int) -> None:
    plan = BatchPlan(samples, batch, 4, seed, 320, 0.5)
    in_order = [plan.keys(step) for step in range(plan.total_steps)]
    assert [plan.keys(step) for step in reversed(range(plan.total_steps))] == in_order[::-1]
    middle = plan.total_steps // 2
    assert list(plan.batches_from(middle)) == in_order[middle:]
    assert list(BatchPlan(samples, batch, 4, seed, 320, 0.5).batches_from(0)) == in_order
    assert list(plan.batches_from(plan.total_steps)) == []


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    def order(seed: int, epoch: int) -> tuple[int, ...]:
        plan = BatchPlan(50, 50, 10, seed, 320)
        return tuple(key.sample for key in plan.keys(epoch))

    orders = {order(seed, epoch) for seed in range(4) for epoch in range(10)}
    assert len(orders) == 40
    assert tuple(range(50)) not in orders


def test_no_sample_fills_up_the_batches_more_often_than_others() -> None:
    plan = BatchPlan(5, 6, 1000, 0, 320)
    extra = Counter(plan.keys(step)[-1].sample for step in range(1000))
    assert all(150 < extra[sample] < 250 for sample in range(5))


class TestSize:
    def test_without_multi_scale_it_is_the_size_asked_for(self) -> None:
        plan = BatchPlan(10, 2, 3, 0, 352)
        assert {key.size for step in range(plan.total_steps) for key in plan.keys(step)} == {352}

    @given(st.integers(1, 30), st.floats(0.01, 0.5), SEEDS)
    @settings(max_examples=60)
    def test_multiples_of_32_within_the_spread(self, cells: int, spread: float, seed: int) -> None:
        plan = BatchPlan(10, 2, 3, seed, 32 * cells, spread)
        for step in range(plan.total_steps):
            size = plan.size(step)
            assert size % 32 == 0
            assert size >= 32
            assert 32 * cells * (1 - spread) - 16 <= size <= 32 * cells * (1 + spread) + 16
            assert {key.size for key in plan.keys(step)} == {size}

    def test_all_sizes_of_the_spread_are_drawn_about_their_mean(self) -> None:
        plan = BatchPlan(1, 1, 2000, 3, 320, 0.25)
        sizes = [plan.size(step) for step in range(plan.total_steps)]
        assert set(sizes) == {256, 288, 320, 352, 384} | ({224, 416} & set(sizes))
        assert np.mean(sizes) == pytest.approx(320, abs=4)
        assert np.mean([first == second for first, second in itertools.pairwise(sizes)]) < 0.3, (
            "each step draws its own"
        )


class TestAugmentGenerator:
    def test_is_the_same_for_the_same_key_only(self) -> None:
        plan = BatchPlan(7, 3, 3, 0, 64)
        keys = [key for step in range(plan.total_steps) for key in plan.keys(step)]
        draws = [tuple(augment_generator(0, key).random(2)) for key in keys]
        assert draws == [tuple(augment_generator(0, key).random(2)) for key in keys]
        assert len(set(draws)) == len(keys)
        assert set(draws).isdisjoint(tuple(augment_generator(1, key).random(2)) for key in keys)

    def test_a_sample_that_fills_up_a_batch_is_augmented_anew(self) -> None:
        keys = BatchPlan(2, 6, 1, 0, 64).keys(0)
        assert sorted(key.sample for key in keys) == [0, 0, 0, 1, 1, 1]
        assert len({augment_generator(0, key).random() for key in keys}) == 6

    def test_the_input_size_does_not_change_the_augmentation(self) -> None:
        key = BatchPlan(2, 2, 1, 0, 64).keys(0)[0]
        assert augment_generator(0, key).random() == augment_generator(0, key._replace(size=320)).random()


class TestPartners:
    @staticmethod
    def keys(plan: BatchPlan, epoch: int = 0) -> list[SampleKey]:
        steps = range(epoch * plan.steps_per_epoch, (epoch + 1) * plan.steps_per_epoch)
        return [key for step in steps for key in plan.keys(step)]

    @given(st.integers(1, 3000), SMALL, SEEDS)
    @settings(max_examples=60)
    def test_they_come_from_the_latest_of_the_lane(self, samples: int, batch: int, seed: int) -> None:
        plan = BatchPlan(samples, batch, 1, seed, 320)
        keys = self.keys(plan)
        for key in keys[:: max(1, len(keys) // 50)]:
            step = key.position // batch
            lane = [other for other in keys if other.position // batch % plan.lanes == step % plan.lanes]
            before = [other.sample for other in lane if other.position < key.position]
            expected = before[-64:] if len(before) >= 64 else [other.sample for other in lane[:64]]
            assert plan.partners(key) == expected

    @given(st.integers(1, 100_000), st.integers(1, 64))
    def test_a_lane_has_many_samples(self, samples: int, batch: int) -> None:
        lanes = BatchPlan(samples, batch, 1, 0, 320).lanes
        assert lanes in (1, 2, 4, 8)
        assert lanes == 1 or samples / lanes >= 256
        assert lanes == 8 or samples / (2 * lanes) < 256

    @pytest.mark.parametrize("workers", [1, 2, 4, 8])
    def test_workers_decode_each_image_once(self, workers: int) -> None:
        plan = BatchPlan(2400, 10, 1, 0, 320)
        steps = range(plan.total_steps)
        for worker in range(workers):
            own = {key.sample for step in steps[worker::workers] for key in plan.keys(step)}
            wanted = {
                partner for step in steps[worker::workers] for key in plan.keys(step) for partner in plan.partners(key)
            }
            assert wanted <= own

    @pytest.mark.parametrize("samples", [1, 2, 63, 64, 65])
    def test_a_small_dataset_has_partners_too(self, samples: int) -> None:
        for key in self.keys(BatchPlan(samples, 4, 1, 0, 320)):
            partners = BatchPlan(samples, 4, 1, 0, 320).partners(key)
            assert len(partners) >= min(samples, 64)
            assert set(partners) <= set(range(samples))

    def test_over_the_epochs_every_sample_is_a_partner_equally_often(self) -> None:
        plan = BatchPlan(300, 10, 40, 0, 320)
        drawn = Counter(
            partner for epoch in range(40) for key in self.keys(plan, epoch)[::7] for partner in plan.partners(key)
        )
        mean = sum(drawn.values()) / 300
        assert all(0.5 * mean < drawn[sample] < 1.6 * mean for sample in range(300))

    def test_processes_and_sizes_change_nothing(self) -> None:
        whole = BatchPlan(1000, 8, 1, 3, 320)
        for rank in range(2):
            share = BatchPlan(1000, 8, 1, 3, 320, 0.4, rank, 2)
            for step in range(0, share.total_steps, 9):
                for key in share.keys(step):
                    assert share.partners(key) == whole.partners(key._replace(size=320))

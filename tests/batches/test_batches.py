"""Which examples a step takes, and that nothing but (seed, epoch, position) decides over it."""

import pickle

import numpy as np
import pytest
from accelerate.data_loader import BatchSamplerShard

from hf_ssl.batches.collators import SSLCollator
from hf_ssl.batches.dataset import ViewDataset
from hf_ssl.batches.sampler import ExampleKey, JointBatchSampler


def sampler(**changes):
    sizes = {"num_labeled": 5, "num_unlabeled": 24, "labeled_batch_size": 2, "unlabeled_batch_size": 6, "seed": 3}
    return JointBatchSampler(**{**sizes, **changes})


def parts(batch):
    return [k.index for k in batch if k.labeled], [k.index for k in batch if not k.labeled]


def test_an_epoch_is_one_pass_over_the_pool():
    batches = list(sampler())
    assert len(batches) == len(sampler()) == 4
    assert sorted(i for b in batches for i in parts(b)[1]) == list(range(24))
    assert all(len(parts(b)[0]) == 2 for b in batches)


def test_labeled_examples_are_cycled_and_each_cycle_is_a_permutation():
    keys = [k for b in sampler(num_unlabeled=60) for k in b if k.labeled]
    assert len(keys) == 20
    for cycle in range(4):
        assert sorted(k.index for k in keys if k.cycle == cycle) == list(range(5))
    orders = {tuple(k.index for k in keys if k.cycle == cycle) for cycle in range(4)}
    assert len(orders) > 1


def test_order_is_a_function_of_seed_and_epoch():
    def order(seed, epoch):
        s = sampler(seed=seed)
        s.set_epoch(epoch)
        return [parts(b) for b in s]

    assert order(3, 1) == order(3, 1)
    assert order(3, 1) != order(3, 2)
    assert order(3, 1) != order(4, 1)


@pytest.mark.parametrize("processes", [2, 4])
def test_processes_share_out_what_one_process_would_take(processes):
    one = list(sampler(num_unlabeled=48, labeled_batch_size=4, unlabeled_batch_size=12))
    small = {"num_unlabeled": 48, "labeled_batch_size": 4 // processes, "unlabeled_batch_size": 12 // processes}
    shards = [list(BatchSamplerShard(sampler(**small), processes, rank)) for rank in range(processes)]
    assert {len(shard) for shard in shards} == {len(one)}
    for step, batch in enumerate(one):
        joined = [parts(shard[step]) for shard in shards]
        assert [i for labeled, _ in joined for i in labeled] == parts(batch)[0]
        assert [i for _, unlabeled in joined for i in unlabeled] == parts(batch)[1]


def test_a_pool_smaller_than_a_batch_is_cycled():
    batches = list(sampler(num_unlabeled=4, min_batches=2))
    assert len(batches) == 2
    assert all(len(parts(b)[1]) == 6 for b in batches)


def test_an_empty_set_is_refused():
    with pytest.raises(ValueError, match="0 unlabeled"):
        sampler(num_unlabeled=0)


class RecordingViews:
    """A view is the row's number and a random number of its generator."""

    def __call__(self, kind, row, rng):
        value = (kind, row["x"], float(rng.random()))
        return (value, 1) if kind == "rotated" else value

    def collate(self, items):
        return {"items": items}


def view_dataset(names, unlabeled=None):
    rows = [{"x": i, "label": i % 2} for i in range(4)]
    return ViewDataset(rows, rows if unlabeled is None else unlabeled, RecordingViews(), names, "label", seed=5)


def test_each_view_has_its_own_random_numbers():
    dataset = view_dataset({"weak": "weak", "strong": "strong", "strong_2": "strong"})
    item = dataset[ExampleKey(False, 1, 0, 0)]
    assert len({item[name][2] for name in ("weak", "strong", "strong_2")}) == 3
    assert dataset[ExampleKey(False, 1, 0, 0)]["strong"] == item["strong"]
    for other in (ExampleKey(False, 1, 1, 0), ExampleKey(False, 1, 0, 1), ExampleKey(False, 2, 0, 0)):
        assert dataset[other]["strong"][2] != item["strong"][2]


def test_labeled_and_unlabeled_views_of_the_same_example_differ():
    dataset = view_dataset({"weak": "weak"})
    assert dataset[ExampleKey(True, 1, 0, 0)]["labeled"][2] != dataset[ExampleKey(False, 1, 0, 0)]["weak"][2]


def test_a_pool_without_views_is_never_read():
    class Unreadable(list):
        def __getitem__(self, index):
            raise AssertionError("read")

    dataset = view_dataset({}, Unreadable([0]))
    assert dataset[ExampleKey(False, 0, 0, 0)] == {"key": ExampleKey(False, 0, 0, 0)}


def test_hidden_labels_do_not_reach_the_algorithm():
    dataset = view_dataset({"weak": "weak", "labeled_strong": "strong", "rotated": "rotated"})
    keys = [ExampleKey(True, 0, 0, 0), ExampleKey(False, 1, 0, 0), ExampleKey(False, 3, 0, 0)]
    collator = SSLCollator(RecordingViews())
    inputs = collator([dataset[key] for key in keys])
    assert inputs["hidden_labels"].tolist() == [1, 1]
    batch = collator.to_batch(inputs)
    assert batch.labels.tolist() == [0]
    assert batch.unlabeled_index.tolist() == [1, 3]
    assert set(batch.unlabeled) == {"weak", "rotated"}
    assert batch.labeled_strong["items"][0][0] == "strong"
    assert batch.rotation_labels.tolist() == [1, 1]
    assert not any("hidden" in name for name in vars(batch))


def test_a_pool_without_labels_has_no_hidden_labels():
    dataset = view_dataset({"weak": "weak"}, [{"x": 0}, {"x": 1}])
    inputs = SSLCollator(RecordingViews())([dataset[ExampleKey(True, 0, 0, 0)], dataset[ExampleKey(False, 1, 0, 0)]])
    assert "hidden_labels" not in inputs


def test_the_generator_s_key_is_the_draw_itself():
    # seed 1 (32 bits), epoch 2 (24), cycle 0 (24), index 7 (40), unlabeled 0 (1), view 3 (7): a change of this layout
    # would change every published number.
    key = (1 << 96) + (2 << 72) + (0 << 48) + (7 << 8) + (0 << 7) + 3
    drawn = ExampleKey(False, 7, 2, 0).generator(seed=1, view=3).integers(1000, size=4)
    assert drawn.tolist() == np.random.Generator(np.random.Philox(key=key)).integers(1000, size=4).tolist()


def test_a_batch_is_fetched_at_once_and_equals_its_items():
    class Counting(list):
        requests = 0

        def __getitems__(self, indices):
            self.requests += 1
            return [self[index] for index in indices]

    rows = Counting({"x": i, "label": i % 2} for i in range(4))
    dataset = ViewDataset(rows, rows, RecordingViews(), {"weak": "weak", "strong": "strong"}, "label", seed=5)
    keys = [
        ExampleKey(True, 1, 0, 0),
        ExampleKey(False, 3, 0, 0),
        ExampleKey(True, 0, 0, 1),
        ExampleKey(False, 2, 0, 0),
    ]
    items = dataset.__getitems__(keys)
    assert rows.requests == 2
    assert items == [dataset[key] for key in keys]
    assert [item["key"] for item in items] == keys


def test_grouping_by_length_draws_the_same_examples_with_less_padding():
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 100, 40), rng.integers(1, 100, 960)
    given = {"num_labeled": 40, "num_unlabeled": 960, "labeled_batch_size": 4, "unlabeled_batch_size": 8, "seed": 3}
    plain, grouped = list(JointBatchSampler(**given)), list(JointBatchSampler(**given, lengths=lengths))

    def padded(batches):
        return sum(len(batch) * max(lengths[0 if key.labeled else 1][key.index] for key in batch) for batch in batches)

    def count(batches, labeled):
        return sorted(key for batch in batches for key in batch if key.labeled is labeled)

    assert [len(batch) for batch in grouped] == [12] * 120
    for labeled in (True, False):
        assert count(plain, labeled) == count(grouped, labeled)
    # No example stands in a batch twice, and the same seed gives the same batches.
    assert all(len({key.index for key in batch if key.labeled}) == 4 for batch in grouped)
    assert grouped == list(JointBatchSampler(**given, lengths=lengths))
    assert padded(grouped) < 0.7 * padded(plain)
    # Where labeled examples are long unlabeled ones are, too.
    longest = [
        [max(lengths[0 if side else 1][k.index] for k in b if k.labeled is side) for b in grouped]
        for side in (True, False)
    ]
    assert np.corrcoef(longest)[0, 1] > 0.8
    # Their order says nothing of their length.
    orders = [JointBatchSampler(**{**given, "seed": seed}, lengths=lengths) for seed in range(5)]
    longest = [[max(lengths[0][key.index] for key in batch if key.labeled) for batch in order] for order in orders]
    assert abs(np.mean([np.corrcoef(row, np.arange(120) % 50)[0, 1] for row in longest])) < 0.2


def test_keys_survive_the_way_to_a_worker():
    batch = next(iter(sampler()))
    assert pickle.loads(pickle.dumps(batch)) == list(batch) == batch
    assert batch[1] == list(batch)[1] and len(batch) == 8


@pytest.mark.parametrize("modality", ["image", "audio"])
def test_a_file_is_decoded_once_for_all_views_of_a_draw(modality, monkeypatch):
    from hf_ssl.data.rows import undecoded
    from hf_ssl.views import audio, image

    from tests.helpers.tiny_tasks import task

    given = task(modality)
    rows = undecoded(given["unlabeled_dataset"], [modality])
    views = {"image": image.ImageViews, "audio": audio.AudioViews}[modality](given["processing_class"])
    opened = []
    for module, name in ((image.Image, "open"), (audio, "read_file")):
        real = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *args, real=real: opened.append(1) or real(*args))
    names = {"weak": "weak", "strong": "strong", "strong_2": "strong"}
    key = ExampleKey(False, 3, 0, 0)
    item = ViewDataset(rows, rows, views, names, "label", seed=5)[key]
    assert len(opened) == 1
    for number, (name, kind) in enumerate(names.items()):
        expected = views(kind, rows[3], key.generator(5, number))
        np.testing.assert_array_equal(np.asarray(item[name]), np.asarray(expected))

"""Which rows of a stream each batch takes, and where a reader goes on after any of them."""

import json
import pickle
import threading

import datasets
import numpy as np
import pytest
import torch

from hf_ssl.batches.sampler import ExampleKey, JointBatchSampler, shuffled
from hf_ssl.batches.streams import Draw, StreamBatchSampler, StreamReader, StreamViews
from hf_ssl.data.streams import StreamPart
from hf_ssl.errors import BrokenExampleError

B, U = 2, 4


def numbers(count, shards=1):
    return datasets.Dataset.from_dict({"n": range(count)}).to_iterable_dataset(num_shards=shards)


class Numbers(torch.utils.data.IterableDataset):
    """A torch stream that counts the rows that it gave, and says its epoch."""

    def __init__(self, count):
        self.count, self.read, self.epoch = count, 0, 0

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __iter__(self):
        for n in range(self.count):
            self.read += 1
            yield {"n": 100 * self.epoch + n}


def make_reader(stream, buffer=0, seed=0, rank=0, processes=1, kept=3):
    part = StreamPart(stream, rank, processes)
    return StreamReader(part, U, buffer, seed, rank=rank, processes=processes, kept=kept)


def told(reader, number):
    """Pass, position and row of each draw of a batch."""
    return [(draw.key.epoch, draw.key.index, draw.row["n"]) for draw in reader.read(number)]


def test_rows_come_as_they_are_without_a_buffer_and_again_after_the_last():
    reader = make_reader(Numbers(6))
    assert told(reader, 0) == [(0, 0, 0), (0, 1, 1), (0, 2, 2), (0, 3, 3)]
    assert told(reader, 1) == [(0, 4, 4), (0, 5, 5), (1, 0, 100), (1, 1, 101)]
    # Batch 2 was passed over: it is read, and can still be asked for.
    assert told(reader, 3) == [(2, 0, 200), (2, 1, 201), (2, 2, 202), (2, 3, 203)]
    assert told(reader, 2) == [(1, 2, 102), (1, 3, 103), (1, 4, 104), (1, 5, 105)]


def test_blocks_of_the_buffer_are_shuffled_one_by_one():
    reader = make_reader(Numbers(10), buffer=4, seed=3)
    drawn = [told(reader, number) for number in range(5)]
    places = [position for batch in drawn for _, position, _ in batch]
    expected = [4 * block + shuffled(3, 0, block, 4, labeled=False) for block in range(2)]
    expected.append(8 + shuffled(3, 0, 2, 2, labeled=False))
    expected += [4 * block + shuffled(3, 1, block, 4, labeled=False) for block in range(2)]
    assert places[:18] == np.concatenate(expected)[:18].tolist()
    assert [sorted(places[start : start + 4]) for start in (0, 4)] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert all(n == 100 * number + position for batch in drawn for number, position, n in batch)
    assert drawn != [told(make_reader(Numbers(10), buffer=4, seed=4), number) for number in range(5)]


def test_a_pass_that_fits_into_the_buffer_has_the_order_and_the_keys_of_a_dataset():
    in_memory = JointBatchSampler(3, 8, B, U, seed=5)
    reader = make_reader(numbers(8), buffer=20, seed=5)
    streamed = StreamBatchSampler(3, B, U, batches=2, reader=reader, seed=5)
    assert [[draw.key for draw in batch] for batch in streamed] == [list(batch) for batch in in_memory]


def test_labeled_examples_are_cycled_through_the_whole_run():
    batches = list(StreamBatchSampler(3, B, U, batches=9, reader=make_reader(numbers(8))))
    keys = [draw.key for batch in batches for draw in batch if draw.key.labeled]
    assert [key.cycle for key in keys] == [place // 3 for place in range(18)]
    assert all(sorted(key.index for key in keys[start : start + 3]) == [0, 1, 2] for start in range(0, 18, 3))
    assert {key.epoch for key in keys} == {0}


STREAMS = {
    "one shard": lambda: numbers(11),
    "shards": lambda: numbers(11, shards=4),
    "a generator": lambda: datasets.IterableDataset.from_generator(lambda: ({"n": n} for n in range(11))),
    "mapped and filtered": lambda: (
        numbers(16, 2).map(lambda row: {"n": row["n"] + 1}).filter(lambda row: row["n"] % 3)
    ),
    "mapped in batches": lambda: numbers(11, 2).map(lambda rows: {"n": rows["n"]}, batched=True, batch_size=4),
    "interleaved": lambda: datasets.interleave_datasets([numbers(9), numbers(7)], probabilities=[0.4, 0.6], seed=1),
    "with a buffer of its own": lambda: numbers(11, 2).shuffle(seed=1, buffer_size=5),
    "a torch stream": lambda: Numbers(11),
}


@pytest.mark.parametrize("buffer", [0, 3, 50])
@pytest.mark.parametrize("name", STREAMS)
def test_a_reader_goes_on_where_another_was(name, buffer):
    whole = make_reader(STREAMS[name](), buffer)
    batches, states = [], []
    for number in range(9):
        states.append(whole.state_after(number))
        batches.append(told(whole, number))
    assert batches[0][0][0] == 0 and batches[-1][-1][0] > 1
    for number in range(1, 9):
        again = make_reader(STREAMS[name](), buffer)
        state = json.loads(json.dumps(states[number]))
        again.load(state, number)
        # Saved again before anything was read.
        assert again.state_after(number) == state
        assert [told(again, later) for later in range(number, 9)] == batches[number:]


def test_a_stream_that_does_not_repeat_itself_is_warned_of(monkeypatch):
    warned = []
    monkeypatch.setattr("hf_ssl.batches.streams.logger.warning", warned.append)
    for other in (0, 1):
        stream = Numbers(20)
        reader = make_reader(stream, buffer=3)
        reader.read(2)
        again = Numbers(20)
        # Rows of another feed.
        again.set_epoch = lambda epoch, again=again, other=other: setattr(again, "epoch", epoch + other)
        resumed = make_reader(again, buffer=3)
        resumed.load(reader.state_after(3), 3)
        resumed.read(3)
        assert len(warned) == other
    assert warned[0].startswith("the unlabeled stream gives another row 9 in pass 0 than before the interruption")


def test_a_state_is_that_of_any_of_the_last_batches_also_if_others_were_read_ahead():
    ahead, at_once = (make_reader(numbers(40), buffer=6, kept=5) for _ in range(2))
    ahead.read(8)
    for number in range(9):
        expected = told(at_once, number)
        if number >= 4:
            again = make_reader(numbers(40), buffer=6)
            again.load(ahead.state_after(number), number)
            assert told(again, number) == expected
    # Blocks of batches that no checkpoint can ask for any more are forgotten.
    assert len(ahead._used) <= 5


def test_what_is_read_again_is_one_block_and_what_is_kept_are_two():
    stream = Numbers(1000)
    reader = make_reader(stream, buffer=20)
    for number in range(50):
        reader.read(number)
        # One block, and of the next one as many rows as were drawn.
        assert stream.read <= 4 * (number + 1) + 20
    streamed = numbers(1000)
    reader = make_reader(streamed, buffer=20)
    for number in range(50):
        reader.read(number)
    again = StreamPart(streamed)
    again.begin(0, reader.state_after(50)["stream"])
    assert reader.state_after(50)["stream"]["position"] == 180 and reader.state_after(50)["drawn"] == 20


@pytest.mark.parametrize("shards", [1, 4], ids=["by rows", "by shards"])
def test_processes_share_a_stream_and_none_of_them_ends(shards):
    readers = [make_reader(numbers(10, shards), rank=rank, processes=2) for rank in range(2)]
    drawn = [[draw for number in range(3) for draw in told(reader, number)] for reader in readers]
    first = [[row for number, _, row in draws if number == 0] for draws in drawn]
    assert sorted(first[0] + first[1]) == list(range(10))
    # Uneven shards: one process begins its second pass earlier.
    assert [len(draws) for draws in drawn] == [12, 12]
    keys = [(number, position) for draws in drawn for number, position, _ in draws]
    assert len(set(keys)) == len(keys)
    if shards == 1:
        assert all(row == position for draws in drawn for number, position, row in draws if number == 0)


def test_a_torch_stream_is_shared_row_by_row():
    readers = [make_reader(Numbers(7), rank=rank, processes=3) for rank in range(3)]
    first = [[row for number, _, row in told(reader, 0) if number == 0] for reader in readers]
    assert first == [[0, 3, 6], [1, 4], [2, 5]]


def test_only_batches_that_are_read_are_read():
    stream = Numbers(100)
    batches = list(StreamBatchSampler(3, B, U, batches=20, reader=make_reader(stream), processes=2))
    assert stream.read == 0 and {len(batch) for batch in batches} == {B + U}
    list(batches[1])
    # Batches 0 and 1 are the first ones of the two processes. One row is read ahead.
    assert stream.read == U + 1
    # Without a view of the stream there is no reader.
    assert [len(list(batch)) for batch in StreamBatchSampler(3, B, U, batches=1, reader=None)] == [B + U]


def test_threads_that_send_batches_to_workers_get_what_one_thread_gets():
    sent = {}
    batches = list(StreamBatchSampler(3, B, U, batches=40, reader=make_reader(numbers(30, 3), buffer=7)))

    def send(part):
        for place in range(part, 40, 4):
            sent[place] = pickle.loads(pickle.dumps(batches[place]))

    threads = [threading.Thread(target=send, args=(part,)) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    alone = StreamBatchSampler(3, B, U, batches=40, reader=make_reader(numbers(30, 3), buffer=7))
    assert [sent[place] for place in range(40)] == [list(batch) for batch in alone]


class Failing(Numbers):
    def __iter__(self):
        yield {"n": 0}
        raise OSError("the connection was lost")


def test_a_stream_that_fails_says_so_in_the_worker():
    batch = next(iter(StreamBatchSampler(3, B, U, batches=1, reader=make_reader(Failing(3)))))
    with pytest.raises(RuntimeError, match="the unlabeled stream cannot be read: OSError: the connection was lost"):
        list(pickle.loads(pickle.dumps(batch)))


def test_an_end_is_never_taken_for_that_of_the_training():
    reader = make_reader(Failing(3))
    with pytest.raises(OSError, match="the connection was lost"):
        reader.read(0)
    with pytest.raises(RuntimeError, match="the unlabeled stream was closed, or has failed before; train again"):
        reader.read(0)
    reader = make_reader(numbers(9))
    reader.close()
    with pytest.raises(RuntimeError, match="was closed"):
        reader.read(0)


WRONG = {
    "no row": (lambda: make_reader(Numbers(0)).read(0), ValueError, "gave no row in pass 0 to process 0 of 1; use"),
    "too few": (
        lambda: make_reader(Numbers(1), rank=1, processes=2).read(0),
        ValueError,
        "to process 1 of 2; use fewer processes",
    ),
    "rows that are tuples": (
        lambda: make_reader([(1, 2)]).read(0),
        TypeError,
        "rows of the unlabeled stream must be dicts of columns, got a tuple",
    ),
    "another buffer": (
        lambda: make_reader(numbers(9), buffer=4).load({"block_size": 8}, 1),
        ValueError,
        "stream_buffer_size must be 8, as in the run that is resumed, got 4; set it",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_read_is_said_in_one_line(name):
    act, error, message = WRONG[name]
    with pytest.raises(error, match=message) as raised:
        act()
    assert "\n" not in str(raised.value)


# ---- Views ----


class Shown:
    """A view maker that shows the row, and a number of the view's own."""

    shares_decoding = False
    collate = evaluation = None

    def __call__(self, kind, row, rng):
        if row.get("n") in (1, 2):
            raise BrokenExampleError("it is broken")
        return kind, row["n"], int(rng.integers(1000))


def draws_of(*numbers):
    return [Draw(ExampleKey(False, n, 0, 0), {"n": n, "label": n % 2}) for n in numbers]


def make_views(skip=True):
    views = Shown()
    return StreamViews(
        [{"n": 10, "label": 0}], lambda row, _: dict(row), views, {"weak": "weak"}, "label", seed=1, skip_broken=skip
    )


def test_views_have_the_random_numbers_of_their_place_in_the_stream():
    items = make_views().__getitems__([Draw(ExampleKey(True, 0, 0, 0)), *draws_of(3, 4)])
    assert [item["key"].labeled for item in items] == [True, False, False]
    assert items[1]["label"] == 1
    for item in items[1:]:
        assert item["weak"] == ("weak", item["key"].index, int(item["key"].generator(1, 0).integers(1000)))


def test_another_row_of_the_batch_takes_the_place_of_a_broken_one():
    (item, *_) = items = make_views().__getitems__(draws_of(1, 2, 3, 4))
    assert item["weak"][1] in (3, 4) and item["key"].index == item["weak"][1] and 1 in item["broken"]
    # With the random numbers of the draw in whose place it is.
    assert item["weak"][2] == int(ExampleKey(False, 1, 0, 0).generator(1, 0).integers(1000))
    assert items == make_views().__getitems__(draws_of(1, 2, 3, 4))
    with pytest.raises(BrokenExampleError, match="row 1 of the unlabeled stream: it is broken"):
        make_views(skip=False).__getitems__(draws_of(1, 3))
    with pytest.raises(BrokenExampleError, match="none of the 2 examples of a batch can be read; the last, row"):
        make_views().__getitems__(draws_of(1, 2))

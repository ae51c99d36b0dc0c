"""Reading TFRecord files and tf.train.Example without TensorFlow."""

import gzip

import pytest

from report import examples
from tests.report.conftest import example, field, write_records


def test_features_of_an_example_are_read_by_name():
    found = examples.features(example(image=b"\x00\xff", label=300, id=b"train/7"))
    assert found == {"image": [b"\x00\xff"], "label": [300], "id": [b"train/7"]}


def test_negative_labels_come_back_negative():
    assert examples.features(example(label=-1)) == {"label": [-1]}


def test_tensorflow_writes_what_this_reads(tmp_path):
    tf = pytest.importorskip("tensorflow")
    message = tf.train.Example()
    message.features.feature["image"].bytes_list.value.append(b"png")
    message.features.feature["label"].int64_list.value.extend([7, -2])
    message.features.feature["weights"].float_list.value.extend([0.5, 1.5])
    path = tmp_path / "file.gz"
    with tf.io.TFRecordWriter(str(path), options="GZIP") as writer:
        writer.write(message.SerializeToString())
        writer.write(b"second")
    first, second = examples.records(path)
    assert examples.features(first) == {"image": [b"png"], "label": [7, -2]}
    assert second == b"second"


def test_a_file_that_ends_within_a_record_is_named(tmp_path):
    path = tmp_path / "data.gz"
    write_records(path, [b"whole", b"torn"])
    whole = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(whole[:-6]))
    with pytest.raises(ValueError, match=r"data\.gz ends within a record"):
        list(examples.records(path))


@pytest.mark.parametrize("garbage", [b"\x0a\xff", b"\x0f", b"\xff" * 4, field(1, b"\x0a\x10\x01")])
def test_bytes_that_are_no_example_are_refused(garbage):
    with pytest.raises(ValueError, match=r"no tf\.train\.Example"):
        examples.features(garbage)


def test_some_of_each_class_stops_when_it_has_enough(tmp_path):
    records = [example(image=bytes([i]), label=i % 3) for i in range(30)]
    write_records(tmp_path / "a.gz", records)
    (tmp_path / "b.gz").write_bytes(b"never read")
    found = examples.some_of_each_class(tmp_path, 2, 3)
    assert found == {0: [b"\x00", b"\x03"], 1: [b"\x01", b"\x04"], 2: [b"\x02", b"\x05"]}


def test_a_class_that_does_not_occur_is_empty_and_ends_the_search(tmp_path):
    write_records(tmp_path / "a.gz", [example(image=b"i", label=0)] * 30)
    assert examples.some_of_each_class(tmp_path, 2, 2, most=10) == {0: [b"i", b"i"], 1: []}


def test_examples_of_something_else_are_refused(tmp_path):
    write_records(tmp_path / "a.gz", [example(text=b"words")])
    with pytest.raises(ValueError, match="without image and label"):
        examples.some_of_each_class(tmp_path, 1, 1)

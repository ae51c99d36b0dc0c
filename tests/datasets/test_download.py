"""Downloads: TFDS fetches MNIST from a server of this machine that stands for its host."""

import pathlib
import urllib.request

import pytest
import requests
import tensorflow_datasets as tfds

from datasets import source, tfds_store
from datasets.data_config import DataConfig
from datasets.tfds_store import DataError
from tests import download_host

IMAGES, LABELS = "train-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"


@pytest.fixture
def host(mnist_dir, monkeypatch):
    """MNIST's host, asked in the place of the true one; of what it sends little is prepared."""
    server = download_host.Host(mnist_dir)
    for owner, name in ((requests.Session, "request"), (urllib.request, "urlopen")):
        monkeypatch.setattr(owner, name, getattr(owner, name))  # to be undone after the test
    download_host.replace_host(server.address)
    builder = tfds.builder_cls("mnist")
    generate = builder._generate_examples
    monkeypatch.setattr(
        builder,
        "_generate_examples",
        lambda self, num_examples, **paths: generate(self, 60, **paths),
    )
    monkeypatch.setattr(tfds_store, "_PAUSES_SECONDS", (0.0, 0.0))
    yield server
    server.shutdown()
    server.server_close()


def download(folder: pathlib.Path, dataset: str = "mnist") -> source.DataSource:
    return source.resolve(DataConfig(dataset=dataset), folder)


@pytest.mark.parametrize(
    "spoil",
    [download_host.closes_halfway, download_host.falls_silent, download_host.is_overloaded],
)
def test_a_download_that_breaks_off_goes_on_when_the_host_comes_back(
    spoil, host, tmp_path, monkeypatch
):
    monkeypatch.setattr(tfds_store, "_SILENCE_SECONDS", 1.0)
    host.spoil = spoil
    found = download(tmp_path)
    assert (found.dataset, found.split_counts["test"]) == ("mnist", 60)
    assert host.times[IMAGES] == 2


def test_a_second_call_downloads_nothing(host, tmp_path):
    download(tmp_path)
    asked = list(host.asked)
    assert download(tmp_path).dataset == "mnist"
    assert host.asked == asked


def test_what_has_arrived_is_told(host, tmp_path, caplog):
    host.spoil = download_host.falls_silent
    with pytest.MonkeyPatch.context() as patch, caplog.at_level("INFO", "mnist_gan.progress"):
        patch.setattr(tfds_store, "_SILENCE_SECONDS", 2.0)
        download(tmp_path)
    steps = [record.progress for record in caplog.records if hasattr(record, "progress")]
    assert {step["total"] for step in steps} == {11}
    assert any(0 < step["step"] < 11 for step in steps)
    assert "the download broke off" in caplog.text


def flip(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


def test_an_altered_file_is_refused_by_name_at_once(host, tmp_path):
    host.spoil = lambda handler, name, content, before: (
        name == LABELS and (handler.answer(flip(content)) or True)
    )
    with pytest.raises(DataError) as error:
        download(tmp_path)
    expected = tfds_store.registered_files(tfds.builder("mnist", data_dir=tmp_path))[LABELS]
    assert f"the {LABELS} that was downloaded is not the original" in str(error.value)
    assert "altered" in str(error.value) and expected in str(error.value)
    assert host.times[LABELS] == 1
    assert not (tmp_path / "mnist" / "3.0.1").exists()


def test_a_file_that_stays_truncated_is_refused_by_name_and_fetched_later(host, tmp_path):
    host.spoil = lambda handler, name, content, before: (
        name == LABELS and (handler.answer(content[:1000]) or True)
    )
    with pytest.raises(DataError, match=rf"broke off 3 times.*{LABELS} is truncated"):
        download(tmp_path)
    host.spoil = lambda *_: False
    assert download(tmp_path).dataset == "mnist"


def test_a_host_without_the_files_gives_one_message(host, tmp_path):
    host.spoil = lambda handler, *_: handler.send_error(404) or True
    with pytest.raises(DataError, match=r"could not prepare mnist.*HTTP code: 404"):
        download(tmp_path)
    found = download(tmp_path, "auto")
    assert found.dataset == "digits" and "HTTP code: 404" in found.note


def test_a_proxy_from_the_environment_is_used(host, tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", host.address)
    monkeypatch.setattr(urllib.request, "_opener", None)  # it keeps the proxies of its first use
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    download_host.replace_host("http://mnist.invalid")
    assert download(tmp_path).dataset == "mnist"
    assert {address.partition("/cvdf")[0] for address in host.asked} <= {
        "http://mnist.invalid",
        "http://mnist.invalid/",
    }

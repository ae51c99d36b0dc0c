import numpy as np
import tensorflow as tf

from common import mapped
from tests.trainer.conftest import CLASSES
from trainer.train_loop import GanLoop


def test_an_epoch_shows_every_image_once_and_epochs_differ(tiny_data, tiny_config):
    loop = GanLoop(*tiny_data, tiny_config, CLASSES, 3)  # 60 images, 8 a step: 15 steps, 2 epochs
    seen = []
    for step in range(15):
        loop.step.assign(step)
        images, labels = loop.real_batch()
        shown = [image.tobytes() for image in images.numpy()]
        expected = dict(zip((i.tobytes() for i in tiny_data[0]), tiny_data[1], strict=True))
        assert [expected[image] for image in shown] == labels.numpy().tolist()
        seen += shown
    assert len(set(seen[:60])) == len(set(seen[60:])) == 60
    assert seen[:60] != seen[60:]


def test_images_in_a_mapped_file_give_the_same_weights(tiny_data, tiny_config, monkeypatch):
    images, labels = tiny_data
    monkeypatch.setattr(mapped, "IN_MEMORY", 1000)
    of_file = mapped.joined([images])
    assert isinstance(of_file, np.memmap)
    states, batches = [], []
    for source in (images, of_file):
        loop = GanLoop(source, labels, tiny_config, CLASSES, 3)
        for _ in range(3):
            loop.train_step()
            loop.step.assign_add(1)
        loop.fit_grey_levels()
        states.append({name: value.numpy() for name, value in loop.state().items()})
        batches.append(tf.function(loop.real_batch)())
    np.testing.assert_equal(states[1], states[0])
    np.testing.assert_array_equal(batches[1][0], batches[0][0])


def test_the_average_follows_weights_and_batchnorm_statistics(tiny_data, tiny_config):
    loop = GanLoop(*tiny_data, tiny_config, CLASSES, 3)
    loop.step.assign(10**6)  # beyond the ramp-up
    names = [weight.path for weight in loop.generator.weights]
    assert any("moving_variance" in name for name in names)
    before = [weight.numpy() for weight in loop.average.weights]
    for weight in loop.generator.weights:
        weight.assign(weight + 1.0)
    loop.update_average()
    rate = 1 - 0.5 ** (1 / tiny_config.ema_half_life)
    for old, new in zip(before, loop.average.weights, strict=True):
        np.testing.assert_allclose(new.numpy(), old + rate, atol=1e-6)


def test_the_discriminator_sees_augmented_images_only(tiny_data, tiny_config):
    seen = []

    class Blindfolded(GanLoop):
        def augment(self, images, stream):
            return 0.0 * images + float(stream)

        def logits(self, images, labels):
            seen.append(np.unique(images))
            return super().logits(images, labels)

    Blindfolded(*tiny_data, tiny_config, CLASSES, 3).train_step()
    assert [values.tolist() for values in seen] == [[0, 1], [0], [2]]  # D, its penalty, G


def test_what_is_shown_is_shifted_anew_for_each_stream_and_step(tiny_data, tiny_config):
    loop = GanLoop(*tiny_data, tiny_config, CLASSES, 3)
    images, _ = loop.real_batch()
    first, again, fakes = (loop.augment(images, stream).numpy() for stream in (0, 0, 1))
    loop.step.assign_add(1)
    later = loop.augment(images, 0).numpy()
    np.testing.assert_array_equal(first, again)
    for other in (images.numpy(), fakes, later):
        assert np.any(first != other)

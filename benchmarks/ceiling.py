"""How much of a training step the machine's own speed explains: `benchmarks.training --ceiling`.

The work that can't be avoided is that of convolutions and dense layers. Each of their kernels
(forward, gradient by input, gradient by weights) is run alone, on the shapes that it has in the
default's networks, in float32 and in bfloat16; the faster counts. Their sum is the ceiling: a step
that took no longer would do nothing else. The rest of a step is then taken apart.

Of a step, with B images a batch: the generator goes forward and back on B; the discriminator on 2 B
for itself, where its first layer needs no gradient by input, and on B for the generator, where no
layer needs one by weights.
"""

import dataclasses
import functools
import math
import time
from collections.abc import Callable, Hashable, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from common.images import describe_shape
from trainer import losses
from trainer.train_loop import GanLoop
from trainer.training_config import STEPS_SHARE, make_config, preset, resolve_precision

ROUNDS = 7
SECONDS = 0.15  # that each function is timed in a round
CALLS = 8  # of a kernel in one graph, so that starting it costs next to nothing
PASSES = ("forward", "by input", "by weights")
DTYPES = (tf.float32, tf.bfloat16)


@dataclasses.dataclass(frozen=True)
class Work:
    """A layer's kernels as one part of a step runs them.

    Attributes:
      name: part of the step and layer.
      layer: convolution, transposed convolution or dense.
      batch: images.
      passes: of PASSES, those that this part needs.
    """

    name: str
    layer: keras.layers.Layer
    batch: int
    passes: tuple[str, ...]

    @property
    def multiplications(self) -> int:
        """Multiply-adds of one pass; all three have the same."""
        positions = math.prod(self._positions) if self._is_convolution else 1
        return self.batch * positions * math.prod(self.layer.kernel.shape)

    @property
    def _is_convolution(self) -> bool:
        return not isinstance(self.layer, keras.layers.Dense)

    @property
    def _positions(self) -> tuple[int, int]:
        """Where the kernel is applied: pixels of the smaller side."""
        transposed = isinstance(self.layer, keras.layers.Conv2DTranspose)
        return tuple((self.layer.input if transposed else self.layer.output).shape[1:3])

    def kernel(self, which: str, dtype: tf.DType) -> tuple[Callable, list[tf.Tensor]]:
        """The TensorFlow operation of one pass, and arguments for it."""
        layer = self.layer
        inputs = [self.batch, *layer.input.shape[1:]]
        outputs = [self.batch, *layer.output.shape[1:]]
        x, dy, w = (_noise(s, dtype) for s in (inputs, outputs, layer.kernel.shape))
        if not self._is_convolution:
            return {
                "forward": (lambda x, w: tf.matmul(x, w), [x, w]),
                "by input": (lambda dy, w: tf.matmul(dy, w, transpose_b=True), [dy, w]),
                "by weights": (lambda x, dy: tf.matmul(x, dy, transpose_a=True), [x, dy]),
            }[which]
        options = {
            "strides": [1, *layer.strides, 1],
            "padding": layer.padding.upper(),
        }

        def forward(images, w):
            return tf.raw_ops.Conv2D(input=images, filter=w, **options)

        def backward(shape):
            return lambda gradients, w: tf.raw_ops.Conv2DBackpropInput(
                input_sizes=shape, filter=w, out_backprop=gradients, **options
            )

        def by_weights(images, gradients):
            return tf.raw_ops.Conv2DBackpropFilter(
                input=images, filter_sizes=layer.kernel.shape, out_backprop=gradients, **options
            )

        if isinstance(layer, keras.layers.Conv2DTranspose):  # a convolution the other way round
            return {
                "forward": (backward(outputs), [x, w]),
                "by input": (forward, [dy, w]),
                "by weights": (by_weights, [dy, x]),
            }[which]
        return {
            "forward": (forward, [x, w]),
            "by input": (backward(inputs), [dy, w]),
            "by weights": (by_weights, [x, dy]),
        }[which]


def _noise(shape: Sequence[int], dtype: tf.DType) -> tf.Tensor:
    return tf.cast(np.random.default_rng(0).normal(size=tuple(shape)), dtype)


def works_of(loop: GanLoop) -> list[Work]:
    """All kernels of one training step of `loop`."""
    batch = loop.config.batch_size
    found = [Work(f"G, {w.name}", w, batch, PASSES) for w in _layers(loop.generator)]
    for index, layer in enumerate(_layers(loop.discriminator)):
        own = PASSES if index else ("forward", "by weights")
        found.append(Work(f"D for itself, {layer.name}", layer, 2 * batch, own))
        found.append(Work(f"D for G, {layer.name}", layer, batch, ("forward", "by input")))
    return found


def _layers(network: keras.Model) -> list[keras.layers.Layer]:
    kinds = (keras.layers.Conv2D, keras.layers.Conv2DTranspose, keras.layers.Dense)
    return [layer for layer in network.layers if isinstance(layer, kinds)]


def fastest(
    functions: Mapping[Hashable, Callable[[], object]],
    clock: Callable[[], float],
    rounds: int = ROUNDS,
) -> dict[Hashable, float]:
    """Seconds of one call of each function, by `clock`.

    Each is timed in every round, and its fastest round counts: what else the machine does only ever
    slows things down, and does it for a while.
    """
    best = dict.fromkeys(functions, math.inf)
    for function in functions.values():
        function()  # traces
    for _ in range(rounds):
        for key, function in functions.items():
            count, began = 0, clock()
            while (elapsed := clock() - began) < SECONDS:
                function()
                count += 1
            best[key] = min(best[key], elapsed / count)
    return best


def repeated(operation: Callable, arguments: Sequence[tf.Tensor]) -> Callable[[], object]:
    """A function that calls `operation` CALLS times in one graph."""
    first, *rest = arguments

    @tf.function
    def calls(copies, *rest):
        # Copies, one after the other: equal calls would be made once, independent ones together.
        found = []
        for copy in copies:
            with tf.control_dependencies(found[-1:]):
                found.append(tf.reshape(operation(copy, *rest), [-1])[0])
        return found

    copies = [tf.identity(first) for _ in range(CALLS)]
    return lambda: calls(copies, *rest)


def rest_of(loop: GanLoop) -> dict[str, tuple[Callable[[], object], int]]:
    """What of a step is no convolution or dense layer and can be run alone.

    Returns:
      by name, a function and how many steps one call of it serves.
    """
    networks = (loop.generator, loop.discriminator)
    optimizers = (loop.generator_optimizer, loop.discriminator_optimizer)
    gradients = [[tf.zeros(v.shape) for v in n.trainable_variables] for n in networks]

    @tf.function
    def batches():
        images, labels = loop.real_batch()
        return images[0, 0, 0], labels[0], loop.latent_batch()[0, 0]

    @tf.function
    def optimize():
        for optimizer, network, zeros in zip(optimizers, networks, gradients, strict=True):
            optimizer.apply(zeros, network.trainable_variables)

    @tf.function
    def norms():
        return [tf.linalg.global_norm(zeros) for zeros in gradients]

    found = {
        "images and latents of the step": (batches, 1),
        "optimisers": (optimize, 1),
        "average of the generator": (tf.function(loop.update_average), 1),
        "norms of the gradients": (norms, 1),
    }
    config = loop.config
    if config.r1_weight:
        images, labels = loop.real_batch()

        @tf.function
        def penalty():
            with tf.GradientTape() as tape:
                value = losses.r1_penalty(lambda x: loop.logits(x, labels), images)
            return tape.gradient(value, loop.discriminator.trainable_variables)

        name = f"gradient penalty, every {config.r1_interval} steps"
        found[name] = (penalty, config.r1_interval)
    return found


def sizes(*, processor_time: bool = False) -> None:
    """Prints what a step of `standard` costs with images of each size, and all its steps."""
    tf.config.experimental.enable_op_determinism()  # as `train` does
    random = np.random.default_rng(0)
    loops = {}
    for shape in ((28, 28, 1), (32, 32, 3), (64, 64, 3)):
        config = make_config(**preset("standard"))
        steps = round(config.steps * STEPS_SHARE[shape[0]])
        images = random.uniform(-1, 1, [1000, *shape]).astype(np.float32)
        loop = GanLoop(images, random.integers(0, 10, 1000), config, 10, 0)
        loops[describe_shape(shape), steps] = loop
    count = tf.constant(16, tf.int64)  # a whole round of gradient penalties
    seconds = fastest(
        {key: functools.partial(loop.run, count) for key, loop in loops.items()},
        time.process_time if processor_time else time.perf_counter,
        rounds=2,
    )
    unit = "processor seconds" if processor_time else "seconds"
    print(f"| images | parameters, G and D | {unit} a step | steps | minutes |")
    print("| --- | --- | ---: | ---: | ---: |")
    for (name, steps), loop in loops.items():
        parameters = f"{loop.generator.count_params():,} and {loop.discriminator.count_params():,}"
        step = seconds[name, steps] / 16
        print(f"| {name} | {parameters} | {step:.3f} | {steps:,} | {step * steps / 60:.1f} |")


def main(*, processor_time: bool = False) -> None:
    """Measures and prints.

    Args:
      processor_time: count seconds of all cores together instead of the clock's: about twice as
        many on two cores, and the same shares also where the machine does other work.
    """
    tf.config.experimental.enable_op_determinism()  # as `train` does
    random = np.random.default_rng(0)
    images = random.uniform(-1, 1, [5000, 28, 28, 1]).astype(np.float32)
    config = make_config(**preset("standard"))
    loop = GanLoop(images, random.integers(0, 10, 5000), config, 10, 0)
    steps = 16  # a whole round of gradient penalties
    rest = rest_of(loop)
    works = [(work, which) for work in works_of(loop) for which in work.passes]
    kernels = {
        (work.name, which, dtype.name): repeated(*work.kernel(which, dtype))
        for work, which in works
        for dtype in DTYPES
    }
    seconds = fastest(
        {
            "step": lambda: loop.run(tf.constant(steps, tf.int64)),
            **{name: function for name, (function, _) in rest.items()},
            **kernels,
        },
        time.process_time if processor_time else time.perf_counter,
    )
    step = seconds["step"] / steps

    print("| kernels | M MAC | float32, ms | bfloat16, ms | GFLOP/s of the faster |")
    print("| --- | ---: | ---: | ---: | ---: |")
    ceiling = dict.fromkeys([*(dtype.name for dtype in DTYPES), "best"], 0.0)
    for work, which in works:
        spent = {d.name: seconds[work.name, which, d.name] / CALLS for d in DTYPES}
        best = min(spent.values())
        for name, value in (spent | {"best": best}).items():
            ceiling[name] += value
        cells = " | ".join(f"{1e3 * value:.2f}" for value in spent.values())
        print(
            f"| {work.name}, {which} | {work.multiplications / 1e6:,.0f} | {cells} "
            f"| {2e-9 * work.multiplications / best:,.0f} |"
        )

    rows = {"convolutions and dense layers alone, in the faster type": ceiling["best"]}
    rows |= {name: seconds[name] / serves for name, (_, serves) in rest.items()}
    rows["the rest: normalisations, activations, losses, casts, waiting"] = step - sum(
        rows.values()
    )
    rows["**a full step**"] = step
    print(f"\n| a step of {config.batch_size} images | ms | share |\n| --- | ---: | ---: |")
    for name, value in rows.items():
        print(f"| {name} | {1e3 * value:.2f} | {value / step:.0%} |")
    unit = "images a second of one core" if processor_time else "images/s"
    print(
        f"\nFull steps: {config.batch_size / step:,.0f} {unit}, {ceiling['best'] / step:.0%} of "
        f"the ceiling of {config.batch_size / ceiling['best']:,.0f} "
        f"({1e3 * ceiling['float32']:.1f} ms a step if all were float32, "
        f"{1e3 * ceiling['bfloat16']:.1f} ms if all were bfloat16; precision of training: "
        f"{resolve_precision(config.precision)})."
    )


if __name__ == "__main__":
    main()

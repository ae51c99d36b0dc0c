"""How good the averaged generator is while it trains, on the eval split; the test split stays shut.

A quick look, not the judgement: fewer images than the Evaluator draws, so its FID is higher and
compares with nothing but itself.
"""

from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

from common.images import to_uint8
from metrics.features import NetworkExtractor
from metrics.frechet import frechet_distance_from_features
from metrics.relative import real_folds, relative_fid
from trainer.latents import draw_latents
from trainer.models import Architecture
from trainer.training_config import TrainingConfig

Generate = Callable[[np.ndarray, np.ndarray], np.ndarray]
FEWEST_FOR_FOLDS = 1000  # eval images; folds of fewer tell little of how far real images are apart


def make_evaluation(
    images: np.ndarray,
    labels: np.ndarray,
    dataset: str,
    extractor: NetworkExtractor,
    config: TrainingConfig,
    architecture: Architecture,
    seed: int,
) -> Callable[[Generate], Mapping[str, float]]:
    """Makes the function that `train` calls each `eval_interval` steps.

    Args:
      images: float32 [N, H, W, C] in [-1, 1], the eval split.
      labels: int64 [N]; the fakes get the same classes.
      dataset: name of the data set.
      extractor: of the features; a classifier judges labels of its own data set only.
      config: says how many fakes are drawn (at most N) and how long their latents are.
      architecture: says where latents come from, and whether labels are an input.
      seed: of the latents, the same at every call.

    Returns:
      From `generate(latents, labels) -> float32 [n, H, W, C] in [-1, 1]` to `fid_<count>_eval`;
      with FEWEST_FOR_FOLDS eval images or more `relative_fid_<count>_eval`, and the ends of its
      interval, `..._low` and `..._high`; where the classifier knows the classes and the generator
      obeys the label `accuracy_<count>_eval`.
    """
    count = min(config.eval_samples, len(images))
    wanted = np.resize(labels, count)
    latents = draw_latents(
        [count, config.latent_dim], tf.constant([seed, 1]), architecture.latent_distribution
    ).numpy()
    reference = extractor.features(to_uint8(images))
    asked = wanted if architecture.conditional else np.zeros_like(wanted)
    folds = None
    if len(images) >= FEWEST_FOR_FOLDS:
        classes = labels if architecture.conditional else np.zeros_like(labels)
        folds = real_folds(reference, classes, count, np.bincount(asked), seed)

    def evaluate(generate: Generate) -> Mapping[str, float]:
        fakes = np.concatenate(
            [generate(latents[i : i + 500], wanted[i : i + 500]) for i in range(0, count, 500)]
        )
        if extractor.num_classes:
            features, probabilities = extractor.features_and_probabilities(to_uint8(fakes))
        else:
            features, probabilities = extractor.features(to_uint8(fakes)), None
        found = {f"fid_{count}_eval": frechet_distance_from_features(features, reference)}
        if folds:
            relative = relative_fid(features, asked, folds)
            name = f"relative_fid_{count}_eval"
            found[name] = relative.value
            found |= {f"{name}_low": relative.low, f"{name}_high": relative.high}
        judged = architecture.conditional and extractor.dataset == dataset
        if judged and probabilities is not None:
            found[f"accuracy_{count}_eval"] = float(np.mean(probabilities.argmax(1) == wanted))
        return found

    return evaluate

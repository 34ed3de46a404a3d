"""All random numbers of a run: who draws them, and from which stream.

Each purpose has a stream of its own, a `numpy.random.SeedSequence` of a seed, keys that say which draw it
is, and a word that tells purposes with as many keys apart. So a draw depends on its keys alone: not on what
was drawn before, on the number of loader processes, or on a restart.

| purpose | who draws | words of the seed sequence |
|---|---|---|
| `DRAW` | the sampler: which images an epoch trains on, in which order | seed, epoch |
| `SCORING` | the scoring pass: where aggregation=shift moves the images | seed, epoch, 1 |
| `PROBE` | the gradient probe: its batch and its random subsample | seed, epoch, repeat, 2 |
| `TILE_PLACE` | where a training tile lies | seed, epoch, image, copy, 3 |
| `TILE_ORDER` | how the tiles of an epoch's images are mixed | seed, epoch, 4 |
| `IN_BATCH` | the trainer: which images of a batch are trained on | seed, epoch, step, 5 |
| `LABELLING` | active learning: the first images, and what a round draws | seed, round, 6 |
| `ARRIVAL` | which images with a new defect come, and which old ones are kept | seed, part, 7 |
| `AUGMENTATION` | the transforms of an image | seed, epoch, image, copy |
| `DATA_PLAN` | generated data: the contents of a split | data.seed, split |
| `DATA_IMAGE` | generated data: one image | data.seed, split, image, 1 |

A sequence of fewer than four words is the same as one filled up with zeros: `DRAW` of an epoch and
`AUGMENTATION` of its image 0 share a stream. What they draw from it has nothing in common, and to part them
would change every recorded result.

Python's, numpy's and torch's global generators initialise weights and serve other people's code (dropout):
`seed_everything` seeds them, `generator_states` and `restore_generators` carry them over a restart.
"""

from sbp.seeding.generators import generator_states, restore_generators, seed_everything
from sbp.seeding.streams import Purpose, generator, stream

__all__ = [
    "Purpose",
    "generator",
    "generator_states",
    "restore_generators",
    "seed_everything",
    "stream",
]

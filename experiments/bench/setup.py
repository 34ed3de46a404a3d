"""What every measurement starts from: a trainer on the embedded data, built from the ordinary config."""

from hydra import compose, initialize_config_dir

from sbp.build import trainer as build
from sbp.build.data import open_cached
from sbp.config import Config, register_schemas, validated
from sbp.config.paths import conf_dir, output_root, register_resolvers
from sbp.engine.trainer import Trainer
from sbp.seeding import seed_everything
from sbp.utils.progress import Progress

IMAGES = 512


def config_with(*overrides: str, images: int = IMAGES) -> Config:
    """The default config at cpu scale, with few images, no end in sight and a constant learning rate."""
    register_schemas()
    register_resolvers()
    common = [
        f"scale.train_images={images}",
        "scale.batch_size=16",
        "scale.val_images=8",
        "scale.test_images=8",
        "budget.compute=null",
        "budget.epochs=100000",
        "scheduler=constant",
        f"run_dir={output_root()}/bench",
    ]
    with initialize_config_dir(conf_dir(), version_base="1.3"):
        return validated(compose("config", overrides=[*common, *overrides]))


def trainer_with(*overrides: str, images: int = IMAGES) -> Trainer:
    """A trainer that never evaluates, ready for its first epoch."""
    return trainer_of(config_with("evaluation.every=1000000", *overrides, images=images))


def trainer_of(config: Config) -> Trainer:
    """The config's trainer."""
    seed_everything(config.seed)
    model = build.build_model(config, len(config.data.defects))
    return build.build_trainer(config, model, open_cached(config), Progress())

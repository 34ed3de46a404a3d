"""From the typed config to ready objects: data set, model, sampler, trainer."""

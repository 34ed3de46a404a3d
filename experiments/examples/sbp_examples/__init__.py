"""Examples of options for sbp; importing this module registers them."""

from sbp_examples import aggregation, layout, loss, model, optimizer, policy, source, staleness

__all__ = ["aggregation", "layout", "loss", "model", "optimizer", "policy", "source", "staleness"]

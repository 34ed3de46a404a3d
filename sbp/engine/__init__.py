"""Training, the scoring pass and evaluation, on objects handed in; nothing here knows the config."""

"""Which image is in which split: grouped, stratified, kept in a file."""

"""Images and annotations in files: listed, decoded, resized, split, known by their bytes."""

"""Files of networks: tensors without pickles, checkpoints, and exported graphs."""

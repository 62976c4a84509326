"""Other projects' checkpoints and configs, translated before anything is built."""

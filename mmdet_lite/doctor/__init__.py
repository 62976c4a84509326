"""What is wrong with a data set, found before training; no module here imports torch by itself."""

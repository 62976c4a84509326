"""Data sets, transforms, samplers and loaders.

Nothing is imported here: what reads files alone, such as ``image_io``, works without torch.
"""

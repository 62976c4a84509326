"""Everything with weights, and what decides its targets.

Nothing is imported here: anchors, for example, work without torchvision, whose import takes as long
as torch's.
"""

"""Why each kind of finding matters: what training makes of it."""

EXPLANATIONS = {
    "file_missing": "Training stops at it.",
    "labels_invalid": "Training stops as it reads them, and nothing else of the data set is looked "
    "at here.",
    "label_numbering_suspected": "Every object then has the name of the class after its own, and "
    "the first class is never learnt.",
    "no_images": "A training learns nothing, and a validation tells nothing.",
    "json_invalid": "Nothing of the file can be used.",
    "wrong_type": "The record cannot be used; training stops as it loads the file.",
    "missing_key": "The record cannot be used; training stops as it loads the file.",
    "not_finite": "The loss of such a box is not a number, and neither are the weights after it.",
    "duplicate_id": "Which record an id means is left to chance, and evaluation mixes them up.",
    "unknown_image": "The annotation belongs nowhere; the file may be cut or wrongly merged.",
    "unknown_category": "The class is not known; the file may be cut or wrongly merged.",
    "image_missing": "Training stops as it loads the file.",
    "image_unlisted": "The picture is not used. One without objects is of use as background, if "
    "it is listed.",
    "size_mismatch": "Boxes and masks are made for a picture of another size, so they are in the "
    "wrong place. Training stops at the picture.",
    "exif_rotated": "Cameras store a picture lying and a tag that says how to turn it. The tag is "
    "applied here; a tool that ignored it left boxes for the lying picture.",
    "box_degenerate": "There is nothing to learn from it. As a rule it was drawn by a slip.",
    "box_outside": "The box is clipped to the picture. A whole set of them hints at another format "
    "or another size.",
    "box_xyxy_suspected": "Read as [x, y, width, height], boxes of corners are far too large.",
    "box_center_suspected": "Read as [x, y, width, height], boxes that begin with their centre lie "
    "half their size too far to the right and the bottom.",
    "box_normalized_suspected": "Read as pixels, shares of the image's size are boxes of less than "
    "a pixel.",
    "area_mismatch": "Evaluation sorts objects into small, medium and large by 'area'; training "
    "does not use it.",
    "polygon_too_short": "It encloses nothing, so the mask is empty.",
    "polygon_odd": "A coordinate is missing, and all after it are exchanged.",
    "polygon_outside": "The part outside the picture is cut off.",
    "polygon_self_touching": "What is inside such a polygon depends on who fills it.",
    "rle_invalid": "The mask cannot be decoded.",
    "mask_box_disagree": "Box and mask teach different things. As a rule one of them was moved.",
    "crowd_polygon": "COCO's tools expect run lengths of a crowd, and fail or skip it.",
    "annotation_duplicate": "One object counts twice: in the loss, and in evaluation, where the "
    "second cannot be found and counts as missed.",
    "file_name_duplicate": "The picture is seen twice, each time with a part of its objects, and "
    "the others are learnt as background. A split by ids puts it into training and validation.",
    "category_ids_sparse": "It is fine here, labels are counted from 0. Scripts that take the id "
    "for the label go wrong.",
    "category_name_duplicate": "Two labels of one name: the model is torn between them.",
    "class_unused": "The model learns to never predict it, and its AP is not defined.",
    "split_leak": "What was learnt by heart counts as found: the evaluation is better than the "
    "model.",
    "image_corrupt": "Training stops at it; or, where the decoder goes on, learns from a garbled "
    "picture.",
    "image_unusual": "It is read. What is said here is what training sees of it.",
}

"""Annotation files that are wrong in one way each, with what is to be found in them.

Two sound files are the beginning: one with polygons and a crowd, and one of ``ShapesDataset`` with
compressed run lengths. Kinds that are about image files are in ``image_corpus.py``.
"""

from __future__ import annotations

import copy
import functools
import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mmdet_lite.data.shapes_dataset import ShapesDataset

NAN, INF = float("nan"), float("inf")

Content = dict[str, Any]


@dataclass(frozen=True)
class Variant:
    """An annotation file that is wrong in one way.

    Args:
        name: of the variant.
        kind, id: of the finding.
        severity: of the finding.
        base: 'polygons' or 'shapes', whose images go with it.
        text: of the file.
        also: kinds that follow from the defect.
    """

    name: str
    kind: str
    id: int | str | None
    severity: str
    base: str
    text: bytes
    also: frozenset[str] = field(default_factory=frozenset)


def all_variants() -> list[Variant]:
    """Every variant; names are unique."""
    makers = (
        *(_json_invalid, _wrong_top, _wrong_fields, _wrong_masks, _missing_keys, _not_finite),
        *(_ids, _unknown, _degenerate, _outside, _formats, _areas, _polygons, _run_lengths),
        *(_disagreeing, _crowds, _categories, _duplicates),
    )
    return [variant for maker in makers for variant in maker()]


@functools.cache
def _sound(name: str) -> str:
    make = {"polygons": _polygon_content, "shapes": _shapes().coco_dict}[name]
    return json.dumps(make())


def sound(name: str) -> Content:
    """A sound file: 'polygons' or 'shapes'."""
    return json.loads(_sound(name))


def write_images(folder: Path) -> None:
    """The images of both, in folders of their names."""
    for name in ("polygons", "shapes"):
        (folder / name).mkdir(parents=True)
        for image in sound(name)["images"]:
            pixels = np.full((image["height"], image["width"], 3), 90, np.uint8)
            cv2.imwrite(str(folder / name / image["file_name"]), pixels)


def _shapes() -> ShapesDataset:
    return ShapesDataset(num_images=8, image_size=(64, 64), data_seed=3)


def _polygon_content() -> Content:
    """Three images, twelve objects of one or two polygons each, a crowd."""
    images = [(3, 96, 128), (8, 128, 96), (5, 80, 80)]
    annotations = []
    for image_id, height, width in images:
        for i, (x, y) in enumerate(((0.1, 0.1), (0.5, 0.2), (0.6, 0.6), (0.2, 0.65))):
            key = 100 * image_id + i
            corner = np.array([x * width, y * height]).round(2)
            annotations.append(_object(key, image_id, 1 + i % 3, corner, 25.5, i == 3))
    counts = [0, 20] + [60, 20] * 79 + [60]
    crowd = {"size": [80, 80], "counts": counts}
    annotations.append(
        {"id": 999, "image_id": 5, "category_id": 2, "bbox": [0, 0, 80, 20], "area": 1600}
        | {"iscrowd": 1, "segmentation": crowd}
    )
    return {
        "images": [
            {"id": key, "file_name": f"{key:03d}.png", "height": height, "width": width}
            for key, height, width in images
        ],
        "annotations": annotations,
        "categories": [{"id": i + 1, "name": n} for i, n in enumerate(("rose", "tulip", "daisy"))],
    }


def _object(
    key: int, image_id: int, category_id: int, corner: np.ndarray, side: float, is_split: bool
) -> dict:
    """A rectangle with one corner cut off; or two halves with a gap between them."""
    (x, y), s = corner.tolist(), side
    polygons = [[x, y, x + s, y, x + s, y + s - 4, x + s - 4, y + s, x, y + s]]
    area = s * s - 8
    if is_split:
        h = s / 2 - 1
        polygons = [[left, y, left + h, y, left + h, y + s, left, y + s] for left in (x, x + s - h)]
        area = 2 * h * s
    return {
        "id": key,
        "image_id": image_id,
        "category_id": category_id,
        "bbox": [x, y, s, s],
        "area": area,
        "iscrowd": 0,
        "segmentation": polygons,
    }


def _json_invalid() -> Iterator[Variant]:
    text = _sound("polygons").encode()
    cases = {
        **{f"cut at {share:g}": text[: int(len(text) * share)] for share in (0.1, 0.3, 0.6, 0.9)},
        "without its last character": text[:-1],
        "cut in a name": text[: text.index(b".png")],
        "cut in a key": text[: text.index(b"_name")],
        "empty": b"",
        "spaces": b" \n \n",
        "zeros": b"\0" * 4096,
        "an image": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(range(256)),
        "compressed": gzip.compress(text),
        "a page": b"<!DOCTYPE html><html><body>404</body></html>",
        "a comma too many": text.replace(b"}]", b"},]", 1),
        "a comma missing": text.replace(b"}, {", b"} {", 1),
        "Python's quotes": text.replace(b'"', b"'"),
        "a comment": b"// mine\n" + text,
        "two files in one": text + b"\n" + text,
        "a line a record": b'{"id": 1}\n{"id": 2}\n',
        "nested": b"[" * 100_000,
        "a number of 5000 digits": text.replace(b'"id": 3,', b'"id": ' + b"3" * 5000 + b",", 1),
        "of another encoding": text.replace(b"rose", "ros\u00e9".encode("latin-1")),
    }
    for name, content in cases.items():
        yield Variant(f"json_invalid: {name}", "json_invalid", None, "error", "polygons", content)


def _wrong_top() -> Iterator[Variant]:
    for value in ([], [sound("polygons")], "text", 5, None, True):
        name = f"wrong_type: top level {json.dumps(value)[:20]}"
        text = json.dumps(value).encode()
        yield Variant(name, "wrong_type", None, "error", "polygons", text)
    for section in ("images", "annotations", "categories"):
        for value in ({}, None, "text", 3):
            change = functools.partial(_put, section=section, value=value)
            yield _variant(f"{section} is {value!r}", "wrong_type", None, change)
        for value in (None, 5, ["id", 1], "text"):
            change = functools.partial(_append, section=section, value=value)
            yield _variant(f"{section} holds {value!r}", "wrong_type", None, change)


def _wrong_fields() -> Iterator[Variant]:
    for key, found in (("7", "7"), (1.0, None), (True, None), (None, None), ([1], None)):
        yield _field(1, "id", key, "wrong_type", found)
    yield _field(1, "id", 2**70, "wrong_type", 2**70)
    values: dict[str, list] = {
        "image_id": ["3", 3.0, None, True, [3], {}, 2**64],
        "category_id": ["1", 1.0, None, True, "rose"],
        "bbox": [
            *("1 2 3 4", None, 5, {}, [], [1, 2, 3], [1, 2, 3, 4, 5], ["1", "2", "3", "4"]),
            *([[1, 2, 3, 4]], [1, 2, None, 4], [1, 2, True, 4], [[1, 2], [3, 4]]),
            {"x": 1, "y": 2, "width": 3, "height": 4},
        ],
        "area": ["12", [], {}, True],
        "iscrowd": ["0", 2, -1, None, 0.0, []],
    }
    for name, wrong in values.items():
        for value in wrong:
            yield _field(1, name, value, "wrong_type")
    values = {
        "file_name": [None, 5, "", "a\0b.png", "\ud800.png", ["003.png"]],
        "height": ["96", 96.0, None, True, 0, -96, 10**9, 2**70, NAN],
        "width": ["128", 128.0, 0, -1, [128]],
    }
    for name, wrong in values.items():
        for value in wrong:
            yield _field(0, name, value, "wrong_type", section="images")
    yield _field(0, "id", "3", "wrong_type", "3", section="images", also={"unknown_image"})
    yield _field(0, "id", 3.0, "wrong_type", None, section="images", also={"unknown_image"})
    also = _FEWER | {"unknown_category"}
    yield _field(0, "id", "1", "wrong_type", "1", section="categories", also=also)
    yield _field(0, "id", 1.0, "wrong_type", None, section="categories", also=also)
    for value in (None, 5, "", ["rose"]):
        yield _field(0, "name", value, "wrong_type", section="categories", also=_FEWER)


def _wrong_masks() -> Iterator[Variant]:
    flat = [1, 2, 30, 2, 30, 40]
    for value in (
        *("polygon", 5, True, flat, [flat, 5], [None], [{"x": 1}], [[str(v) for v in flat]]),
        *([[1, 2, None, 2, 30, 40]], [[[1, 2], [30, 2], [30, 40]]], [[1, 2, True, 2, 30, 40]]),
    ):
        yield _field(1, "segmentation", value, "wrong_type")


def _missing_keys() -> Iterator[Variant]:
    for section in ("images", "annotations", "categories"):
        change = functools.partial(_drop, name=section)
        yield _variant(f"no {section}", "missing_key", None, change)
    yield _variant("empty dict", "missing_key", None, lambda content: content.clear())
    for section, names in {
        "annotations": ("id", "image_id", "category_id", "bbox", "segmentation"),
        "images": ("id", "file_name", "height", "width"),
        "categories": ("id", "name"),
    }.items():
        for name in names:
            for row in (0, 2):
                key = None if name == "id" else sound("polygons")[section][row]["id"]

                def change(content: Content, section=section, row=row, name=name) -> None:
                    del content[section][row][name]

                also = _FEWER | {"unknown_image", "unknown_category"}
                yield _variant(f"{section}[{row}] no {name}", "missing_key", key, change, also=also)
    yield _field(1, "segmentation", [], "missing_key")
    yield _field(1, "segmentation", None, "missing_key")


def _not_finite() -> Iterator[Variant]:
    for place in range(4):
        for value in (NAN, INF, -INF):
            box = [10.0, 10.0, 20.0, 20.0]
            box[place] = value
            yield _field(1, "bbox", box, "not_finite")
    yield _field(1, "bbox", [1, 2, 3, 10**400], "not_finite")
    for value in (NAN, INF, 10**400):
        yield _field(1, "area", value, "not_finite")
        for place in (0, 5):
            polygon = [1, 2, 30, 2, 30, 40.5]
            polygon[place] = value
            yield _field(1, "segmentation", [polygon], "not_finite", name=f"{place} {value!r:.5}")


def _ids() -> Iterator[Variant]:
    for section, row in (("images", 0), ("annotations", 1), ("annotations", 4), ("categories", 0)):
        key = sound("polygons")[section][row]["id"]
        for name, fields in (("the same", {}), ("another", _OTHERS[section])):

            def change(content: Content, section=section, row=row, fields=fields) -> None:
                content[section].append(content[section][row] | fields)

            also = {"category_name_duplicate"} if section == "categories" else set()
            also |= {"file_name_duplicate"} if section == "images" and fields else set()
            name = f"{section}[{row}] {name} twice"
            yield _variant(name, "duplicate_id", key, change, also=frozenset(also | _FEWER))
    for first, second in ((0, 1), (2, 9)):
        keys = [sound("polygons")["annotations"][row]["id"] for row in (first, second)]
        yield _field(second, "id", keys[0], "duplicate_id", keys[0])


def _unknown() -> Iterator[Variant]:
    for kind, name in (("unknown_image", "image_id"), ("unknown_category", "category_id")):
        for row in (1, 12):
            for value in (0, -1, 77, 2**62):
                yield _field(row, name, value, kind)


def _degenerate() -> Iterator[Variant]:
    for base, row in (("polygons", 1), ("polygons", 9), ("shapes", 0)):
        x, y = sound(base)["annotations"][row]["bbox"][:2]
        for size in ((0, 9), (9, 0), (0, 0), (0.0, 5.5), (1e-9, 9)):
            box = [x, y, *size]
            yield _field(row, "bbox", box, "box_degenerate", severity="warning", base=base)
        for size in ((-5, 9), (9, -5), (-5, -5), (0, -1)):
            yield _field(row, "bbox", [x, y, *size], "box_degenerate", base=base)


def _outside() -> Iterator[Variant]:
    also = {"mask_box_disagree", "area_mismatch"}
    for base, row, (width, height) in (("polygons", 1, (128, 96)), ("shapes", 0, (64, 64))):
        for box in (
            *([width, 5, 20, 20], [5, height + 9, 20, 20], [-20, 5, 20, 20], [5, -50, 20, 20]),
            [5 * width, 5 * height, 9, 9],
        ):
            yield _field(row, "bbox", box, "box_outside", base=base)
        for box in (
            *([width - 10, 5, 15, 20], [5, height - 10, 20, 15], [-5, 5, 20, 20]),
            *([5, -5.5, 20, 20], [-9, -9, width + 18, height + 18], [0, 0, width + 2, height]),
        ):
            options = {"severity": "warning", "base": base, "also": also}
            yield _field(row, "bbox", box, "box_outside", **options)


def _formats() -> Iterator[Variant]:
    def as_xyxy(box: list, _: dict) -> list:
        return [box[0], box[1], box[0] + box[2], box[1] + box[3]]

    def rounded(box: list, image: dict) -> list:
        return [round(value) for value in as_xyxy(box, image)]

    def shares(box: list, image: dict) -> list:
        sizes = (image["width"], image["height"]) * 2
        return [value / size for value, size in zip(box, sizes, strict=True)]

    def corners(box: list, image: dict) -> list:
        return as_xyxy(shares(box, image), image)

    def centers(box: list, image: dict) -> list:
        x, y, w, h = shares(box, image)
        return [x + w / 2, y + h / 2, w, h]

    def digits(box: list, image: dict) -> list:
        return [round(value, 2) for value in shares(box, image)]

    def pixel_centers(box: list, _: dict) -> list:
        x, y, w, h = box
        return [x + w / 2, y + h / 2, w, h]

    def whole_centers(box: list, image: dict) -> list:
        return [round(value) for value in pixel_centers(box, image)]

    for kind, readings in {
        "box_xyxy_suspected": (as_xyxy, rounded),
        "box_center_suspected": (pixel_centers, whole_centers),
        "box_normalized_suspected": (shares, corners, centers, digits),
    }.items():
        for base in ("polygons", "shapes"):
            for read in readings:

                def change(content: Content, read=read) -> None:
                    images = {image["id"]: image for image in content["images"]}
                    for annotation in content["annotations"]:
                        image = images[annotation["image_id"]]
                        annotation["bbox"] = read(annotation["bbox"], image)

                yield _variant(f"{base} {read.__name__}", kind, None, change, base=base)

    def centers_alone(content: Content) -> None:
        for annotation in content["annotations"]:
            annotation["bbox"] = pixel_centers(annotation["bbox"], {})
            del annotation["segmentation"]

    kind = "box_center_suspected"
    yield _variant("no masks, centers_alone", kind, None, centers_alone, base="shapes")


def _areas() -> Iterator[Variant]:
    for base, row in (("polygons", 1), ("shapes", 0)):
        area = sound(base)["annotations"][row]["area"]
        for value in (0, -5, area * 10, area + 3000, 1e-3):
            options = {"severity": "warning", "base": base}
            yield _field(row, "area", value, "area_mismatch", **options)
        yield _field(row, "area", None, "area_mismatch", severity="note", base=base)


def _polygons() -> Iterator[Variant]:
    sound_part = sound("polygons")["annotations"][1]["segmentation"][0]
    x, y = sound_part[:2]
    for row in (1, 4):
        for part in ([], [x, y], [x, y, x + 9, y]):
            for others in ([], [sound_part]):
                also = {"mask_box_disagree", "area_mismatch"}
                value = [part, *others]
                options = {"severity": "warning", "also": also}
                yield _field(row, "segmentation", value, "polygon_too_short", **options)
        for value in ([sound_part[:-1]], [sound_part, [1, 2, 3]], [[5] * 7], [[5]]):
            yield _field(row, "segmentation", value, "polygon_odd")
    also = {"mask_box_disagree", "area_mismatch", "polygon_self_touching"}
    for place, value in ((0, -20), (1, -3.5), (2, 200), (9, 300), (4, 900)):
        part = [*sound_part]
        part[place] = value
        options = {"severity": "warning", "also": also}
        yield _field(1, "segmentation", [part], "polygon_outside", **options)
    for place, value in ((4, 1e6), (1, -1e9), (0, 1e12), (5, 1e300), (2, 2000)):
        part = [*sound_part]
        part[place] = value
        yield _field(1, "segmentation", [part], "polygon_outside", also=also)
    s = 25.5
    also = {"area_mismatch", "polygon_outside"}
    bow = [x, y, x + s, y + s, x + s, y, x, y + s]
    star = [x, y + s, x + s / 2, y, x + s, y + s, x, y + 8, x + s, y + 8]
    pinched = [x, y, x + s / 2, y + s / 2, x + s, y, x + s, y + s, x + s / 2, y + s / 2, x, y + s]
    on_edge = [x, y, x + s, y, x + s, y + s, x + 9, y, x, y + s]
    for shape, severity in ((bow, "warning"), (star, "warning"), (pinched, "note")):
        options = {"severity": severity, "also": also}
        yield _field(1, "segmentation", [shape], "polygon_self_touching", **options)
    options = {"severity": "note", "also": also}
    yield _field(1, "segmentation", [on_edge], "polygon_self_touching", **options)


def _run_lengths() -> Iterator[Variant]:
    rle = sound("shapes")["annotations"][0]["segmentation"]
    text, size = rle["counts"], rle["size"]
    cases = (
        *("", "!!!", "~~~~", "caf\u00e9", "\ud800", "o", text + "o", text[:-1], text[:5]),
        *(text + text, text + "1", "0", "P" * 40, "o" * 40, "`" * 9, "\0\0", " " + text),
        *(None, 5, {}, True, [], [4095], [4097], [-1, 4097], [4096.0], ["4096"], [[4096]]),
        *([True] * 4096, [2**40], [2**70, 1]),
    )
    for number, counts in enumerate(cases):
        value = {"size": size, "counts": counts}
        name = f"counts {number}: {json.dumps(counts)[:24]}"
        yield _field(0, "segmentation", value, "rle_invalid", base="shapes", name=name)
    for wrong in ([64, 63], [128, 32], [64], None, 64, "64x64", [64, 64, 1], [[64, 64]], [0, 0]):
        value = {"size": wrong, "counts": text}
        yield _field(0, "segmentation", value, "rle_invalid", base="shapes")
    for value in ({"size": size}, {"counts": text}, {"size": [80, 80], "counts": [6399]}):
        yield _field(0, "segmentation", value, "rle_invalid", base="shapes")
    yield _field(12, "segmentation", {"size": [80, 80], "counts": [6399]}, "rle_invalid")


def _disagreeing() -> Iterator[Variant]:
    for base, row in (("polygons", 0), ("polygons", 4), ("shapes", 0), ("shapes", 2)):
        x, y, w, h = sound(base)["annotations"][row]["bbox"]
        options = {"severity": "warning", "base": base, "also": {"area_mismatch", "box_outside"}}
        for box in ([x + 15, y, w, h], [x, y, w / 2, h / 2], [0, 0, 60, 60]):
            yield _field(row, "bbox", box, "mask_box_disagree", **options)
    empty = {"size": [64, 64], "counts": [4096]}
    yield _field(0, "segmentation", empty, "mask_box_disagree", **options)


def _crowds() -> Iterator[Variant]:
    for row in (0, 3, 7):
        yield _field(row, "iscrowd", 1, "crowd_polygon", severity="warning")
    yield _field(1, "iscrowd", True, "crowd_polygon", severity="warning")


def _categories() -> Iterator[Variant]:
    def renumber(content: Content, ids: list[int]) -> None:
        for record, key in zip(content["categories"], ids, strict=True):
            for annotation in content["annotations"]:
                if annotation["category_id"] == record["id"]:
                    annotation["category_id"] = -1000 - key
            record["id"] = key
        for annotation in content["annotations"]:
            annotation["category_id"] = -1000 - annotation["category_id"]

    for ids in ([0, 1, 2], [1, 2, 4], [5, 6, 7], [-1, 0, 1], [10, 20, 30]):
        change = functools.partial(renumber, ids=ids)
        yield _variant(f"ids {ids}", "category_ids_sparse", None, change, severity="note")
    for row, name in ((1, "rose"), (2, "tulip"), (2, "rose")):
        yield _field(row, "name", name, "category_name_duplicate", section="categories")
    for key, name in ((4, "iris"), (4, "Rose")):
        change = functools.partial(_append, section="categories", value={"id": key, "name": name})
        yield _variant(f"{name} without objects", "class_unused", key, change, severity="note")

    def all_of_one(content: Content) -> None:
        for annotation in content["annotations"]:
            annotation["category_id"] = 1

    yield _variant("all of one class", "class_unused", 3, all_of_one, severity="note")


def _duplicates() -> Iterator[Variant]:
    for base, row in (("polygons", 1), ("polygons", 12), ("shapes", 0), ("shapes", 5)):
        x, y, w, h = sound(base)["annotations"][row]["bbox"]
        for fields in ({}, {"bbox": [x, y, w - 0.4, h - 0.3]}, {"bbox": [x + 0.5, y, w, h]}):

            def change(content: Content, row=row, fields=fields) -> None:
                content["annotations"].append(content["annotations"][row] | {"id": 5000} | fields)

            name = f"{base} annotations[{row}] with {fields or 'nothing else'}"
            options = {"severity": "warning", "base": base}
            yield _variant(name, "annotation_duplicate", 5000, change, **options)
    names = (("003.png", 3, 8), ("./008.png", 8, 5), (".//005.png", 5, 3))
    for number, (name, _, key) in enumerate(names):

        def rename(content: Content, name=name, key=key) -> None:
            image = next(image for image in content["images"] if image["id"] == key)
            content["images"].remove(image)
            content["images"].append(image | {"file_name": name})

        name = f"{name} is listed twice, {number}"
        yield _variant(name, "file_name_duplicate", key, rename, severity="warning")


_FEWER = frozenset({"class_unused", "category_ids_sparse"})
_OTHERS = {
    "images": {"file_name": "005.png"},
    "annotations": {"category_id": 3},
    "categories": {"name": "iris"},
}


def _field(
    row: int,
    field_name: str,
    value: Any,
    kind: str,
    key: Any = ...,
    section: str = "annotations",
    severity: str = "error",
    base: str = "polygons",
    also: Any = (),
    name: str = "",
) -> Variant:
    """A variant in which one field of a record has another value."""

    def change(content: Content) -> None:
        content[section][row][field_name] = value

    key = sound(base)[section][row]["id"] if key is ... else key
    name = f"{base} {section}[{row}] {field_name} {name or repr(value)[:60]}"
    return _variant(name, kind, key, change, severity, base, also)


def _variant(
    name: str,
    kind: str,
    key: Any,
    change: Callable[[Content], None],
    severity: str = "error",
    base: str = "polygons",
    also: Any = (),
) -> Variant:
    content = copy.deepcopy(sound(base))
    change(content)
    text = json.dumps(content).encode()
    return Variant(f"{kind}: {name}", kind, key, severity, base, text, frozenset(also))


def _put(content: Content, section: str, value: Any) -> None:
    content[section] = value


def _append(content: Content, section: str, value: Any) -> None:
    content[section].append(value)


def _drop(content: Content, name: str) -> None:
    del content[name]

"""Whether an image has the size, and stands the way up, that its annotations are made for."""

from __future__ import annotations

from mmdet_lite.data.findings import Finding
from mmdet_lite.doctor.image_header import ImageHeader

_MIRRORED_OR_TURNED = {
    2: "mirrored left to right",
    3: "turned by 180 degrees",
    4: "mirrored top to bottom",
    5: "mirrored and turned by 90 degrees",
    6: "turned by 90 degrees to the right",
    7: "mirrored and turned by 90 degrees",
    8: "turned by 90 degrees to the left",
}
_TURN = "Turn the pixels and remove the EXIF tag (`exiftran -ai FILE`, `mogrify -auto-orient FILE`)"


def check_size(
    path: str,
    id: int | str,
    listed: tuple[int, int] | None,
    actual: tuple[int, int],
    header: ImageHeader | None,
) -> list[Finding]:
    """Compare the size that is listed with what training reads.

    Args:
        path: of the image file.
        id: of the image.
        listed: (height, width) in the annotation file, or None.
        actual: (height, width) as training reads it.
        header: of the file, if it is known.

    Returns:
        At most one finding.
    """
    orientation = _applied_orientation(header, actual) if header else 1
    if listed is not None and actual != tuple(listed):
        is_swapped = actual == tuple(listed)[::-1]
        if is_swapped and orientation >= 5:
            return [_exchanged(path, id, listed, actual, orientation)]
        return [_mismatch(path, id, listed, actual, is_swapped)]
    if orientation == 1:
        return []
    return [_oriented(path, id, listed, actual, orientation)]


def _applied_orientation(header: ImageHeader, actual: tuple[int, int]) -> int:
    """1 where the size shows that it was not applied: OpenCV 4 does not look for it in WebP."""
    is_turned = header.orientation >= 5 and header.format != "TIFF"  # Pillow turns a TIFF's size
    if is_turned and actual == header.size and actual[0] != actual[1]:
        return 1
    return header.orientation


def _exchanged(
    path: str, id: int | str, listed: tuple[int, int], actual: tuple[int, int], orientation: int
) -> Finding:
    text = (
        f"the annotation file says {_words(listed)}; the EXIF orientation {orientation} "
        f"({_MIRRORED_OR_TURNED[orientation]}) is applied when it is read, which gives "
        f"{_words(actual)}. Training stops at it"
    )
    fix = f"{_TURN} if the boxes fit the picture as it is shown; else remove the tag alone."
    return Finding("error", "exif_rotated", str(path), id, text, fix)


def _mismatch(
    path: str, id: int | str, listed: tuple[int, int], actual: tuple[int, int], is_swapped: bool
) -> Finding:
    text = f"the file is {_words(actual)}, the annotation file says {_words(listed)}"
    fix = "Correct the annotation file, or put the right picture there."
    ratios = [actual[axis] / max(listed[axis], 1) for axis in (0, 1)]
    if is_swapped:
        text += "; height and width are exchanged, and no EXIF tag does it"
        fix = "If the boxes fit the picture, exchange 'height' and 'width' in the annotation file."
    elif abs(ratios[0] / ratios[1] - 1) < 0.01:
        text += f"; it is the same shape at {ratios[0]:.3g} times the size"
        fix = "Put the picture of the original size there, or scale the boxes and masks too."
    return Finding("error", "size_mismatch", str(path), id, text, fix)


def _oriented(
    path: str,
    id: int | str,
    listed: tuple[int, int] | None,
    actual: tuple[int, int],
    orientation: int,
) -> Finding:
    """Orientation that the sizes do not contradict; whether boxes respect it may be open."""
    what = f"EXIF orientation {orientation} ({_MIRRORED_OR_TURNED[orientation]})"
    is_settled = listed is not None and orientation >= 5 and actual[0] != actual[1]
    if is_settled:
        text = f"{what} is applied when it is read; the annotation file has the size after it"
        fix = f"Nothing for training. For programs that ignore EXIF: {_TURN[0].lower()}{_TURN[1:]}."
        return Finding("note", "exif_rotated", str(path), id, text, fix)
    text = f"{what} is applied when it is read; the size does not tell whether the boxes know"
    fix = f"Look at the boxes (`mmdet-lite browse-dataset CONFIG`). {_TURN}."
    return Finding("warning", "exif_rotated", str(path), id, text, fix)


def _words(size: tuple[int, int]) -> str:
    return f"{size[0]} high and {size[1]} wide"

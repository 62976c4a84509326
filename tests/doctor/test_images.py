import faulthandler
import multiprocessing
import os
import signal

import pytest
from image_corpus import PICTURE, encode, write_corpus

from mmdet_lite.doctor import image_file, images
from mmdet_lite.doctor.images import ImageRecord, check_images, find_unlisted

SIZE = (60, 80)

needs_fork = pytest.mark.skipif(
    multiprocessing.get_start_method() != "fork", reason="what is patched is not there in workers"
)


def write(path, content=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode("JPEG") if content is None else content)
    return path


def test_sound_images_have_digests_and_no_findings(tmp_path):
    paths = [write(tmp_path / f"{i}.jpg") for i in range(3)]
    calls = []
    records = [ImageRecord(i, path, SIZE) for i, path in enumerate(paths)]
    report = check_images(records, 2, lambda done, total: calls.append((done, total)))
    assert report.findings == []
    assert list(report.digests) == [str(path) for path in paths]
    assert [digest.id for digest in report.digests.values()] == [0, 1, 2]
    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_findings_do_not_depend_on_the_number_of_processes(tmp_path):
    records = write_corpus(tmp_path)[::4]
    one, three = (check_images(records, num_workers) for num_workers in (1, 3))
    assert one == three and one.findings


def test_no_worker_is_refused():
    with pytest.raises(ValueError, match="num_workers must be at least 1, got 0"):
        check_images([], num_workers=0)


@pytest.mark.parametrize(
    ("present", "listed", "says"),
    [
        ("IMG_1.JPG", "img_1.jpg", "there is 'IMG_1.JPG', which differs in case"),
        ("e\u0301.jpg", "\u00e9.jpg", "how accents are written"),
        ("a.png", "a.jpg", "there is 'a.png'"),
        ("a.jpg/b.jpg", "a.jpg", "it is a folder"),
        ("a.jpg", "train/a.jpg", "there is no folder"),
        ("a.jpg", "b.jpg", "there is no such file"),
    ],
)
def test_missing_image_is_told_with_what_may_be_meant(tmp_path, present, listed, says):
    write(tmp_path / present)
    (finding,) = check_images([ImageRecord(5, str(tmp_path / listed), SIZE)], 1).findings
    assert (finding.severity, finding.kind, finding.id) == ("error", "image_missing", 5)
    assert says in finding.message


def test_pipes_and_dangling_links_are_missing(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")  # opening it would wait for ever
    (tmp_path / "link.jpg").symlink_to(tmp_path / "nowhere.jpg")
    names = ["pipe.jpg", "link.jpg"]
    report = check_images([ImageRecord(n, str(tmp_path / n), SIZE) for n in names], 1)
    assert [f.kind for f in report.findings] == ["image_missing"] * 2


@needs_fork
def test_file_that_crashes_or_stalls_the_decoder_is_corrupt(tmp_path, monkeypatch):
    decode = image_file.decode_image

    def decode_or_die(content, path):
        if path.endswith("crash.jpg"):
            faulthandler.disable()  # pytest's, whose report would stand among its own lines
            os.kill(os.getpid(), signal.SIGSEGV)
        while path.endswith("stall.jpg"):
            pass
        return decode(content, path)

    monkeypatch.setattr(image_file, "decode_image", decode_or_die)
    monkeypatch.setattr(images, "_TIMEOUT_S", 0.5)
    names = ["a.jpg", "crash.jpg", "b.jpg", "stall.jpg", "c.jpg"]
    paths = [str(write(tmp_path / name)) for name in names]
    report = check_images([ImageRecord(p, p, SIZE) for p in paths], 1)
    assert [(f.kind, f.id) for f in report.findings] == [
        ("image_corrupt", paths[1]),
        ("image_corrupt", paths[3]),
    ]
    assert "crashes (signal 11)" in report.findings[0].message
    assert len(report.digests) == 3


def test_what_decoders_print_does_not_reach_the_terminal(tmp_path, capfd):
    jpeg = encode("JPEG")
    path = write(tmp_path / "a.jpg", jpeg[: len(jpeg) // 2] + b"\xff\xd9")
    (finding,) = check_images([ImageRecord(1, str(path), SIZE)], 1).findings
    assert "premature end" in finding.message
    assert capfd.readouterr() == ("", "")


def test_unlisted_images_are_found_in_folders_too(tmp_path):
    for name in (
        "a.jpg",
        "b/c.PNG",
        "b/d.jpg",
        "notes.txt",
        ".hidden.jpg",
        ".git/e.jpg",
        "ü f.jpg",
    ):
        write(tmp_path / name)
    findings = find_unlisted(tmp_path, ["./a.jpg", "b/../b/d.jpg"])
    assert [(f.severity, f.kind) for f in findings] == [("note", "image_unlisted")] * 2
    assert [f.file for f in findings] == [str(tmp_path / "ü f.jpg"), str(tmp_path / "b/c.PNG")]


def test_folder_that_is_not_there_has_no_unlisted_images(tmp_path):
    assert find_unlisted(tmp_path / "nowhere", []) == []


@needs_fork
@pytest.mark.parametrize(
    ("limit", "severity", "says"),
    [(2**30, "warning", "not decoded here"), (2000, "error", "more pixels than OpenCV decodes")],
)
def test_huge_image_is_not_decoded(tmp_path, monkeypatch, limit, severity, says):
    monkeypatch.setattr(image_file, "LARGEST_DECODED", 1000)
    monkeypatch.setattr(image_file, "_MOST_OF_OPENCV", limit)
    path = write(tmp_path / "a.png", encode("PNG", PICTURE))
    report = check_images([ImageRecord(1, str(path), SIZE)], 1)
    assert report.findings[0].severity == severity and says in report.findings[0].message
    assert report.digests == {}

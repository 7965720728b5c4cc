"""Readers find what is laid out on disk as published, without opening a video; mistakes say what to put where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from motion_embedding.benchmark.clips import READERS, in_order
from motion_embedding.errors import InputError


def lay(root: Path, *names: str, **texts: str) -> Path:
    """Files under ``root``: empty ones, and those with a text (``__`` in a name is ``/``)."""
    contents = {**dict.fromkeys(names, ""), **{name.replace("__", "/"): text for name, text in texts.items()}}
    for name, text in contents.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return root


def read(reader: str, path: Path, **options: Any) -> list[Any]:
    return READERS[reader](path, {"reader": reader, "path": str(path), **options})


def refusal(reader: str, path: Path, **options: Any) -> InputError:
    with pytest.raises(InputError) as caught:
        read(reader, path, **options)
    return caught.value


def test_a_folder_of_videos_with_texts_beside_some(tmp_path: Path) -> None:
    lay(tmp_path, "clip10.mp4", "clip2.MOV", "notes.pdf", ".hidden.mp4", "sub/inner.mp4")
    (tmp_path / "clip2.txt").write_text(
        "\ufeffa dog on grass\n\n a cat on sand \na fox in snow\na cat on sand\n", "utf-8"
    )
    second, tenth = read("folder", tmp_path)
    assert (second.name, second.source) == ("clip2", tmp_path / "clip2.MOV")
    assert (second.look, second.prompts) == ("a dog on grass", ("a cat on sand", "a fox in snow"))
    assert (tenth.name, tenth.look, tenth.prompts) == ("clip10", "", ())


def test_an_empty_text_beside_a_video_says_nothing(tmp_path: Path) -> None:
    (clip,) = read("folder", lay(tmp_path, "a.mp4", "a.txt"))
    assert (clip.look, clip.prompts) == ("", ())


def test_a_folder_without_videos_or_not_there(tmp_path: Path) -> None:
    lay(tmp_path, "a.png")
    assert "no video" in refusal("folder", tmp_path).cause
    missing = refusal("folder", tmp_path / "none")
    assert missing.name == "clips.path"
    assert "no folder" in missing.cause
    assert "mp4" in missing.mend


def test_a_text_that_cannot_be_read(tmp_path: Path) -> None:
    lay(tmp_path, "a.mp4")
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe")
    assert "a.txt cannot be read" in refusal("folder", tmp_path).cause


def davis(root: Path) -> Path:
    frames = [f"JPEGImages/480p/{clip}/0000{i}.jpg" for clip in ("dog", "bear", "car-turn") for i in range(2)]
    lay(root, *frames, "JPEGImages/480p/readme.txt", "Annotations/480p/dog/00000.png")
    lay(root, **{"ImageSets__2017__val.txt": "dog\ncar-turn\n"})
    pair = "/JPEGImages/480p/{0}/0000{1}.jpg /Annotations/480p/{0}/0000{1}.png\n"
    lines = "".join(pair.format(clip, index) for clip in ("car-turn", "bear") for index in range(2))
    return lay(root, **{"ImageSets__480p__val.txt": lines, "ImageSets__2017__empty.txt": "\n"})


def test_davis_as_published(tmp_path: Path) -> None:
    clips = {clip.name: clip for clip in read("davis", davis(tmp_path))}
    assert list(clips) == ["bear", "car-turn", "dog"]
    assert clips["dog"].source == tmp_path / "JPEGImages" / "480p" / "dog"
    assert clips["dog"].masks == tmp_path / "Annotations" / "480p" / "dog"
    assert clips["bear"].masks is None
    assert {clip.fps for clip in clips.values()} == {24.0}


@pytest.mark.parametrize(
    ("split", "names"), [("2017/val", ["dog", "car-turn"]), ("480p/val", ["car-turn", "bear"])], ids=["2017", "2016"]
)
def test_davis_splits_of_both_years(tmp_path: Path, split: str, names: list[str]) -> None:
    assert [clip.name for clip in read("davis", davis(tmp_path), split=split, fps=30)] == names


def test_davis_mistakes(tmp_path: Path) -> None:
    root = davis(tmp_path)
    assert "JPEGImages/480p" in refusal("davis", tmp_path / "none").mend
    assert refusal("davis", root, resolution="1080p").name == "clips.path"
    unknown = refusal("davis", root, split="2017/vla")
    assert (unknown.name, unknown.mend) == ("clips.split", "Did you mean '2017/val'?")
    assert refusal("davis", root, split="2017/empty").name == "clips.split"
    assert refusal("davis", root, fps=0).name == "clips.fps"
    assert refusal("davis", root, fps="fast").name == "clips.fps"
    typo = refusal("davis", root, spilt="2017/val")
    assert (typo.name, typo.mend) == ("clips.spilt", "Did you mean 'split'?")
    (root / "ImageSets" / "2017" / "more.txt").write_text("dog\nzebra\n")
    assert "lacks zebra" in refusal("davis", root, split="2017/more").cause
    lay(tmp_path / "bare", "JPEGImages/480p/readme.txt")
    assert "no clip" in refusal("davis", tmp_path / "bare").cause


PROMPTS = " An astronaut is dancing on mars.  \nA robot is dancing on the stage.\n\n An astronaut is dancing on mars.\n"


def mtbench(root: Path) -> Path:
    """As in github.com/Shi-qingyu/DeT: some in folders by difficulty, one not."""
    for group, clip in (("MTBench_hard/", "dance-twirl"), ("MTBench_easy/", "surf"), ("", "dog-agility")):
        folder = f"{group}{clip}"
        lay(root, f"{folder}/videos/{clip}.mp4", f"{folder}/videos/tracker.mp4", f"{folder}/videos/{clip}/0.png")
        lay(root, f"{folder}/masks/{clip}/00000.png", f"{folder}/trajectories/{clip}.pth")
        lay(root, **{f"{folder}/eval_prompts.txt": PROMPTS, f"{folder}/prompts.txt": f"The look of {clip}. "})
        lay(root, **{f"{folder}/videos.txt": f"videos/{clip}.mp4"})
    return root


def test_mtbench_as_published(tmp_path: Path) -> None:
    clips = {clip.name: clip for clip in read("mtbench", mtbench(tmp_path))}
    assert set(clips) == {"dance-twirl", "surf", "dog-agility"}
    dance = clips["dance-twirl"]
    assert dance.source == tmp_path / "MTBench_hard" / "dance-twirl" / "videos" / "dance-twirl.mp4"
    assert dance.look == "The look of dance-twirl."
    assert dance.prompts == ("An astronaut is dancing on mars.", "A robot is dancing on the stage.")
    assert dance.masks == tmp_path / "MTBench_hard" / "dance-twirl" / "masks" / "dance-twirl"
    assert [clips[name].group for name in ("dance-twirl", "surf", "dog-agility")] == ["hard", "easy", ""]


def test_mtbench_without_its_list_of_videos_and_masks(tmp_path: Path) -> None:
    root = lay(tmp_path, "surf/videos/surf.mp4", **{"surf__eval_prompts.txt": "A cat surfs."})
    (clip,) = read("mtbench", root)
    assert (clip.look, clip.masks, clip.source.name) == ("", None, "surf.mp4")


def test_mtbench_mistakes(tmp_path: Path) -> None:
    assert "eval_prompts.txt" in refusal("mtbench", tmp_path / "none").mend
    assert "no eval_prompts.txt" in refusal("mtbench", tmp_path).cause
    lay(tmp_path, **{"surf__eval_prompts.txt": "A cat surfs."})
    assert "no video" in refusal("mtbench", tmp_path).cause


def test_reading_opens_no_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("av.open", None)
    roots = {"folder": lay(tmp_path / "f", "a.mp4"), "davis": davis(tmp_path / "d"), "mtbench": mtbench(tmp_path / "m")}
    assert {reader: len(read(reader, root)) for reader, root in roots.items()} == {
        "folder": 1,
        "davis": 3,
        "mtbench": 3,
    }


def test_files_are_ordered_by_the_numbers_in_their_names() -> None:
    files = [Path(name) for name in ("10.png", "b1.png", "2.png", "a2.png", "a10.png", "02.png")]
    assert [file.name for file in in_order(files)] == ["02.png", "2.png", "10.png", "a2.png", "a10.png", "b1.png"]

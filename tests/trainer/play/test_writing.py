"""What is written for a page: its lines are the song, and it stops when nobody wants it."""

import dataclasses
import itertools
import json
import threading

import pytest

from shards.codec import Codec
from shards.errors import LakhxlError
from tests.trainer.play.shared import small_model
from trainer.generation.generate import generate
from trainer.generation.prompt import Prompt
from trainer.generation.settings import SampleConfig
from trainer.generation.task import Request, Task
from trainer.play import writing
from trainer.play.order import MAX_TOKENS, parse_order
from trainer.play.takes import KEPT, Takes
from trainer.play.writing import Writer, plain


@pytest.fixture(scope="module")
def model():
    return small_model()


@pytest.fixture
def takes(vocabulary):
    return Takes(Codec(vocabulary))


@pytest.fixture
def writer(model, takes):
    return Writer(model, takes)


def order(**values):
    return parse_order(json.dumps(values).encode())


def written(writer, is_gone=lambda: False, **values):
    return map(json.loads, writer.write(order(**values), is_gone))


def put_together(lines):
    """The songs of some lines, as a page puts them together."""
    songs = {}
    for line in lines:
        kept = [
            note for note in songs.get(line["number"], line)["notes"] if note[0] < line["since"]
        ]
        songs[line["number"]] = {**line, "notes": kept + line["notes"]}
    return songs


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("prompted", [False, True])
def test_the_lines_put_together_are_the_songs_of_generate(
    model, takes, writer, twin, seed, prompted
):
    values = {"seed": seed, "bars": 6, "count": 2, "temperature": 2.0}
    codec, prompt = takes._codec, None
    if prompted:
        prompt = Prompt.from_song(twin.songs[0], codec, 2)
        takes.put("a", twin.songs[0])
        values |= {"take": "a", "keep_bars": 2}
    lines = [*written(writer, **values)]
    songs = put_together(lines)
    config = SampleConfig(seed=seed, bars=6, count=2, temperature=2.0, tokens=MAX_TOKENS)
    expected = generate(model.network, codec.vocabulary, config, block_size=8, prompt=prompt)
    for number, song in enumerate(expected):
        whole = plain(codec.decode(song))
        assert songs[number]["notes"] == whole["notes"]
        assert songs[number]["meters"] == whole["meters"]
        assert songs[number]["tempos"] == whole["tempos"]
        assert songs[number]["bars"] == song.bars[-1] + 1
        assert songs[number]["done"]
        assert takes.get(songs[number]["id"]) == song
    assert len(lines) > 4


@pytest.mark.parametrize(
    "asked", [{"infill": "2-3"}, {"infill": "1-2", "parts": "drums"}, {"accompany": "drums,flute"}]
)
def test_the_lines_of_what_is_rewritten_are_the_song_that_trainer_generate_writes(
    model, takes, writer, twin, asked
):
    takes.put("a", twin.songs[2])
    song = put_together(written(writer, take="a", seed=1, temperature=2.0, **asked))[0]
    config = SampleConfig(seed=1, temperature=2.0, tokens=MAX_TOKENS)
    task = Task(model.run, config, Request(prompt=twin.songs[2], **asked))
    (expected,) = task.write(model.network)
    assert song["notes"] == plain(takes._codec.decode(expected))["notes"]
    assert song["notes"] != plain(takes._codec.decode(twin.songs[2]))["notes"]
    assert takes.get(song["id"]) == expected
    assert takes.get("a") == twin.songs[2]  # for undo


def test_a_model_that_was_not_trained_to_rewrite_says_so(model, takes, twin):
    train = dataclasses.replace(model.run.config.train, rearranged=0.0)
    config = dataclasses.replace(model.run.config, train=train)
    plain_model = dataclasses.replace(model, run=dataclasses.replace(model.run, config=config))
    takes.put("a", twin.songs[0])
    [line] = written(Writer(plain_model, takes), take="a", infill="1-2")
    assert "trained without rearranged songs" in line["error"]


def test_nothing_more_is_written_once_the_page_is_gone(writer, monkeypatch):
    steps, real = itertools.count(), Task.steps
    monkeypatch.setattr(Task, "steps", lambda *given: (next(steps) for _ in real(*given)))
    assert [*written(writer, lambda: next(steps) > 40, bars=200)] != []
    assert next(steps) < 50


def test_a_second_order_of_a_page_ends_the_first_and_no_other(writer):
    first, other = (written(writer, page=page, bars=200) for page in "ab")
    next(first), next(other)
    assert len([*written(writer, page="a", bars=1)]) > 0
    assert list(itertools.islice(first, 100)) == []
    assert len(list(itertools.islice(other, 20))) == 20


def test_a_stopped_order_ends_with_the_take_that_is_held(writer, takes):
    lines = written(writer, page="a", bars=200)
    seen = [next(lines), next(lines)]
    writer.stop("b")
    seen.append(next(lines))
    writer.stop("a")
    seen += lines
    assert len(seen) == 3
    held = plain(takes._codec.decode(takes.get(seen[0]["id"])))
    assert put_together(seen)[0]["notes"] == held["notes"]


def test_a_page_that_finds_no_place_is_told_so_and_others_go_on(writer, monkeypatch):
    monkeypatch.setattr(writing, "WAIT_SECONDS", 0.05)
    busy = [written(writer, page=page, bars=200) for page in "abc"]
    for one in busy:
        next(one)
    [refused] = written(writer, page="d", bars=1)
    assert refused == {"error": "3 pages write at the moment: try again soon"}
    busy.pop(0)  # a generator that nobody holds is closed, as by the server
    del one
    assert "error" not in next(written(writer, page="d", bars=1))


def test_pages_that_write_at_once_get_what_each_would_get_alone(model, takes):
    def songs(writer, seed, found):
        found[seed] = put_together(written(writer, page=str(seed), seed=seed, bars=8))[0]["notes"]

    writer, alone, together = Writer(model, takes), {}, {}
    for seed in range(3):
        songs(writer, seed, alone)
    threads = [threading.Thread(target=songs, args=(writer, n, together)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == alone


def test_a_take_that_is_not_held_any_more_is_told(writer, takes, twin):
    for number in range(KEPT + 1):
        takes.put(str(number), twin.songs[0])
    [line] = written(writer, take="0", bars=1)
    assert "no longer held" in line["error"]
    assert "error" not in next(written(writer, take="1", bars=1))


def test_every_take_is_saved_beside_what_is_there_if_asked(model, vocabulary, tmp_path):
    (tmp_path / "take-2.mid").write_text("mine")
    writer = Writer(model, Takes(Codec(vocabulary), tmp_path))
    for seed in range(2):
        assert [*written(writer, seed=seed, bars=3)]
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["take-1.mid", "take-2.mid", "take-3.mid"]
    assert (tmp_path / "take-2.mid").read_text() == "mine"
    assert (tmp_path / "take-1.mid").read_bytes() != (tmp_path / "take-3.mid").read_bytes()


def test_a_folder_that_cannot_be_written_is_refused_at_once(vocabulary, tmp_path):
    with pytest.raises(LakhxlError, match="no such folder"):
        Takes(Codec(vocabulary), tmp_path / "nowhere")

"""Requests to the server of a page: hostile ones get a status of their own fault."""

import io
import json
import socket
import threading
import time
from unittest import mock

import mido
import pytest

from shards.render.audio import AudioError
from shards.web.server import Server
from tests.pipeline.browse.browser import COOKIE, TOKEN
from tests.shards.render.sound import needs_audio
from tests.trainer.play.shared import OWN, SIGNED_IN, get, lines, post, running
from trainer.play.server import _wav_fault

JSON = b"Content-Type: application/json\r\n"
HOST = f"Host: 127.0.0.1\r\nCookie: {COOKIE}={TOKEN}\r\n".encode()
SOUND_FAULT = _wav_fault(None)
"""Why this machine cannot make .wav files; "" if it can."""


@pytest.fixture(scope="module")
def port():
    with running() as port:
        yield port


@pytest.fixture(autouse=True)
def _no_faults():
    with mock.patch.object(Server, "handle_error") as fault:
        yield
    assert fault.call_args_list == []


def status_of(port, request):
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := connection.recv(1 << 16):
            answer += piece
    return int(answer.split()[1]), answer.partition(b"\r\n\r\n")[2]


def request(headers, body=b"{}", address=b"/api/write"):
    return b"POST " + address + b" HTTP/1.1\r\n" + headers + b"\r\n" + body


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        (HOST + JSON, b"{}", 411),
        (HOST + JSON + b"Content-Length: -1\r\n", b"{}", 411),
        (HOST + JSON + b"Content-Length: 2e1\r\n", b"{}", 411),
        (HOST + JSON + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", b"{}", 411),
        (HOST + JSON + b"Content-Length: 99999\r\n", b"{}", 413),
        (HOST + JSON + b"Content-Length: 20\r\n", b"{}", 400),
        (HOST + JSON + b"Content-Length: 2\r\n", b"[]", 400),
        (HOST + JSON + b"Content-Length: 2\r\n", b"\xff\xff", 400),
        (HOST + b"Content-Length: 2\r\n", b"{}", 404),
        (HOST + b"Content-Type: text/plain\r\nContent-Length: 2\r\n", b"{}", 404),
        (HOST.replace(b"127.0.0.1", b"evil.example") + JSON + b"Content-Length: 2\r\n", b"{}", 403),
        (b"Host: 127.0.0.1\r\n" + JSON + b"Content-Length: 2\r\n", b"{}", 403),  # no token
        (HOST + JSON + b"Origin: http://evil.example\r\nContent-Length: 2\r\n", b"{}", 403),
        (HOST + JSON + b"Origin: null\r\nContent-Length: 2\r\n", b"{}", 403),
        (HOST + JSON + b"Origin: https://127.0.0.1\r\nContent-Length: 2\r\n", b"{}", 403),
        (HOST + JSON + b"Origin: http://127.0.0.1:1\r\nContent-Length: 2\r\n", b"{}", 403),
        (HOST + JSON + b"Sec-Fetch-Site: cross-site\r\nContent-Length: 2\r\n", b"{}", 403),
        (HOST + JSON + b"Sec-Fetch-Site: same-site\r\nContent-Length: 2\r\n", b"{}", 403),
    ],
)
def test_a_request_that_no_page_of_ours_sends_is_refused(port, headers, body, status):
    found, content = status_of(port, request(headers, body))
    assert found == status
    assert 0 < len(content.splitlines()[0]) < 300


@pytest.mark.parametrize("host", ["127.0.0.1:{}", "localhost:9000", "[::1]:80"])
def test_the_page_itself_may_write_through_a_tunnel_too(port, host):
    name = host.format(port)
    headers = {"Host": name, "Origin": f"http://{name}", "Sec-Fetch-Site": "same-origin"}
    status, content = post(port, "/api/write", b'{"bars": 1}', OWN | headers)
    assert status == 200
    assert json.loads(content.splitlines()[0])["bars"] == 1


@pytest.mark.parametrize(
    "address",
    ["/api/take/0.mid", "/api/take/" + "0" * 16 + ".mid", "/api/take/../about", "/static/page.html",
     "/%2e%2e/setup.cfg", "/vendor/README.md", "/api/write", "/api/take/" + "g" * 16 + ".wav"],
)  # fmt: skip
def test_what_is_not_on_the_list_is_not_there(port, address):
    assert get(port, address)[0] == 404


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_other_methods_are_not_known(port, method):
    assert status_of(port, f"{method} /api/write HTTP/1.1\r\n".encode() + HOST + b"\r\n")[0] == 405


def test_what_the_page_needs_is_served_by_itself(port):
    page = get(port, "/")[1].decode()
    for name in ("base.css", "play.css", "play.js", "tinysynth.js"):
        assert f'"/{name}"' in page
        assert get(port, f"/{name}")[0] == 200
    for name in ("form.js", "roll.js", "player.js", "spessasynth.js", "spessasynth_processor.js"):
        assert get(port, f"/{name}")[0] == 200
    assert "http" not in page


def test_a_take_goes_home_as_a_file_with_all_of_its_notes(port):
    *_, last = song = lines(port, bars=4, seed=3)
    status, content = get(port, f"/api/take/{last['id']}.mid")
    assert status == 200
    midi = mido.MidiFile(file=io.BytesIO(content))
    onsets = [m for track in midi.tracks for m in track if m.type == "note_on" and m.velocity]
    assert len(onsets) == sum(len(line["notes"]) for line in song)


def test_a_take_goes_home_as_sound_where_there_is_a_soundfont(port):
    fault = json.loads(get(port, "/api/about")[1])["wav_fault"]
    key = lines(port, bars=1, seed=3)[-1]["id"]
    status, content = get(port, f"/api/take/{key}.wav")
    if SOUND_FAULT:
        assert (fault, status, content.decode()) == (SOUND_FAULT, 500, SOUND_FAULT)
    else:
        assert (fault, status, content[:4]) == ("", 200, b"RIFF")


def test_a_file_that_was_taken_home_can_be_opened_and_gone_on_with(port):
    key = lines(port, bars=2, seed=1, instruments="piano")[-1]["id"]
    midi = get(port, f"/api/take/{key}.mid")[1]
    status, content = post(port, "/api/open", midi, SIGNED_IN | {"Content-Type": "audio/midi"})
    opened = json.loads(content)
    assert status == 200
    assert opened["notes"]
    assert lines(port, bars=1, take=opened["id"])[-1]["bars"] > opened["bars"]


def test_a_file_that_is_no_midi_is_refused_in_one_line(port):
    status, content = post(port, "/api/open", b"<html>", SIGNED_IN | {"Content-Type": "audio/midi"})
    assert status == 400
    assert content == b"no MThd chunk: not a standard MIDI file" or b"MThd" in content
    assert b"/tmp" not in content


def test_a_page_that_goes_away_ends_its_writing(port):
    before = threading.active_count()
    for _ in range(6):  # twice as many as may write at once
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            body = b'{"bars": 200}'
            connection.sendall(request(HOST + JSON + b"Content-Length: %d\r\n" % len(body), body))
            assert connection.recv(100).startswith(b"HTTP/1.0 200")
    end = time.monotonic() + 20
    while threading.active_count() > before:
        assert time.monotonic() < end, "somebody still writes"
        time.sleep(0.02)


def test_a_soundfont_that_is_named_is_served_and_must_be_there(tmp_path):
    file = tmp_path / "own.sf2"
    with pytest.raises(AudioError, match="no such soundfont"), running(soundfont=file):
        pass
    file.write_bytes(b"RIFF" * 1_000_000)
    with running(soundfont=file) as port:
        assert get(port, "/soundfont") == (200, file.read_bytes())


@needs_audio
def test_a_file_that_is_no_soundfont_is_said_to_be_none(tmp_path):
    file = tmp_path / "own.sf2"
    file.write_bytes(b"RIFF" * 1_000)
    with running(soundfont=file) as port:
        assert "not a soundfont" in json.loads(get(port, "/api/about")[1])["wav_fault"]


def test_without_a_soundfont_the_page_says_how_to_get_one(monkeypatch):
    monkeypatch.setattr("shards.render.audio.SOUNDFONTS", ())
    with running() as port:
        about = json.loads(get(port, "/api/about")[1])
        assert get(port, "/soundfont")[0] == 404
    assert not about["soundfont"]
    assert "apt install" in about["sound_fault"]

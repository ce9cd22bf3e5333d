"""The page to browse a dataset: what it answers, to whom, and that it works in a real browser."""

import http.client
import io
import json
import shlex
import shutil
import threading
import time
import wave
from urllib.parse import quote

import mido
import pytest

from pipeline.browse.boxes import QueryError, boxes_of
from pipeline.browse.server import serve
from pipeline.browse.tables import songs_table
from shards import Dataset
from shards.layout import INDEX_COLUMNS
from shards.render.audio import TAIL_SECONDS, find_soundfont
from shards.text import visible
from tests.pipeline.browse.browser import (
    COOKIE,
    NARROW,
    OUTSIDE,
    TOKEN,
    WIDE,
    barriers,
    chromium,
    console,
    needs_browser,
    set_screen,
    sign_in,
)
from tests.shards.render.sound import needs_audio


@pytest.fixture(scope="module")
def port(dataset):
    """The port of a server that shows the demo's dataset."""
    yield from running(dataset)


@pytest.fixture(scope="module")
def hostile_port(hostile):
    yield from running(hostile)


def running(dataset, **options):
    with serve(dataset, **options) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def get(port, address, **headers):
    """Status, headers and body of one request, its address sent as it is."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.putrequest("GET", address, skip_host="Host" in headers)
        for name, value in {"Cookie": f"{COOKIE}={TOKEN}", **headers}.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def songs_of(port, query):
    status, _, body = get(port, f"/api/songs?size=500&{query}")
    assert status == 200, body
    return json.loads(body)


def test_only_loopback_is_listened_on(dataset):
    with serve(dataset) as server:
        assert server.server_address[0] == "127.0.0.1"


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.2:{}", "evil.example:{}", ""])
def test_a_name_that_was_pointed_at_this_machine_is_refused(port, host):
    status, _, body = get(port, "/api/songs", Host=host.format(port))
    assert status == 403
    assert b"path" not in body


def test_pages_of_other_sites_are_refused(port):
    for site in ("cross-site", "same-site"):
        assert get(port, "/api/song/0.mid", Sec_Fetch_Site=site)[0] == 403
    for name in (f"127.0.0.1:{port}", f"localhost:{port}"):
        assert get(port, "/api/about", Host=name, Sec_Fetch_Site="same-origin")[0] == 200


@pytest.mark.parametrize(
    "address",
    [
        "/../setup.cfg", "/%2e%2e/%2e%2e/etc/passwd", "/static/page.html", "/vendor/../page.html",
        "//etc/passwd", "/dataset.json", "/tokens-00000.npy", "/api/song/../0", "/api/song/-1",
        "/api/song/999999999", "/api/song/" + "9" * 400, "/browse.js/", "*",
    ],
)  # fmt: skip
def test_what_is_not_on_the_list_is_not_there(port, address):
    assert get(port, address)[0] == 404


def test_every_answer_forbids_what_the_page_does_not_need(port):
    for address in ("/", "/report", "/api/songs", "/api/song/0.mid", "/nothing"):
        _, headers, _ = get(port, address)
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"


def test_other_methods_are_not_known(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("POST", "/api/songs", body=b"{}")
    assert connection.getresponse().status == 405
    connection.close()


def test_what_the_page_needs_is_served_by_itself(port):
    page = get(port, "/")[2].decode()
    names = (
        "base.css",
        "style.css",
        "browse.css",
        "browse.js",
        "roll.js",
        "player.js",
        "columns.js",
        "tabulator.js",
        "tabulator.css",
        "tinysynth.js",
    )
    for name in names:
        assert f'"/{name}"' in page
        assert get(port, f"/{name}")[0] == 200
    assert "http" not in page.replace('http-equiv"', "")


@pytest.mark.parametrize(
    ("query", "passes"),
    [
        ("f.bpm=%3E%3D100", lambda row: row["bpm"] >= 100),
        ("f.bars=20..40", lambda row: 20 <= row["bars"] <= 40),
        ("f.split=train&f.meters=1", lambda row: (row["split"], row["meters"]) == ("train", 1)),
        ("f.representative=no", lambda row: not row["representative"]),
        ("f.meter=%3D4/4", lambda row: row["meter"] == "4/4"),
        ("f.meter=/8", lambda row: "/8" in row["meter"]),
        ("f.instruments=5", lambda row: row["instruments"] == 5),
        ("f.tier=STRICT", lambda row: row["tier"] == "strict"),
        ("q=ballads", lambda row: "ballads" in row["path"]),
        ("f.pitch_low=%3C30", lambda row: row["pitch_low"] is not None and row["pitch_low"] < 30),
    ],
)  # fmt: skip
def test_filters_find_what_a_plain_loop_finds(port, dataset, query, passes):
    rows = dataset.index.to_pylist()
    expected = [number for number, row in enumerate(rows) if passes(row)]
    found = songs_of(port, query)
    assert [row["song"] for row in found["data"]] == expected
    assert found["last_row"] == len(expected)


@pytest.mark.parametrize("text", ["' or true --", "x') or (true", '" or 1=1', "%%", "_._", "\\'"])
@pytest.mark.parametrize("parameter", ["q", "f.path", "f.meter"])
def test_a_text_filter_is_never_read_as_sql(port, parameter, text):
    assert songs_of(port, f"{parameter}={quote(text)}")["data"] == []


def test_programs_are_found_by_name(port, dataset):
    names = dataset.vocabulary.instrument_names
    expected = [
        number
        for number, row in enumerate(dataset.index.to_pylist())
        if any("bass" in names[program].lower() for program in row["programs"])
    ]
    assert [row["song"] for row in songs_of(port, "f.programs=Bass")["data"]] == expected


def test_any_column_sorts_either_way_and_pages_are_one_list(port, dataset):
    for column in songs_table(dataset).columns:
        there, back = (
            [row[column] for row in songs_of(port, f"sort={column}&order={order}")["data"]]
            for order in ("asc", "desc")
        )
        known = [value for value in there if value is not None]
        if column not in ("programs", "silences"):  # which sort by more than their text
            assert known == sorted(known)
            assert [value for value in back if value is not None] == known[::-1]
    whole = [row["song"] for row in songs_of(port, "sort=notes")["data"]]
    paged = []
    for page in (1, 2, 3):
        _, _, body = get(port, f"/api/songs?sort=notes&size=17&page={page}")
        paged += [row["song"] for row in json.loads(body)["data"]]
    assert paged == whole[: len(paged)]


@pytest.mark.parametrize(
    "query",
    [
        "f.bpm=fast", "f.representative=perhaps", "f.nothing=1", "sort=nothing", "page=0", "size=x",
        "f.bpm=1)%20or%20(1=1", "f.bpm=1;drop%20table%20songs", "f.bpm%22%20or%20true=1",
        "f.path=a%00b", "f.representative=yes)%20or%20(true",
    ],
)  # fmt: skip
def test_a_query_that_cannot_be_parsed_is_refused(port, query):
    status, headers, body = get(port, f"/api/songs?{query}")
    assert status == 400
    assert headers["Content-Type"].startswith("text/plain")
    assert body


def test_a_filter_of_a_column_that_is_not_there_is_refused(dataset):
    with pytest.raises(QueryError, match="no column nothing"):
        songs_table(dataset).where((("nothing", "1"),), "")
    assert boxes_of({"f.a": ["1"], "f.b": [" "], "q": ["x"]}) == (("a", "1"),)


def test_a_song_is_its_facts_its_midi_and_its_picture(port, dataset):
    answer = json.loads(get(port, "/api/song/3")[2])
    assert answer["facts"]["path"] == dataset.index["path"][3].as_py()
    midi = mido.MidiFile(file=io.BytesIO(get(port, "/api/song/3.mid")[2]))
    ons = [message for track in midi.tracks for message in track if message.type == "note_on"]
    assert len(ons) == dataset.index["notes"][3].as_py()
    drawn = answer["music"]
    assert len(drawn["notes"]) == len(ons)
    assert drawn["clock"][0] == [0, 0.0]
    assert drawn["clock"][-1][1] == pytest.approx(dataset.index["seconds"][3].as_py(), abs=0.01)
    assert {str(note[2]) for note in drawn["notes"]} == set(drawn["names"])


def test_hostile_names_leave_the_server_without_control_characters(hostile_port, hostile):
    found = songs_of(hostile_port, "")
    shown = [row["path"] for row in found["data"]]
    assert shown == [visible(path) for path in hostile.index["path"].to_pylist()]
    assert all(path.isprintable() for path in shown)
    name = next(path for path in hostile.index["path"].to_pylist() if "<img" in path)
    assert len(songs_of(hostile_port, "q=" + quote(name))["data"]) == 1


@pytest.mark.parametrize("address", ["/api/about", "/api/songs", "/api/song/0.mid", "/report"])
@pytest.mark.parametrize("cookie", ["", f"{COOKIE}=", f"{COOKIE}={TOKEN}x", f"other={TOKEN}"])
def test_who_lacks_the_token_sees_nothing_of_the_dataset(port, address, cookie):
    status, _, body = get(port, address, Cookie=cookie)
    assert status == 403
    assert b"open the address that the program printed" in body
    assert get(port, "/", Cookie=cookie)[0] == get(port, "/browse.js", Cookie=cookie)[0] == 200


def test_the_printed_address_leaves_the_token_in_a_cookie_and_not_in_the_address(dataset, port):
    with serve(dataset) as server:
        assert server.address.endswith(f"/?token={TOKEN}")
    status, headers, _ = get(port, f"/?token={TOKEN}", Cookie="")
    assert (status, headers["Location"]) == (303, "/")
    assert headers["Set-Cookie"] == f"{COOKIE}={TOKEN}; Path=/; HttpOnly; SameSite=Strict"
    assert get(port, "/?token=another", Cookie="")[0] == 403


def test_a_link_from_elsewhere_opens_the_empty_page_and_nothing_else(port):
    link = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Dest": "document"}
    assert get(port, "/", **link)[0] == 200
    for address in ("/report", "/api/about", "/api/song/0.mid"):
        assert get(port, address, **link)[0] == 403
    assert get(port, "/", Sec_Fetch_Site="cross-site", Sec_Fetch_Dest="iframe")[0] == 403


def file_row(dataset, rule):
    return dataset.ledger()["rule"].to_pylist().index(rule)


def test_a_rejected_file_is_its_facts_and_with_its_source_its_notes(demo, dataset, port):
    row = file_row(dataset, "too_few_notes")
    without = json.loads(get(port, f"/api/file/{row}")[2])
    assert without["facts"]["rule"] == "too_few_notes"
    assert "--source" in without["silent"]
    for own in running(dataset, sources=[demo[0]]):
        answer = json.loads(get(own, f"/api/file/{row}")[2])
        assert len(answer["music"]["notes"]) == int(answer["facts"]["value"])
        assert get(own, f"/api/file/{row}.mid")[2].startswith(b"MThd")
        unreadable = json.loads(get(own, f"/api/file/{file_row(dataset, 'not_midi')}")[2])
        assert "no notes" in unreadable["silent"]


def test_a_song_names_the_others_of_its_cluster(port, dataset):
    clusters = dataset.index["cluster"].to_pylist()
    song = next(n for n, one in enumerate(clusters) if clusters.count(one) > 1)
    found = json.loads(get(port, f"/api/song/{song}")[2])["duplicates"]
    expected = [n for n, one in enumerate(clusters) if one == clusters[song] and n != song]
    assert [one["song"] for one in found] == expected


@needs_audio
def test_a_soundfont_plays_a_song_to_its_end(dataset):
    for own in running(dataset, soundfont=find_soundfont(None)):
        status, headers, body = get(own, "/api/song/3.wav")
        with wave.open(io.BytesIO(body)) as sound:
            seconds = sound.getnframes() / sound.getframerate()
    assert (status, headers["Content-Type"]) == (200, "audio/wav")
    assert seconds == pytest.approx(dataset.index["seconds"][3].as_py() + TAIL_SECONDS, abs=0.5)


def test_the_report_that_is_served_has_name_day_and_links(port, dataset):
    page = get(port, "/report")[2].decode()
    assert 'href="/#song=' in page
    assert f'<bdi class="name">{dataset.path.name}</bdi></b>, made on 20' in page
    assert 'href="/#song=' not in (dataset.path / "report.html").read_text()


def until(condition, seconds=20.0):
    """Wait for something that a page does in its own time."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "the page did not get there"
        time.sleep(0.05)
    return value


@pytest.fixture(scope="module")
def driver():
    with chromium() as driver:
        yield driver


def rows_of(driver):
    script = (
        "return [...document.querySelectorAll('.tabulator-row')].map(row => "
        "row.querySelector('[tabulator-field=path]').textContent)"
    )
    return driver.execute_script(script)


def open_page(driver, port, width=WIDE, dark=False):
    set_screen(driver, width, dark=dark)
    driver.get(f"http://127.0.0.1:{port}/")
    until(lambda: rows_of(driver))


def type_into(driver, selector, text):
    from selenium.webdriver.common.by import By

    box = driver.find_element(By.CSS_SELECTOR, selector)
    box.clear()
    box.send_keys(text)


def found(driver):
    return driver.execute_script("return document.getElementById('found').textContent")


@needs_browser
def test_a_person_searches_filters_and_plays_a_song(driver, port, dataset):
    rows = dataset.index.to_pylist()
    open_page(driver, port)
    assert found(driver) == f"{len(rows)} songs"
    type_into(driver, "#search", "ballads")
    ballads = [row["path"] for row in rows if "ballads" in row["path"]]
    until(lambda: rows_of(driver) == ballads[:20])
    type_into(driver, "#search", " ")
    driver.execute_script("const s = document.getElementById('search'); s.value = '';"
                          "s.dispatchEvent(new Event('input'))")  # fmt: skip
    type_into(driver, "[tabulator-field=notes] input", ">=2000")
    many = [row["path"] for row in rows if row["notes"] >= 2000]
    until(lambda: rows_of(driver) == many[:20])
    driver.execute_script("document.querySelector('.tabulator-row .tabulator-cell').click()")
    until(lambda: driver.execute_script("return document.getElementById('title').textContent"))
    assert driver.execute_script("return document.getElementById('title').textContent") == many[0]
    until(lambda: driver.execute_script("return rolls[0].canvas.width"))
    place = "return rolls[0].step"
    before = driver.execute_script(place)
    play = "document.getElementById('play').click()"
    driver.execute_script(play)
    until(lambda: driver.execute_script(place) != before)
    heard = "return [synthesizer.synth.getAudioContext().state, Number(synthesizer.isPlaying)]"
    until(lambda: driver.execute_script(heard) == ["running", 1])
    driver.execute_script(play)
    assert driver.execute_script(heard)[1] == 0
    assert console(driver) == []
    entries = "return performance.getEntriesByType('resource').map(entry => entry.name)"
    fetched = driver.execute_script(entries)
    assert all(address.startswith((f"http://127.0.0.1:{port}/", "data:")) for address in fetched)


def title(driver):
    return driver.execute_script("return document.getElementById('title').textContent")


@needs_browser
def test_the_address_of_the_page_brings_back_what_it_shows(driver, port, dataset):
    rows = dataset.index.to_pylist()
    open_page(driver, port)
    type_into(driver, "#search", "mid")
    until(lambda: driver.current_url.endswith("#q=mid"))
    type_into(driver, "[tabulator-field=notes] input", ">=2000")
    passing = [row for row in rows if row["notes"] >= 2000 and "mid" in row["path"].lower()]
    until(lambda: found(driver) == f"{len(passing)} songs")
    driver.execute_script("table.setSort('bars', 'desc')")
    most = [row["path"] for row in sorted(passing, key=lambda row: -row["bars"])]
    until(lambda: rows_of(driver) == most[:20])
    for row in (1, 0):
        cell = (
            f"document.querySelectorAll('.tabulator-row')[{row}].querySelector('.tabulator-cell')"
        )
        driver.execute_script(cell + ".click()")
        until(lambda n=row: title(driver) == most[n])
    address = driver.current_url
    assert "sort=bars&order=desc&f.notes=%3E%3D2000&q=mid" in address
    driver.back()
    until(lambda: title(driver) == most[1])
    driver.get("about:blank")
    driver.get(address)
    until(lambda: rows_of(driver) == most[:20] and title(driver) == most[0])
    marked = (
        "return document.querySelector('.tabulator-row.open [tabulator-field=path]').textContent"
    )
    assert driver.execute_script(marked) == most[0]
    assert driver.current_url == address
    assert console(driver) == []


@needs_browser
def test_an_address_of_what_is_not_there_is_reported_on_the_page(driver, port):
    driver.get("about:blank")
    driver.get(f"http://127.0.0.1:{port}/#song=99999&sort=no&f.no=1&f.notes=many")
    problem = "return document.getElementById('problem').textContent"
    until(lambda: driver.execute_script(problem))
    until(lambda: console(driver))  # the browser itself notes the status 404


@needs_browser
def test_the_keyboard_is_enough(driver, port, dataset):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    def press(*keys):
        ActionChains(driver).send_keys(*keys).perform()

    driver.get("about:blank")
    console(driver)  # what the page before has left
    open_page(driver, port)
    paths = dataset.index["path"].to_pylist()
    press(Keys.ARROW_DOWN, Keys.ARROW_DOWN, Keys.ARROW_DOWN, Keys.ARROW_UP, Keys.ENTER)
    until(lambda: title(driver) == paths[1])
    press(" ")
    playing = "return 'playing' in document.getElementById('play').dataset"
    until(lambda: driver.execute_script(playing))
    press(" ")
    until(lambda: not driver.execute_script(playing))
    press("/", "ballads")
    ballads = [path for path in paths if "ballads" in path]
    until(lambda: rows_of(driver) == ballads[:20])
    press(Keys.ESCAPE, Keys.ARROW_DOWN, Keys.ENTER)
    until(lambda: title(driver) == ballads[0])
    assert console(driver) == []


@needs_browser
def test_a_click_on_a_value_filters_and_a_second_one_does_not(driver, port, dataset):
    open_page(driver, port)
    click = "document.querySelector('[tabulator-field=meter] .ask').click()"
    driver.execute_script(click)
    bin_ = "[...document.querySelectorAll('.bin')].find(one => one.title.startsWith('3/4:'))"
    until(lambda: driver.execute_script(f"return {bin_}"))
    meaning = "return document.querySelector('#column p').textContent"
    assert driver.execute_script(meaning) == INDEX_COLUMNS["meter"][1]
    waltzes = [row["path"] for row in dataset.index.to_pylist() if row["meter"] == "3/4"]
    driver.execute_script(f"{bin_}.click()")
    until(lambda: rows_of(driver) == waltzes[:20])
    fit = "return document.querySelector('#fit code').textContent"
    where = shlex.quote("meter = '3/4'")
    assert driver.execute_script(fit) == f"trainer fit {dataset.path} --where {where}"
    until(lambda: driver.execute_script(f"return {bin_}.ariaPressed === 'true'"))
    driver.execute_script(f"{bin_}.click()")
    until(lambda: found(driver) == f"{len(dataset)} songs")
    assert console(driver) == []


@needs_browser
@pytest.mark.parametrize("dark", [False, True])
def test_the_roll_zooms_scrolls_along_and_has_the_colours_of_the_page(driver, port, dark):
    open_page(driver, port, dark=dark)
    driver.execute_script("open(3)")
    until(lambda: driver.execute_script("return rolls.length && rolls[0].pen && opened.music"))
    driver.execute_script("zoomBy(8)")
    assert driver.execute_script("return rolls[0].sheet.clientWidth > 4 * rolls[0].box.clientWidth")
    driver.execute_script("place(rolls[0].end * 0.5, true)")
    ahead = "return (rolls[0].end * 0.5 * rolls[0].scale - rolls[0].box.scrollLeft) / rolls[0].room"
    assert 0 <= driver.execute_script(ahead) <= 0.5
    corner = "const p = rolls[0].pen.getImageData(1, 1, 1, 1).data; return p[0] + p[1] + p[2]"
    assert (driver.execute_script(corner) < 150) == dark
    driver.execute_script("zoomBy(0)")
    assert driver.execute_script("return rolls[0].sheet.clientWidth === rolls[0].box.clientWidth")
    assert console(driver) == []


@needs_browser
@pytest.mark.parametrize("dark", [False, True])
def test_nothing_keeps_people_from_using_the_page(driver, port, dark):
    set_screen(driver, WIDE, dark=dark)
    driver.get(f"http://127.0.0.1:{port}/nowhere")  # leaves the page, so that the next is loaded
    console(driver)
    driver.get(f"http://127.0.0.1:{port}/#f.notes=>=1")
    until(lambda: rows_of(driver))
    assert barriers(driver) == []
    driver.execute_script("document.querySelector('[tabulator-field=notes] .ask').click(); open(3)")
    until(lambda: driver.execute_script("return rolls.length && at('column').hidden === false"))
    driver.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert barriers(driver) == []


@needs_browser
def test_a_page_without_its_token_keeps_nobody_from_reading_why(driver, port):
    driver.execute_cdp_cmd("Network.clearBrowserCookies", {})
    driver.get(f"http://127.0.0.1:{port}/")
    until(lambda: driver.execute_script("return !document.getElementById('problem').hidden"))
    assert barriers(driver) == []
    sign_in(driver)
    console(driver)  # the refusal


@needs_browser
def test_a_shadow_says_that_there_are_more_columns(driver, port):
    open_page(driver, port, width=NARROW)
    is_marked = "return document.getElementById('rows').classList.contains('more')"
    until(lambda: driver.execute_script(is_marked))
    driver.execute_script("document.querySelector('.tabulator-tableholder').scrollLeft = 1e5")
    until(lambda: not driver.execute_script(is_marked))


@needs_browser
def test_no_note_is_under_what_the_roll_says_about_silence(driver, port):
    open_page(driver, port)
    driver.execute_script("open(3)")
    until(lambda: driver.execute_script("return rolls.length && rolls[0].pen && opened.music"))
    assert driver.execute_script("return rolls[0].y(rolls[0].high)") >= 14  # letters of 11 pixels


@needs_browser
def test_a_link_of_the_report_opens_its_song(driver, port, dataset):
    driver.get(f"http://127.0.0.1:{port}/report")
    from selenium.webdriver.common.by import By

    link = driver.find_element(By.CSS_SELECTOR, "#songs figcaption a")
    number = int(link.get_attribute("href").partition("=")[2])
    link.click()
    until(lambda: title(driver) == dataset.index["path"][number].as_py())
    assert console(driver) == []


@needs_browser
def test_a_file_that_was_not_kept_has_an_address_and_says_why(driver, port, dataset):
    row = file_row(dataset, "too_few_notes")
    driver.get("about:blank")
    driver.get(f"http://127.0.0.1:{port}/#of=files&file={row}&f.rule=few")
    until(lambda: title(driver) == dataset.ledger()["path"][row].as_py())
    facts = driver.execute_script("return document.getElementById('facts').textContent")
    assert "too_few_notes" in facts
    assert "threshold" in facts
    silent = driver.execute_script("return document.getElementById('silent').textContent")
    assert "--source" in silent
    assert driver.current_url.endswith(f"#of=files&file={row}&f.rule=few")
    assert console(driver) == []


@needs_browser
def test_a_filter_that_cannot_be_parsed_is_reported_on_the_page(driver, port):
    open_page(driver, port)
    type_into(driver, "[tabulator-field=notes] input", "many")
    problem = "const p = document.getElementById('problem'); return p.hidden ? '' : p.textContent"
    assert "no number" in until(lambda: driver.execute_script(problem))
    console(driver)  # the browser itself notes the status 400


@needs_browser
def test_a_page_says_that_its_dataset_was_replaced(driver, dataset, tmp_path):
    shutil.copytree(dataset.path, tmp_path / "lakh")
    problem = "return document.getElementById('problem').textContent"
    for port in running(Dataset(tmp_path / "lakh")):
        open_page(driver, port)
        (tmp_path / "lakh").rename(tmp_path / "old")
        driver.execute_script("document.querySelector('.tabulator-row .tabulator-cell').click()")
        assert "was replaced" in until(lambda: driver.execute_script(problem))
        type_into(driver, "#search", "ballads")
        until(lambda: rows_of(driver) == [])
        assert "was replaced" in driver.execute_script(problem)
    console(driver)  # the browser itself notes the status 409


@needs_browser
def test_a_page_of_another_dataset_than_the_server_says_so(driver, port):
    open_page(driver, port)
    driver.execute_script("dataset = 'of an earlier server'; open(0).catch(showError)")
    problem = "return document.getElementById('problem').textContent"
    assert "another dataset" in until(lambda: driver.execute_script(problem))
    console(driver)


@needs_browser
@pytest.mark.parametrize(("width", "dark"), [(WIDE, False), (NARROW, True)])
def test_hostile_names_are_text_on_the_page(driver, hostile_port, hostile, width, dark):
    open_page(driver, hostile_port, width, dark)
    paths = hostile.index["path"].to_pylist()
    until(lambda: rows_of(driver) == [visible(path) for path in paths])
    title = "return document.getElementById('title').textContent"
    for number in range(len(paths)):
        driver.execute_script(f"open({number})")
        until(lambda n=number: driver.execute_script(title) == visible(paths[n]))
    assert driver.execute_script("return window.hacked") is None
    assert driver.execute_script("return document.querySelectorAll('main img').length") == 0
    assert driver.execute_script(OUTSIDE) == []
    assert console(driver) == []

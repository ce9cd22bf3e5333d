"""The page to write music on, in a real browser: written, heard, rewritten, taken home."""

import io
import time

import mido
import pytest

from tests.pipeline.browse.browser import OUTSIDE, chromium, console, needs_browser, set_screen
from tests.trainer.play.shared import get, running
from trainer.generation.task import Task

pytestmark = needs_browser
METER = """
window.meters = [];
const connect = AudioNode.prototype.connect;
AudioNode.prototype.connect = function (to, ...rest) {
  if (to === this.context.destination) {
    const meter = new AnalyserNode(this.context);
    connect.call(this, meter, ...rest);
    window.meters.push(meter);
  }
  return connect.call(this, to, ...rest);
};
window.loudness = () => Math.max(...window.meters.map((meter) => {
  const samples = new Float32Array(meter.fftSize);
  meter.getFloatTimeDomainData(samples);
  return Math.max(...samples.map(Math.abs));
}));
"""
"""Measures what reaches the loudspeaker."""


@pytest.fixture(scope="module")
def driver():
    with chromium() as driver:
        driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": METER})
        yield driver


@pytest.fixture(params=["soundfont", "oscillators"])
def port(request, monkeypatch):
    if request.param == "oscillators":
        monkeypatch.setattr("shards.render.audio.SOUNDFONTS", ())
    with running() as port:
        yield port


class Page:
    """What a person does on the page, and sees there."""

    def __init__(self, driver, port):
        self.driver, self.port = driver, port
        set_screen(driver, 1400)
        driver.get("about:blank")
        console(driver)  # what the page before has left
        driver.get(f"http://127.0.0.1:{port}/")
        self.wait("'ready' in document.documentElement.dataset")

    def run(self, script, *arguments):
        return self.driver.execute_script(f"return {script}", *arguments)

    def wait(self, script):
        end = time.monotonic() + 60
        while not self.run(script):
            assert time.monotonic() < end, (script, self.problem, console(self.driver))
            time.sleep(0.05)

    def console(self):
        """Warnings and errors, without those of the oscillators about overtones nobody hears."""
        return [line for line in console(self.driver) if "outside nominal range" not in line]

    @property
    def problem(self):
        return self.run("document.getElementById('problem').textContent")

    def set(self, name, value):
        script = "document.getElementById(arguments[0]).value = arguments[1]"
        self.run(script, name, value)
        self.run(f"document.getElementById('{name}').dispatchEvent(new Event('change'))")

    def press(self, *keys, held=()):
        from selenium.webdriver import ActionChains

        self.driver.execute_script("document.activeElement.blur()")
        chain = ActionChains(self.driver)
        for key in held:
            chain.key_down(key)
        chain.send_keys(*keys)
        for key in held:
            chain.key_up(key)
        chain.perform()

    def click(self, selector, take=0):
        """Press what stands in a take; a selector with an id stands on the page."""
        within = "document" if selector.startswith("#") else self.take(take)
        self.run(f"{within}.querySelector(arguments[0])", selector).click()

    def take(self, number=0):
        return f"document.querySelectorAll('.take')[{number}]"

    def text(self, selector, take=0):
        return self.run(f"{self.take(take)}.querySelector(arguments[0]).textContent", selector)

    def wait_until_written(self):
        self.wait("document.querySelector('.take') && document.getElementById('stop').hidden")

    def midi(self, take=0):
        """The notes of a take, by time, as its .mid file has them."""
        address = self.run(f"{self.take(take)}.querySelector('.mid').getAttribute('href')")
        file = mido.MidiFile(file=io.BytesIO(get(self.port, address)[1]))
        notes = []
        for track in file.tracks:
            now = 0
            for message in track:
                now += message.time
                if message.type == "note_on" and message.velocity:
                    notes.append((now, message.channel, message.note))
        return sorted(notes)


def test_a_song_is_written_heard_rewritten_and_taken_home(driver, port, tmp_path):
    from selenium.webdriver.common.keys import Keys

    page = Page(driver, port)
    page.set("band", 3)  # a rock band
    page.set("bars", 6)
    page.set("seed", 5)
    page.click("#write")
    page.wait("document.querySelector('.play')?.textContent === 'Pause'")
    page.wait("window.loudness() > 0.001")
    page.wait_until_written()
    assert page.text(".facts").startswith("6 bars · ")
    assert page.text(".parts")
    first = page.midi()
    assert first
    assert page.run("getComputedStyle(document.querySelector('.undo')).display") == "none"
    page.press(" ")
    page.wait("document.querySelector('.play').textContent === 'Play'")

    start = "document.querySelector('.cursor').style.transform"
    page.press(*[Keys.ARROW_LEFT] * 6)
    page.wait(f"{start} === 'translateX(0px)'")
    page.press(*[Keys.ARROW_RIGHT] * 3)
    page.press(Keys.ARROW_RIGHT, held=[Keys.SHIFT])
    page.wait("!document.querySelector('.from').hidden")
    assert page.text(".from") == "Write on from bar 4"
    page.set("bars", 2)
    page.set("seed", 6)
    page.click(".from")
    page.wait_until_written()
    assert page.text(".facts").startswith("5 bars · ")
    second = page.midi()
    changed = next(
        n for n, (one, other) in enumerate(zip(first, second, strict=False)) if one != other
    )
    assert changed > 0
    assert second != first[: len(second)]

    behaviour = {"behavior": "allow", "downloadPath": str(tmp_path)}
    driver.execute_cdp_cmd("Browser.setDownloadBehavior", behaviour)
    page.click(".mid")
    saved, end = tmp_path / "take-1.mid", time.monotonic() + 20
    while not saved.exists():
        assert time.monotonic() < end
        time.sleep(0.05)
    mido.MidiFile(saved)
    page.press("u")
    page.wait("document.querySelector('.facts').textContent.startsWith('6 bars')")
    assert page.midi() == first

    page.press(*[Keys.ARROW_LEFT] * 9)
    page.press(Keys.ARROW_RIGHT)
    page.press(*[Keys.ARROW_RIGHT] * 2, held=[Keys.SHIFT])
    page.wait("document.querySelector('.rewrite').textContent === 'Rewrite bars 2\\u20133'")
    page.press("r")
    page.wait_until_written()
    third = page.midi()
    assert third != first
    assert {third[0], third[-1]} == {first[0], first[-1]}  # before the selected bars, and after

    page.press(Keys.ESCAPE)
    drums = "document.querySelector('[data-part=drums]')"
    page.click("[data-part=drums]")
    page.wait("document.querySelector('.anew').textContent === 'Write Drums anew'")
    page.click(".anew")
    page.wait_until_written()
    others = [[note for note in notes if note[1] != 9] for notes in (third, page.midi())]
    assert others[0] == others[1]
    assert page.midi() != third
    assert page.run(f"{drums}?.getAttribute('aria-pressed') ?? 'false'") == "false"
    assert page.problem == ""
    assert page.console() == []
    entries = page.run("performance.getEntriesByType('resource').map(entry => entry.name)")
    assert all(address.startswith((f"http://127.0.0.1:{port}/", "data:")) for address in entries)


@pytest.fixture(scope="module")
def silent_port():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("shards.render.audio.SOUNDFONTS", ())
        with running() as port:
            yield port


def test_takes_stand_side_by_side_and_are_stopped_and_removed(driver, silent_port, monkeypatch):
    def slow_steps(*given, steps=Task.steps):
        for number, written in enumerate(steps(*given)):
            yield written
            waits = 6000 if number == 40 else 0  # else all is written before the button is found
            for _ in range(waits):
                time.sleep(0.01)
                yield written

    monkeypatch.setattr(Task, "steps", slow_steps)
    page = Page(driver, silent_port)
    page.set("count", 3)
    page.set("bars", 256)
    page.press("w")
    page.wait("document.querySelectorAll('.take.writing').length === 3")
    tops = page.run(
        "[...document.querySelectorAll('.take')].map(t => t.getBoundingClientRect().top)"
    )
    assert tops[0] == tops[1]
    page.click("#stop")
    page.wait_until_written()
    assert page.run("document.querySelectorAll('.take.writing').length") == 0
    bars = int(page.text(".facts").split()[0])
    assert 0 < bars < 256
    assert page.midi(1)  # what was written until then is kept
    page.set("bars", 1)
    page.click(".continue")
    page.wait(f"document.querySelector('.facts').textContent.startsWith('{bars + 1} bars')")
    page.click(".remove", take=1)
    assert page.run("document.querySelectorAll('.take').length") == 2
    assert page.problem == ""
    assert page.console() == []


def test_a_muted_part_is_silent(driver, silent_port):
    page = Page(driver, silent_port)
    page.set("band", 1)  # piano alone
    page.set("bars", 200)
    page.set("tempo", 240)  # a bar a second: a song of chance has rests of many seconds
    page.set("meter", "4/4")
    page.set("seed", 5)
    page.click("#write")
    page.wait("window.loudness() > 0.001")
    page.click(".parts button")
    assert (
        page.run("document.querySelector('.parts button').getAttribute('aria-pressed')") == "true"
    )
    page.wait("window.loudness() < 1e-6")
    assert page.text(".play") == "Pause"
    page.click(".parts button")
    page.wait("window.loudness() > 0.001")


@pytest.mark.parametrize("width", [1400, 390])
@pytest.mark.parametrize("dark", [False, True])
def test_nothing_sticks_out_of_the_page(driver, silent_port, width, dark):
    page = Page(driver, silent_port)
    page.set("count", 2)
    page.set("bars", 64)
    page.set("band", 8)  # an orchestra
    page.click("#write")
    page.wait_until_written()
    set_screen(driver, width, dark=dark)
    page.wait(f"innerWidth === {width}")
    assert driver.execute_script(OUTSIDE) == []
    assert page.run("document.documentElement.scrollWidth") <= width


def test_an_order_that_is_refused_is_told_on_the_page(driver, silent_port):
    page = Page(driver, silent_port)
    page.set("bars", 2)
    page.click("#write")
    page.wait_until_written()
    page.driver.execute_script(
        "const real = window.fetch; window.fetch = (address, options) => real(address, options &&"
        "{...options, body: JSON.stringify({take: 'gone', bars: 1})})"
    )
    page.click(".continue")
    page.wait("!document.getElementById('problem').hidden")
    assert "no longer held" in page.problem
    page.wait_until_written()


def test_markup_from_the_server_is_text(driver, silent_port):
    page = Page(driver, silent_port)
    page.driver.execute_script(
        """
        const real = window.fetch, line = '{"error": "<img src=x onerror=window.hacked=1>"}\\n';
        window.fetch = async (address, options) =>
          address === "/api/write" ? new Response(line) : real(address, options);
        """
    )
    page.click("#write")
    page.wait("!document.getElementById('problem').hidden")
    assert page.problem == "<img src=x onerror=window.hacked=1>"
    assert page.run("[window.hacked ?? 0, document.images.length]") == [0, 0]

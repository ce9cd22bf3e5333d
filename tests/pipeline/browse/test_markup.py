"""Forty names that are markup, in every place of the pages, in a real browser: all stay text."""

import copy
import dataclasses
import http.server
import json
import threading
import time
from contextlib import contextmanager
from unittest import mock

import pytest

from pipeline.browse import server
from pipeline.report.compute.compare import read_side
from pipeline.report.html.compare_page import compare_html
from pipeline.report.html.report_page import report_html
from shards.reader import read_json
from shards.web.server import JSON
from tests.pipeline.browse.browser import WIDE, chromium, console, needs_browser, set_screen

RED = "*{background:red !important}"
HOSTILE = [
    f"<style>{RED}</style>",
    f"</style><style>{RED}",
    f"</title><style>{RED}</style>",
    f"</textarea></template><style>{RED}</style>",
    "<meta http-equiv=refresh content='0;url=OUT/meta'>",
    '<meta http-equiv="refresh" content="0;url=OUT/meta2">',
    "<base href='OUT/base/'>",
    "<link rel=stylesheet href='OUT/link.css'>",
    "<link rel=prefetch href='OUT/prefetch'>",
    "<link rel=preconnect href='OUT/'>",
    "<script>window.hacked=1</script>",
    "</script><script src='OUT/script.js'></script>",
    "<img src='OUT/img.png'>",
    "<img src=x onerror=window.hacked=1>",
    "<picture><source srcset='OUT/set.png'><img></picture>",
    "<svg onload=window.hacked=1></svg>",
    "<svg><image href='OUT/svg.png' width=99 height=99 /></svg>",
    "<svg><use href='OUT/use.svg#a'/></svg>",
    f"<svg><style>{RED}</style></svg>",
    "<math><mtext><table><mglyph><style><img src='OUT/math.png'>",
    "<iframe src='OUT/frame'></iframe>",
    "<iframe srcdoc='<script>parent.hacked=1</script>'></iframe>",
    "<object data='OUT/object'></object>",
    "<embed src='OUT/embed'>",
    "<video src='OUT/video' autoplay poster='OUT/poster'></video>",
    "<audio src='OUT/audio' autoplay></audio>",
    "<input type=image src='OUT/input.png'>",
    "<input autofocus onfocus=window.hacked=1>",
    "<details open ontoggle=window.hacked=1><summary>x</summary></details>",
    "<div style='position:fixed;inset:0;background:red url(OUT/div.png)'>x</div>",
    "\" style=\"background:red url('OUT/quote.png')\" x=\"",
    "' onmouseover='window.hacked=1' x='",
    "` onmouseover=`window.hacked=1`",
    "</td></tr></table></div><h1>x</h1>",
    "</span></bdi></section></body></html><body style='background:red'>",
    "<dialog open>x</dialog>",
    "<plaintext>",
    "<!-- <![CDATA[",
    "&lt;img src=OUT/entity.png&gt;&#60;b&#62;",
    "<a href='javascript:window.hacked=1' ping='OUT/ping'>x</a>{{7*7}}${7*7}",
]  # fmt: skip
HARMLESS = [f"name {number}" for number in range(len(HOSTILE))]
TREE = """
return [...document.querySelectorAll('*')].map(element => element.tagName + ' '
  + element.getAttributeNames().filter(name => name !== 'class' && name !== 'd').join())
"""
"""Every element of the page with the names of its attributes."""
RED_THINGS = """
return [...document.querySelectorAll('*')].filter(element =>
  getComputedStyle(element).backgroundColor === 'rgb(255, 0, 0)').map(element => element.tagName)
"""


def test_there_are_forty():
    assert len(set(HOSTILE)) == 40


@contextmanager
def served(site, dataset):
    """The port of a server that shows a site."""
    with mock.patch.object(server, "Site", return_value=site), server.serve(dataset) as web:
        yield from running(web)


def running(web):
    thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield web.server_address[1]
    finally:
        web.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def outside():
    """Another origin: its port, and the requests that reached it."""
    reached = []

    class Outside(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            reached.append(self.path)
            self.send_error(404)

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Outside) as web:
        for port in running(web):
            yield port, reached


@pytest.fixture(autouse=True)
def _nothing_reached(outside):
    outside[1].clear()


@pytest.fixture(scope="module")
def driver():
    with chromium() as driver:
        set_screen(driver, WIDE, height=2400)
        yield driver


def assert_nothing_happened(driver, reached, tree, expected_tree):
    time.sleep(0.3)  # a refresh of 0 seconds would be under way
    assert tree == expected_tree
    assert driver.execute_script(RED_THINGS) == []
    assert driver.execute_script("return window.hacked") is None
    assert reached == []
    assert console(driver) == []


class Renamed(server.Site):
    """A site that puts the given names into every text that it answers: columns, values, facts."""

    def __init__(self, dataset, names):
        super().__init__(dataset)
        self._names = names

    def answer(self, path, query):
        answer = super().answer(path, query)
        if answer.kind != JSON:
            return answer
        content = json.loads(answer.content)
        if path == "/api/about":
            content["name"] = " ".join(self._names)
            content["soundfont"] = self._names[1]
        elif path == "/api/songs/values":
            content["help"] = self._names[0]
            bins = [{"box": name, "label": name, "rows": 1} for name in self._names]
            content["bins"] = bins
        elif path == "/api/songs/columns":
            self._columns = [column["name"] for column in content]
            for number, column in enumerate(content):
                column["name"] = self._column(number)
        elif path == "/api/songs":
            content["data"] = [self._row(n) for n in range(len(self._names))]
            content["fit"] = self._names[0]
        else:
            content["facts"] = {name: name for name in self._names} | {"path": self._names[0]}
            content["silent"] = self._names[0]
            content["duplicates"] = [{"song": 1, "path": name} for name in self._names]
            names = content["music"]["names"]
            content["music"]["names"] = {key: self._names[n] for n, key in enumerate(names)}
        return answer._replace(content=json.dumps(content).encode())

    def _column(self, number):
        """Some must keep their names, to be shown first and to have a tooltip."""
        name = self._columns[number]
        return name if name in ("song", "path") else f"{number} {self._names[number % 40]}"

    def _row(self, song):
        texts = {self._column(n): self._names[(song + n) % 40] for n in range(len(self._columns))}
        return {**texts, "song": song, "path": self._names[song]}


TOOLTIP = """
const [song, done] = arguments;
table.options.tooltipDelay = 0;
const cell = table.getRow(song).getElement().querySelector('[tabulator-field=path]');
const found = () => [...document.querySelectorAll('.tabulator-tooltip')];
found().forEach(one => one.remove());
cell.dispatchEvent(new MouseEvent('mousemove', {bubbles: true, clientX: 300, clientY: 300}));
const wait = () => found().length ? done([found()[0].textContent, found()[0].children.length])
  : setTimeout(wait, 5);
wait();
"""


def page_of(driver, dataset, names):
    """Open the page with these names everywhere; its tree, and the texts of its tooltips."""
    site = Renamed(dataset, names)
    with served(site, dataset) as port:
        driver.get(f"http://127.0.0.1:{port}/")
        wait(driver, "return document.querySelectorAll('.tabulator-row').length === 40")
        driver.execute_script("table.getColumns().forEach(column => column.show())")
        shown = driver.execute_script(
            "return [...document.querySelectorAll('[tabulator-field=path]')]"
            ".map(e => e.textContent).slice(1)"
        )
        assert shown == names
        titles = (
            "return [...document.querySelectorAll('.tabulator-col-title')].map(e => e.textContent)"
        )
        expected = [site._column(n).replace("_", " ") + "?" for n in range(len(site._columns))]
        assert driver.execute_script(titles) == expected
        tips = [driver.execute_async_script(TOOLTIP, song) for song in range(len(names))]
        assert tips == [[name, tips[0][1]] for name in names]
        driver.execute_script("open(0)")
        wait(driver, "return document.querySelectorAll('#facts dd').length >= 41")
        facts = "return [...document.querySelectorAll('#facts dd')].map(e => e.textContent)"
        assert driver.execute_script(facts)[:40] == names
        driver.execute_script("showColumn('song')")
        wait(driver, "return document.querySelectorAll('.bin').length === 40")
        driver.execute_script("document.querySelector('#duplicates input').click()")
        wait(driver, "return rolls.length === 2")
        return driver.execute_script(TREE)


def wait(driver, script):
    end = time.monotonic() + 20
    while not driver.execute_script(script):
        assert time.monotonic() < end, script
        time.sleep(0.05)


@needs_browser
def test_names_that_are_markup_are_text_in_every_place_of_the_page(driver, dataset, outside):
    port, reached = outside
    expected = page_of(driver, dataset, HARMLESS)
    tree = page_of(driver, dataset, [n.replace("OUT", f"http://127.0.0.1:{port}") for n in HOSTILE])
    assert_nothing_happened(driver, reached, tree, expected)


@needs_browser
def test_a_library_that_writes_markup_writes_text(driver, dataset, outside):
    with served(server.Site(dataset), dataset) as port:
        driver.get(f"http://127.0.0.1:{port}/")
        wait(driver, "return document.querySelectorAll('.tabulator-row').length")
        text = driver.execute_script(
            "const e = document.createElement('p'); e.innerHTML = arguments[0];"
            "document.body.append(e); return [e.textContent, e.children.length]",
            "<style>*{background:red}</style>",
        )
        assert text == ["<style>*{background:red}</style>", 0]
        driver.execute_script(
            "const e = document.createElement('style'); e.textContent = '*{background:red}';"
            "document.body.append(e)"
        )
        assert driver.execute_script(RED_THINGS) == []
        assert any("style-src" in line for line in console(driver))


def renamed(report, names):
    """A report with the names wherever a file, a rule or a meter has one."""
    report = copy.deepcopy(report)
    [reason, *_] = report["reasons"]
    [example, *_] = reason["examples"]
    reason["examples"] = [{**example, "path": name, "detail": name} for name in names]
    report["reasons"] = [{**reason, "reason": name} for name in names]
    report["meters"] = dict.fromkeys(names, 1)
    report["settings"] = [{"name": name, "value": name, "default": name} for name in names]
    finding = {"code": "folder", "weight": 1.5}
    report["findings"] = [
        {**finding, "title": name, "advice": "Listen.", "anchor": name} for name in names
    ]
    report["folders"] = [{**report["folders"][0], "folder": name} for name in names]
    report["rejected_rolls"] = [
        {**report["rejected_rolls"][0], "path": name, "rule": name} for name in names
    ]
    report["rolls"] = [{**report["rolls"][0], "path": name} for name in names]
    families = [*report["programs"]["family_songs"].values()]
    report["programs"]["family_songs"] = dict(zip(names, families, strict=False))
    pitches = [*report["note_counts"]["pitches"].values()]
    report["note_counts"]["pitches"] = dict(zip(names, pitches, strict=False))
    return report


class WithReport(server.Site):
    """A site that serves this page as the report."""

    page = ""

    def answer(self, path, query):
        answer = super().answer(path, query)
        return answer._replace(content=self.page.encode()) if path == "/report" else answer


@needs_browser
def test_names_that_are_markup_are_text_in_reports(driver, dataset, outside, tmp_path):
    port, reached = outside
    site, report = WithReport(dataset), read_json(dataset.path / "report.json")
    side, trees = read_side(dataset.path), []
    with served(site, dataset) as own:
        for names in (HARMLESS, [n.replace("OUT", f"http://127.0.0.1:{port}") for n in HOSTILE]):
            named = renamed(report, names)
            sides = [dataclasses.replace(side, name=name, report=named) for name in names]
            pages = [report_html(named), *map(compare_html, sides[::2], sides[1::2])]
            (tmp_path / "page.html").write_text(pages[0], encoding="utf-8")
            driver.get((tmp_path / "page.html").as_uri())
            trees.append([driver.execute_script(TREE)])
            assert all(name in driver.execute_script("return document.body.textContent")
                       for name in names)  # fmt: skip
            for site.page in (pages[0], *pages[1::10]):
                driver.get(f"http://127.0.0.1:{own}/report")
                trees[-1].append(driver.execute_script(TREE))
                assert_nothing_happened(driver, reached, 0, 0)
    assert_nothing_happened(driver, reached, trees[1], trees[0])


@needs_browser
def test_a_report_draws_nothing_by_a_style_that_is_not_its_own(driver, dataset, tmp_path):
    page = report_html(read_json(dataset.path / "report.json"))
    injected = page.replace(
        "<body>", "<body style='background:red'><style>h1{background:red}</style>"
    )
    (tmp_path / "page.html").write_text(injected, encoding="utf-8")
    driver.get((tmp_path / "page.html").as_uri())
    assert driver.execute_script(RED_THINGS) == []
    assert len(console(driver)) == 2


@needs_browser
def test_a_served_report_does_not_follow_a_refresh(driver, dataset, outside):
    port, reached = outside
    site = WithReport(dataset)
    refresh = f"<meta http-equiv=refresh content='0;url=http://127.0.0.1:{port}/away'>"
    site.page = report_html(read_json(dataset.path / "report.json")).replace("<body>", refresh)
    with served(site, dataset) as own:
        driver.get(f"http://127.0.0.1:{own}/report")
        time.sleep(0.5)
        assert driver.current_url == f"http://127.0.0.1:{own}/report"
        assert reached == []
        console(driver)  # it says that the refresh was blocked

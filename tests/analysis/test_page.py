"""report.html in a browser: it opens, sorts, filters, and the console stays empty."""

import shutil

import pytest

from analysis.report import report
from tests.analysis.cells import cell

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="chromium and chromedriver are not installed"
)


@pytest.fixture(scope="module")
def browser():
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (
        *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
        *("--disable-background-networking", "--disable-component-update", "--no-first-run"),
    ):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def page(browser, tmp_path):
    for number in range(9):
        scores = {"STS12": ("STS", 0.3 + number / 20), "STS13": ("STS", 0.9 - number / 20)}
        if number == 4:
            scores["STS13"] = ("STS", "failed")
        cell(tmp_path, f"m{number}<b>", scores)
    report([tmp_path], tmp_path / "out", samples=20)
    browser.get(f"file://{tmp_path}/out/report.html")
    return browser


def column(page, place):
    table = page.find_element("css selector", f"#{page.section} table.data")
    rows = table.find_elements("css selector", "tbody tr")
    return [r.find_elements("css selector", "th, td")[place].text for r in rows if r.is_displayed()]


def test_the_page_opens_sorts_filters_and_says_what_failed(page, tmp_path):
    page.section = tmp_path.name
    assert page.title == "dec2vec report"
    first = page.find_element("css selector", "main > section")
    assert first.get_attribute("id") == "failures" and "STS13 is failed" in first.text
    assert column(page, 0)[0] == "m0<b>"  # markup in a name is text

    head = page.find_elements("css selector", f"#{page.section} table.data th button")[1]
    head.click()
    numbers = column(page, 1)
    assert numbers[-1] == "–"  # what is missing goes last, whichever way
    known = [float(n.split()[0]) for n in numbers[:-1]]
    assert known == sorted(known, reverse=True)
    head.send_keys("\n")  # by keyboard too
    assert page.find_elements("css selector", "th[aria-sort=ascending]")
    known = [float(n.split()[0]) for n in column(page, 1)[:-1]]
    assert known == sorted(known) and column(page, 1)[-1] == "–"

    page.find_element("css selector", f"#{page.section} input").send_keys("m3")
    assert column(page, 0) == ["m3<b>"]
    assert "1 of 9 rows" in page.find_element("css selector", f"#{page.section} output").text


def test_the_page_needs_no_network_and_its_console_is_empty(page):
    urls = page.execute_script(
        "return performance.getEntriesByType('resource').map(e => e.name)"
        ".filter(n => !n.startsWith('data:'))"
    )
    assert urls == []
    assert page.get_log("browser") == []


@pytest.mark.parametrize("width", [390, 1400])
def test_no_window_is_too_narrow(page, width):
    page.set_window_size(width, 900)
    assert page.execute_script("return document.documentElement.scrollWidth <= innerWidth")

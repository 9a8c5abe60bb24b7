"""The pictures of the README, taken of a running lake, so that they stay true: ``make pictures`` after ``make demo``.

Needs a Chromium, as the tests of pages do.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from infra import secrets
from infra.endpoints import load
from infra.machines.airflow import access
from infra.settings import Settings
from stewardship.site import making

FOLDER = Path(__file__).parent.parent / "docs" / "pictures"
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "chrome")
SIZE = {"width": 1280, "height": 720}
ASSET, MART = "conformed.verbalisations", "fines_by_day"


def main() -> int:
    """Take every picture; 1 when there is no Chromium."""
    program = os.environ.get("CALANQUE_CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUMS)), None)
    if program is None:
        sys.stderr.write("there is no Chromium: install one, or name it in CALANQUE_CHROMIUM\n")
        return 1
    settings = Settings()
    FOLDER.mkdir(exist_ok=True)
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as scratch:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(viewport=SIZE, device_scale_factor=1.5, locale="en-GB")
        take_assets(page, settings)
        take_site(page, settings, Path(scratch))
        browser.close()
    return 0


def take_assets(page: Page, settings: Settings) -> None:
    """What Airflow knows of an asset: what makes it, and what it starts."""
    url = str(load(settings).airflow_url)
    page.goto(f"{url}/auth/login/?next={url}/")
    page.fill("input[name=username]", "viewer")
    page.fill("input[name=password]", secrets.read(settings, f"{access.SECRET}viewer"))
    page.click("[type=submit]")
    page.wait_for_url(f"{url}/**")
    page.goto(f"{url}/assets?name_pattern={ASSET}")
    page.get_by_role("link", name=ASSET, exact=True).click()
    page.wait_for_selector(".react-flow__node")
    page.wait_for_timeout(2_000)
    page.screenshot(path=FOLDER / "assets.png")


def take_site(page: Page, settings: Settings, scratch: Path) -> None:
    """A mart on the site for everybody."""
    built = {each.folder.name: each.folder for each in making.make(settings, scratch)}
    page.goto((built["site"] / "en" / "marts" / f"{MART}.html").as_uri())
    page.screenshot(path=FOLDER / "mart.png")


if __name__ == "__main__":
    sys.exit(main())
